"""Items of a test set, the lines of its lists, and manifests of one's own."""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from s02jax.core import languages
from s02jax.core.errors import UserError

Cloning = Literal["zero-shot", "one-shot"]
_LISTED = 10  # names in a message


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
  """Sentence to be spoken in one voice."""

  key: str  # unique in its subset; the generated clip is "<key>.wav"
  text: str  # exactly as in the set
  language: str  # code, of the text
  prompt_audio: pathlib.Path | None  # None: the set names no voice
  prompt_text: str | None  # None: zero-shot
  truth: pathlib.Path | None  # recording of the speaker, of any words
  subset: str
  prompt_language: str | None = None  # code, of prompt_text; None: `language`
  # File and line for messages; not part of an item's identity.
  where: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True)
class Line:
  """Line of a list and its place."""

  path: pathlib.Path
  number: int
  text: str

  @property
  def where(self) -> str:
    """File and line for messages."""
    return f"{self.path}, line {self.number}"

  def fault(self, what: str) -> UserError:
    """Error that names the line."""
    return UserError(f"{self.where}: {what}")


def lines(path: pathlib.Path, *, blanks: bool = False) -> Iterator[Line]:
  """Yields the lines of a list; blank lines at its end are dropped.

  Args:
    path: file of the list.
    blanks: blank lines elsewhere are passed over, not refused.

  Raises:
    UserError: the file cannot be read as text, or has a blank line.
  """
  try:
    text = path.read_text("utf-8-sig")
  except FileNotFoundError as error:
    raise UserError(
      f"{path} is not there; give the folder as the set was released."
    ) from error
  except UnicodeDecodeError as error:
    number = error.object[: error.start].count(b"\n") + 1
    raise UserError(
      f"{path}, line {number}: {path.name} is not a UTF-8 text file ({error})."
    ) from error
  except OSError as error:
    raise UserError(
      f"{path} cannot be read as a list ({error}); give what the set's layout"
      " asks for."
    ) from error
  # Some texts hold separators at which str.splitlines would cut.
  written = text.rstrip().split("\n") if text.strip() else []
  for number, words in enumerate(written, 1):
    line = Line(path, number, words.strip())
    if line.text:
      yield line
    elif not blanks:
      raise line.fault("an empty line; take it out.")


def is_file_name(name: str) -> bool:
  """Whether a file or folder can have this name."""
  whole = pathlib.PurePath(name).name == name
  return whole and name not in ("", "..") and "\0" not in name


def chosen_subsets(
  where: str,
  wanted: Sequence[str] | None,
  known: Iterable[str],
  default: Sequence[str] | None = None,
) -> list[str]:
  """Subsets to read: those wanted, else the default, else all."""
  known = list(known)
  for name in wanted or ():
    if name not in known:
      raise UserError(
        f"{where} has no subset {name!r}: choose among {', '.join(known)}."
      )
  return list(wanted or default or known)


def first_names(names: Sequence[str]) -> str:
  """The first names of a list, and the number of the others."""
  rest = len(names) - _LISTED
  listed = ", ".join(names[:_LISTED])
  return f"{listed} and {rest} more" if rest > 0 else listed


# ---------------------------------------------------------------- manifest

_REQUIRED = ("key", "text", "language", "prompt_audio")
_FIELDS = (*_REQUIRED, "prompt_text", "prompt_language", "truth", "subset")
_CLIP = ("path", "text", "language", "speaker")  # required in one of a corpus


def manifest(
  root: pathlib.Path, subsets: Sequence[str] | None = None
) -> list[Item]:
  """Reads one JSON object a line: the fields of `Item`, or clips of a corpus.

  Of an item `key`, `text`, `language` and `prompt_audio` are required. Paths
  are relative to the file; `subset` is the language where it is not given.

  A manifest whose first line has `path` is one that `s02 corpus manifest`
  reads, and every clip in it an item: the clip is the truth, the next clip of
  its speaker in the language the prompt, after the last one the first. A clip
  whose speaker has no other, or which has no text, is left out with a warning.

  Raises:
    UserError: a line is malformed, or a subset unknown.
  """
  found = [(line, _fields(line)) for line in lines(root, blanks=True)]
  if found and "path" in found[0][1]:
    items = _corpus_items([_clip(*one) for one in found], root)
  else:
    items = [_item(*one) for one in found]
  known = dict.fromkeys(item.subset for item in items)
  chosen = chosen_subsets(str(root), subsets, known)
  return [item for item in items if item.subset in chosen]


def _fields(line: Line) -> dict[str, Any]:
  """Fields of a line's JSON object."""

  def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
      if names.count(name) > 1:
        raise line.fault(f"the field {name!r} is there twice; leave one.")
    return dict(pairs)

  try:
    fields = json.loads(line.text, object_pairs_hook=once)
  except (json.JSONDecodeError, RecursionError) as error:
    raise line.fault(f"not JSON ({error}).") from error
  if not isinstance(fields, dict):
    raise line.fault("not a JSON object.")
  return fields


def _item(line: Line, fields: dict[str, Any]) -> Item:
  """Item of a line that has the fields of one."""
  for name in fields:
    if name not in _FIELDS:
      raise line.fault(
        f"field {name!r} is unknown: the fields are {', '.join(_FIELDS)}."
      )
  _check_texts(line, fields, fields)
  _check_required(line, fields, _REQUIRED)
  language, spoken = _language(line, fields), None
  if "prompt_language" in fields:
    spoken = _language(line, fields, "prompt_language")
  for name in ("key", "subset"):
    value = fields.get(name, "-")
    if not is_file_name(value):
      raise line.fault(f"the {name} {value!r} is not a file name.")
  folder = line.path.parent
  truth = fields.get("truth")
  return Item(
    key=fields["key"],
    text=fields["text"],
    language=language,
    prompt_audio=folder / fields["prompt_audio"],
    prompt_text=fields.get("prompt_text"),
    prompt_language=spoken,
    truth=folder / truth if truth else None,
    subset=fields.get("subset", language),
    where=line.where,
  )


def _check_texts(
  line: Line, fields: dict[str, Any], names: Iterable[str]
) -> None:
  """Raises UserError where a field is no text, or an empty one."""
  for name in names:
    value = fields.get(name, "-")
    if not isinstance(value, str) or not value.strip():
      raise line.fault(f"field {name!r} is not a text that says something.")


def _check_required(
  line: Line, fields: dict[str, Any], names: Iterable[str]
) -> None:
  """Raises UserError where a field is missing."""
  for name in names:
    if name not in fields:
      raise line.fault(f"the field {name!r} is missing.")


def _language(
  line: Line, fields: dict[str, Any], name: str = "language"
) -> str:
  """Code of the language in a field of a line."""
  try:
    return languages.resolve(fields[name]).code
  except UserError as error:
    raise line.fault(f"{error}.") from error


# ----------------------------------------------------- manifest of a corpus


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Clip:
  """Line of the manifest of a corpus."""

  item: Item  # without prompt
  speaker: str
  path: pathlib.Path


def _clip(line: Line, fields: dict[str, Any]) -> _Clip:
  """Clip of a line; fields that only corpora read are passed over."""
  _check_required(line, fields, _CLIP)
  _check_texts(line, fields, ("path", "language", "speaker"))
  text, name = fields["text"], fields.get("id") or fields["path"]
  for field, value in (("text", text), ("id", name)):
    if not isinstance(value, str):
      raise line.fault(f"field {field!r} is not a text.")
  language = _language(line, fields)
  assert language is not None
  path = line.path.parent / fields["path"]
  item = Item(
    key=_key(name),
    text=text,
    language=language,
    prompt_audio=None,
    prompt_text=None,
    truth=path,
    subset=language,
    where=line.where,
  )
  if not is_file_name(item.key):
    raise line.fault(f"{name!r} cannot name a file; give the clip an id.")
  return _Clip(item=item, speaker=fields["speaker"].strip(), path=path)


def _key(name: str) -> str:
  """Key of a clip: its id or path without suffix, folders joined by _."""
  path = pathlib.PurePosixPath(name.replace("\\", "/"))
  path = path.with_suffix("") if path.suffix and path.name else path
  return "_".join(part for part in path.parts if part not in ("/", ".."))


def _corpus_items(clips: Sequence[_Clip], root: pathlib.Path) -> list[Item]:
  """Items of the clips that have a text and a prompt, in their order."""
  mute = [clip.item.key for clip in clips if not clip.item.text.strip()]
  _tell_left_out(root, "have no text", mute)
  spoken = [clip for clip in clips if clip.item.text.strip()]
  prompts = _prompts(spoken)
  alone = [clip.speaker for clip in spoken if clip.item.where not in prompts]
  _tell_left_out(
    root, "have no other clip of their speaker, to be its prompt", alone
  )
  return [
    dataclasses.replace(
      clip.item, prompt_audio=prompt.path, prompt_text=prompt.item.text
    )
    for clip in spoken
    if (prompt := prompts.get(clip.item.where))
  ]


def _prompts(clips: Sequence[_Clip]) -> dict[str, _Clip]:
  """Next clip of the same voice, by the line of those that have another."""
  voices: dict[tuple[str, str], list[_Clip]] = {}
  for clip in clips:
    voices.setdefault((clip.speaker, clip.item.language), []).append(clip)
  found = {}
  for voice in voices.values():
    for place, clip in enumerate(voice):
      others = (voice[(place + n) % len(voice)] for n in range(1, len(voice)))
      other = next((one for one in others if one.path != clip.path), None)
      if other is not None:
        found[clip.item.where] = other
  return found


def _tell_left_out(root: pathlib.Path, why: str, names: Sequence[str]) -> None:
  """Warns of clips that no item is made of."""
  if names:
    logging.warning(
      "%s: %d clip(s) left out, which %s: %s",
      root, len(names), why, first_names(names),
    )  # fmt: skip
