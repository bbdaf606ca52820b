"""Sources of recordings: manifests, folders, globs, archives, released layouts.

A source is listed, never read: each recording is a name, a place in a file and
what is known of it. What a name is must not depend on the machine, so names
are relative to the source.
"""

import dataclasses
import glob
import json
import pathlib
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

from data_pipelines.recordings import layouts
from data_pipelines.recordings.items import Recording, Said
from s02jax.audio.recording import SUFFIXES
from s02jax.core import languages
from s02jax.core.errors import UserError

_GLOB = "*?["
_TAR = (".tar",)
_ROOM = 1 << 20  # most bytes of a text beside a recording


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unread:
  """Row of a source that names no recording that could be read."""

  uri: str  # name, or number of the line
  reason: str  # sentence for a person


Found = Recording | Unread


def listed(source: str) -> Callable[[], Iterator[Found]]:
  """Lists the recordings of a source, as often as it is called.

  Args:
    source: manifest (.jsonl), folder, pattern with * or ?, or tar archive.

  Raises:
    UserError: there is nothing, or nothing that recordings could be in.
  """
  path = pathlib.Path(source)
  if any(c in source for c in _GLOB) and not path.exists():
    paths = sorted(map(pathlib.Path, glob.glob(source, recursive=True)))
    if not paths:
      raise UserError(f"no file matches {source}")
    root = pathlib.Path(*_fixed(path.parts))
    return lambda: _files(paths, root)
  if path.is_dir():
    layout = layouts.recognise(path)
    if layout is not None:
      return lambda: (_checked(row, path) for row in layout(path))
    return lambda: _files(sorted(path.rglob("*")), path)
  if path.suffix == ".jsonl" and path.is_file():
    return lambda: _manifest(path)
  if path.is_file() and (path.suffix in _TAR or path.suffix in SUFFIXES):
    return lambda: _files([path], path.parent)
  if not path.exists():
    raise UserError(f"{source} does not exist; give a manifest or a folder")
  raise UserError(
    f"{source} is no source: give a manifest (.jsonl), a folder, a pattern, or"
    " an archive (.tar)"
  )


def _fixed(parts: tuple[str, ...]) -> Iterator[str]:
  """Parts of a pattern before the first with a wild card."""
  for part in parts:
    if any(c in part for c in _GLOB):
      return
    yield part


def _files(paths: list[pathlib.Path], root: pathlib.Path) -> Iterator[Found]:
  """Recordings among files, and in archives among them."""
  for path in paths:
    name = path.relative_to(root).as_posix()
    if path.suffix in _TAR:
      yield from _tar(path, name)
    elif path.suffix.lower() in SUFFIXES and path.is_file():
      text = path.with_suffix(".txt")
      row: dict[str, Any] = {"path": name}
      if text.is_file() and text.stat().st_size <= _ROOM:
        row["text"] = text.read_text("utf-8", errors="replace")
      beside = path.with_suffix(".json")
      if beside.is_file() and beside.stat().st_size <= _ROOM:
        row |= _json(beside.read_bytes())
      yield _checked(row, root)


def _tar(path: pathlib.Path, name: str) -> Iterator[Found]:
  """Recordings in an archive; parts of one name belong together (WebDataset).

  The parts of a name may come in any order, but one behind the other.
  """
  try:
    with tarfile.open(path, "r:") as archive:
      stem, parts = "", []
      for part in archive:
        if not part.isfile():
          continue
        folder, _, file = part.name.rpartition("/")
        key = f"{folder}/{file.partition('.')[0]}"
        if key != stem:
          yield from _sample(archive, path, name, parts)
          stem, parts = key, []
        parts.append(part)
      yield from _sample(archive, path, name, parts)
  except (tarfile.TarError, OSError) as error:
    yield Unread(uri=name, reason=f"the archive cannot be read: {error}")


def _sample(
  archive: tarfile.TarFile,
  path: pathlib.Path,
  name: str,
  parts: list[tarfile.TarInfo],
) -> Iterator[Found]:
  """Recordings of one name in an archive, with the text beside them."""
  row: dict[str, Any] = {}
  for part in parts:
    suffix = pathlib.PurePath(part.name).suffix.lower()
    file = archive.extractfile(part) if part.size <= _ROOM else None
    if file is not None and suffix == ".json":
      row |= _json(file.read())
    elif file is not None and suffix in (".txt", ".lab"):
      row["text"] = file.read().decode("utf-8", errors="replace")
  for part in parts:
    if pathlib.PurePath(part.name).suffix.lower() in SUFFIXES:
      yield _recording(
        row,
        Recording(
          uri=f"{name}/{part.name}",
          path=str(path),
          offset=part.offset_data,
          size=part.size,
          inside=True,
        ),
      )


def _json(data: bytes) -> dict[str, Any]:
  """Object beside a recording; empty where it is none."""
  try:
    found = json.loads(data)
  except ValueError:
    return {}
  return found if isinstance(found, dict) else {}


def _manifest(path: pathlib.Path) -> Iterator[Found]:
  """Recordings that a file of JSON lines names, relative to its folder."""
  with open(path, "rb") as file:
    for number, line in enumerate(file, start=1):
      if not line.strip():
        continue
      try:
        row = json.loads(line.decode("utf-8-sig"))
      except ValueError as error:
        yield Unread(uri=f"line {number}", reason=f"not JSON: {error}")
        continue
      if not isinstance(row, dict) or not isinstance(row.get("path"), str):
        yield Unread(uri=f"line {number}", reason="field 'path' is missing")
        continue
      yield _checked(row, path.parent)


def _checked(row: dict[str, Any], root: pathlib.Path) -> Found:
  """Recording of a row whose `path` is relative to a folder."""
  path = root / row["path"]
  try:
    size = path.stat().st_size
  except OSError:
    return Unread(uri=row["path"], reason="the file does not exist")
  place = Recording(uri=row["path"], path=str(path), size=size)
  return _recording(row, place)


def _recording(row: dict[str, Any], place: Recording) -> Found:
  """Recording with what a row says of it: names of the known data sets.

  The row may have text, language, speaker, emotion, description, and
  `segments`: pieces of the text with their start and end in seconds.
  """
  try:
    code = _text(row, "language")
    said = tuple(
      Said(
        start=float(piece["start"]), end=float(piece["end"]),
        text=_text(piece, "text"),
      )
      for piece in row.get("segments") or ()
    )  # fmt: skip
    return dataclasses.replace(
      place,
      text=_text(row, "text"),
      said=said,
      language=languages.resolve(code).code if code else "",
      speaker=_text(row, "speaker"),
      emotion=_text(row, "emotion"),
      description=_text(row, "description"),
    )
  except UserError as error:
    return Unread(uri=place.uri, reason=str(error))
  except (KeyError, TypeError, ValueError) as error:
    return Unread(
      uri=place.uri,
      reason=f"segments need numbers `start`, `end` and a `text` ({error})",
    )


def _text(row: dict[str, Any], name: str) -> str:
  value = row.get(name)
  if value is None:
    return ""
  if not isinstance(value, str):
    raise UserError(f"field {name!r} is {json.dumps(value)[:40]}, not a string")
  return " ".join(value.split())
