"""Recordings of people that join a natural corpus, if their licence permits."""

import hashlib
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from data_pipelines import clips, corpus_writer, manifest, parallel
from s02jax.core.errors import UserError

# CC-BY of any version, but neither -SA nor -NC nor -ND.
_FREE = re.compile(
  r"(cc0|cc[- ]?by(?![- ]?(sa|nc|nd))|public[- ]?domain|pd$|apache).*",
  re.IGNORECASE,
)
NOTE = (
  " Recordings of people joined it whose manifest names a licence that permits"
  " any use (CC0, CC-BY, public domain, Apache); those in other languages"
  " without their text."
)


def is_free(licence: str) -> bool:
  """Returns True for CC0, CC-BY, public domain and Apache."""
  return bool(_FREE.match(licence.strip()))


def identity(path: pathlib.Path | None) -> str:
  """SHA-256 of a manifest; empty without one. Raises UserError."""
  if path is None:
    return ""
  try:
    return hashlib.sha256(path.read_bytes()).hexdigest()
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror}") from error


class Joined:
  """Recordings of a manifest, those of free licences alone."""

  def __init__(
    self,
    path: pathlib.Path,
    arguments: Any,  # of the corpus: languages, rate, seed
    kept: pathlib.Path,
    writer: corpus_writer.CorpusWriter,
    workers: parallel.Workers,
  ):
    """Writes the manifest of what joins, and decides its splits."""
    self._writer, self._workers = writer, workers
    self._arguments = manifest.ManifestArguments(
      rate=arguments.rate,
      seed=arguments.seed,
      min_seconds=1.0,
      max_seconds=15.0,
      allow_empty_text=True,
    )
    rows = kept / "people.jsonl"
    lines = _free_rows(path, arguments.languages, writer)
    rows.write_text("".join(lines), "utf-8")
    self._plan = manifest.Plan(rows, self._arguments)
    for rejection in self._plan.rejections():
      writer.reject(**vars(rejection))

  def __len__(self) -> int:
    """Number of recordings."""
    return len(self._plan)

  def examples(self, split: str) -> Iterator[clips.Example]:
    """Records of a split."""
    tasks = (
      manifest.Task(
        entry=entry,
        split=split,
        path=pathlib.Path(entry.path),
        arguments=self._arguments,
      )
      for entry in self._plan.entries(split)
    )
    for result in self._workers.map(
      manifest.make_example, tasks, manifest.crashed
    ):
      if isinstance(result, manifest.Rejection):
        self._writer.reject(**vars(result))
      else:
        yield result.example


def _free_rows(
  path: pathlib.Path,
  languages: tuple[str, ...],
  writer: corpus_writer.CorpusWriter,
) -> Iterator[str]:
  """Rows whose licence permits any use, their paths made absolute."""
  for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
    if not line.strip():
      continue
    try:
      row = json.loads(line)
      licence, place = str(row.get("licence", "")), str(row["path"])
    except (ValueError, KeyError, AttributeError) as error:
      raise UserError(
        f"{path}, line {number}: expected an object with path and licence"
      ) from error
    if not is_free(licence):
      writer.reject(
        line=number,
        id=str(row.get("id", "")),
        path=place,
        reason=f"licence {licence!r} does not permit any use"
        if licence
        else "no licence is named",
      )
      continue
    if row.get("language") not in languages:
      row["text"] = ""
    row["path"] = str((path.parent / place).resolve())
    yield json.dumps(row, ensure_ascii=False) + "\n"
