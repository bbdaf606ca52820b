"""Readers of the public test sets, as they are released, and of own manifests.

| name            | what `root` is                                | subsets  |
| --------------- | --------------------------------------------- | -------- |
| `minimax24`     | MiniMaxAI/TTS-Multilingual-Test-Set           | 24 codes |
| `cross-lingual` | the same; Chinese speakers, other texts       | 24 codes |
| `seed-tts`      | the folder with `zh/` and `en/`               | zh, en,  |
|                 |                                               | zh-hard  |
| `manifest`      | a JSONL file                                  | its own  |

Every line is read or refused by file and line number, and every file that a
line names has to be there. Nothing is skipped: a set with holes gives figures
that no other set can be compared with.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
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
class _Line:
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


def read(
  benchmark: str,
  root: pathlib.Path,
  *,
  subsets: Sequence[str] | None = None,
  cloning: Cloning = "zero-shot",
) -> list[Item]:
  """Reads the items of a benchmark, in the order of its lists.

  Args:
    benchmark: name in the table above.
    root: folder or file that the table names.
    subsets: subsets to read; None takes the benchmark's default.
    cloning: "zero-shot" gives no transcript of the prompt to the model.

  Raises:
    UserError: a name is unknown, a line is malformed, a key occurs twice, or a
      file or, for one-shot, a transcript is missing.
  """
  if benchmark not in READERS:
    raise UserError(
      f"benchmark {benchmark!r} is unknown: choose one of {', '.join(READERS)}."
    )
  items = READERS[benchmark](pathlib.Path(root), subsets)
  if not items:
    raise UserError(f"{root}: the benchmark {benchmark} has no item there.")
  _refuse_doubles(items)
  _refuse_missing(items)
  return _cloned(items, cloning, root)


# --------------------------------------------------------- minimax24, crossed

MINIMAX24 = (
  "zh", "en", "yue", "ja", "ko", "ar", "es", "tr", "id", "pt", "fr", "it", "nl",
  "vi", "de", "ru", "uk", "th", "pl", "ro", "el", "cs", "fi", "hi",
)  # fmt: skip
CROSS_LINGUAL = ("cs", "ro", "fi", "th", "ar", "fr", "vi")
CROSS_LINGUAL_SPEAKERS = "zh"


def minimax24(
  root: pathlib.Path, subsets: Sequence[str] | None = None
) -> list[Item]:
  """Reads `text/<language>.txt` with lines `<voice label>|<text>`.

  The voice is the one clip in `speaker/<language>/<label>/`, its transcript the
  clip's line in `speaker/prompt_text.txt`. Keys are `<language>_<line>`.
  """
  chosen = _chosen("minimax24", subsets, MINIMAX24)
  voices = _Voices(root)
  return [
    _minimax_item(line, code, voices, label=None)
    for code in chosen
    for line in _lines(root / "text" / f"{_name(code)}.txt")
  ]


def cross_lingual(
  root: pathlib.Path, subsets: Sequence[str] | None = None
) -> list[Item]:
  """Reads texts for Chinese voices from the files of `minimax24`.

  A line keeps its label's gender: `czech_female|…` is spoken by
  `chinese_female`. The MiniMax-Speech report names the speakers' language and
  the seven languages of its table, but not which of the two speakers said which
  line.
  """
  chosen = _chosen("cross-lingual", subsets, MINIMAX24, CROSS_LINGUAL)
  voices = _Voices(root)
  speakers = _name(CROSS_LINGUAL_SPEAKERS)
  return [
    _minimax_item(
      line,
      code,
      voices,
      label=lambda own: f"{speakers}_{own.split('_')[-1]}",
      prompt_language=CROSS_LINGUAL_SPEAKERS,
    )
    for code in chosen
    for line in _lines(root / "text" / f"{_name(code)}.txt")
  ]


def _minimax_item(
  line: _Line,
  code: str,
  voices: "_Voices",
  label: Callable[[str], str] | None,
  prompt_language: str | None = None,
) -> Item:
  """Item of a line; `label` maps its voice label to the prompt's."""
  own, bar, text = line.text.partition("|")
  own, text = own.strip(), text.strip()
  if not (bar and own and text):
    raise line.fault("expected <voice label>|<text>.")
  if "|" in text:
    raise line.fault("a second | in it; expected <voice label>|<text>.")
  if not own.startswith(f"{_name(code)}_"):
    raise line.fault(
      f"the voice {own!r} is of another language than {line.path.name}."
    )
  audio = voices.audio(label(own) if label else own)
  return Item(
    key=f"{_name(code)}_{line.number:03d}",
    text=text,
    language=code,
    prompt_audio=audio,
    prompt_text=voices.transcript(audio),
    prompt_language=prompt_language,
    truth=None,
    subset=code,
    where=line.where,
  )


class _Voices:
  """Prompts under `speaker/`, by voice label, and their transcripts."""

  def __init__(self, root: pathlib.Path):
    """Reads the transcripts. Raises UserError."""
    self._root = root / "speaker"
    self._audio: dict[str, pathlib.Path] = {}
    self._texts: dict[str, str] = {}
    path = self._root / "prompt_text.txt"
    for line in _lines(path) if path.exists() else ():
      name, bar, text = line.text.partition("|")
      if not (bar and name.strip() and text.strip()):
        raise line.fault("expected <clip name>|<transcript>.")
      name, text = name.strip(), text.strip()
      if "|" in text:
        raise line.fault("a second | in it; expected <clip name>|<transcript>.")
      if name in self._texts:
        raise line.fault(
          f"the clip {name!r} has a transcript already; leave the right one."
        )
      self._texts[name] = text

  def audio(self, label: str) -> pathlib.Path:
    """Finds the clip of a label; a path that is missing if there is none."""
    if label not in self._audio:
      folder = self._root / label.rpartition("_")[0] / label
      clips = sorted(folder.glob("*.mp3"))
      if len(clips) > 1:
        raise UserError(
          f"{folder} has {len(clips)} clips; leave the one that is the prompt."
        )
      self._audio[label] = clips[0] if clips else folder / "*.mp3"
    return self._audio[label]

  def transcript(self, audio: pathlib.Path) -> str | None:
    """Transcript of a clip, by its name with or without suffix."""
    return self._texts.get(audio.name) or self._texts.get(audio.stem)


def _name(code: str) -> str:
  """Name of a language in the set's files."""
  return languages.BY_CODE[code].name.lower()


# ---------------------------------------------------------------- seed-tts

SEED_TTS = {
  "zh": ("zh", "zh/meta.lst"),
  "en": ("en", "en/meta.lst"),
  "zh-hard": ("zh", "zh/hardcase.lst"),
}  # subset -> language, list


def seed_tts(
  root: pathlib.Path, subsets: Sequence[str] | None = None
) -> list[Item]:
  """Reads the lists of seed-tts-eval, lines of two to five columns.

  `utt|prompt text|prompt wav|text[|truth wav]`, `utt|text|prompt wav` or
  `utt|text`; paths are relative to the list. Where a line names no truth,
  `wavs/<utt>.wav` beside the list is taken if it is there. Keys are `utt`,
  without ".wav", as the set's own script looks for `<out>/<utt>.wav`.
  """
  items = []
  for subset in _chosen("seed-tts", subsets, SEED_TTS):
    language, name = SEED_TTS[subset]
    items += [
      _seed_item(line, language, subset) for line in _lines(root / name)
    ]
  return items


def _seed_item(line: _Line, language: str, subset: str) -> Item:
  """Item of a line of seed-tts-eval."""
  columns = [column.strip() for column in line.text.split("|")]
  prompt_text = prompt = truth = None
  match columns:
    case [key, text]:
      pass
    case [key, text, prompt]:
      pass
    case [key, prompt_text, prompt, text]:
      pass
    case [key, prompt_text, prompt, text, truth]:
      pass
    case _:
      raise line.fault(
        f"{len(columns)} columns; expected"
        " utt|prompt text|prompt wav|text[|truth wav]."
      )
  if not all(columns[:4]):
    raise line.fault(
      "an empty column; expected utt|prompt text|prompt wav|text[|truth wav]."
    )
  key = key.removesuffix(".wav")
  if not _is_file_name(key):
    raise line.fault(f"the key {key!r} is not a file name.")
  folder = line.path.parent
  found = folder / "wavs" / f"{key}.wav"
  if truth:
    found = folder / truth
  return Item(
    key=key,
    text=text,
    language=language,
    prompt_audio=folder / prompt if prompt else None,
    prompt_text=prompt_text,
    truth=found if truth or found.exists() else None,
    subset=subset,
    where=line.where,
  )


# ---------------------------------------------------------------- manifest

_REQUIRED = ("key", "text", "language", "prompt_audio")
_FIELDS = (*_REQUIRED, "prompt_text", "prompt_language", "truth", "subset")


def manifest(
  root: pathlib.Path, subsets: Sequence[str] | None = None
) -> list[Item]:
  """Reads one JSON object a line, with the fields of `Item`.

  `key`, `text`, `language` and `prompt_audio` are required; paths are relative
  to the file; `subset` is the language where it is not given.
  """
  items = [_manifest_item(line) for line in _lines(root)]
  chosen = _chosen(str(root), subsets, dict.fromkeys(i.subset for i in items))
  return [item for item in items if item.subset in chosen]


def _manifest_item(line: _Line) -> Item:
  """Item of a line of a manifest."""
  try:
    fields = json.loads(line.text, object_pairs_hook=_once(line))
  except (json.JSONDecodeError, RecursionError) as error:
    raise line.fault(f"not JSON ({error}).") from error
  if not isinstance(fields, dict):
    raise line.fault("not a JSON object.")
  for name, value in fields.items():
    if name not in _FIELDS:
      raise line.fault(
        f"field {name!r} is unknown: the fields are {', '.join(_FIELDS)}."
      )
    if not isinstance(value, str) or not value.strip():
      raise line.fault(f"field {name!r} is not a text that says something.")
  absent = [name for name in _REQUIRED if name not in fields]
  if absent:
    raise line.fault(f"the field {absent[0]!r} is missing.")
  codes = {}
  for name in {"language", "prompt_language"} & fields.keys():
    try:
      codes[name] = languages.resolve(fields[name]).code
    except UserError as error:
      raise line.fault(f"{error}.") from error
  language = codes["language"]
  for name in ("key", "subset"):
    value = fields.get(name, "-")
    if not _is_file_name(value):
      raise line.fault(f"the {name} {value!r} is not a file name.")
  folder = line.path.parent
  truth = fields.get("truth")
  return Item(
    key=fields["key"],
    text=fields["text"],
    language=language,
    prompt_audio=folder / fields["prompt_audio"],
    prompt_text=fields.get("prompt_text"),
    prompt_language=codes.get("prompt_language"),
    truth=folder / truth if truth else None,
    subset=fields.get("subset", language),
    where=line.where,
  )


def _once(line: _Line) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
  """Hook of `json.loads` that refuses an object with a field twice."""

  def fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
      if names.count(name) > 1:
        raise line.fault(f"the field {name!r} is there twice; leave one.")
    return dict(pairs)

  return fields


READERS: dict[
  str, Callable[[pathlib.Path, Sequence[str] | None], list[Item]]
] = {
  "minimax24": minimax24,
  "seed-tts": seed_tts,
  "cross-lingual": cross_lingual,
  "manifest": manifest,
}


# ------------------------------------------------------------------ common


def _lines(path: pathlib.Path) -> Iterator[_Line]:
  """Yields the lines of a list; blank lines at its end are dropped."""
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
  lines = text.rstrip().split("\n") if text.strip() else []
  for number, words in enumerate(lines, 1):
    line = _Line(path, number, words.strip())
    if not line.text:
      raise line.fault("an empty line; take it out.")
    yield line


def _is_file_name(name: str) -> bool:
  """Whether a file or folder can have this name."""
  return pathlib.PurePath(name).name == name != ".." and "\0" not in name


def _chosen(
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


def _refuse_doubles(items: Sequence[Item]) -> None:
  """Raises UserError where two clips of a subset would have one name."""
  seen: dict[tuple[str, str], str] = {}
  for item in items:
    # Many disks ignore case in the names of files.
    name = item.subset.casefold(), item.key.casefold()
    if name in seen:
      raise UserError(
        f"{item.where}: the subset {item.subset} has the key {item.key!r}"
        f" twice (first in {seen[name]}), and one clip would overwrite the"
        " other; make the keys differ, by more than upper and lower case."
      )
    seen[name] = item.where


def _refuse_missing(items: Sequence[Item]) -> None:
  """Raises UserError where a prompt or truth is not there."""
  named: dict[pathlib.Path, str] = {}
  for item in items:
    for path in (item.prompt_audio, item.truth):
      if path is not None:
        named.setdefault(path, item.where)
  missing = [path for path in named if not path.is_file()]
  if missing:
    raise UserError(
      f"{named[missing[0]]}: {len(missing)} of the {len(named)} files that the"
      f" set names are missing: {first_names([*map(str, missing)])}; fetch"
      " the whole set."
    )


def _cloned(
  items: Sequence[Item], cloning: Cloning, root: pathlib.Path
) -> list[Item]:
  """Items with the transcripts that the way of cloning allows."""
  if cloning == "zero-shot":
    return [dataclasses.replace(item, prompt_text=None) for item in items]
  mute = [item.key for item in items if not item.prompt_text]
  if mute:
    raise UserError(
      f"{root}: one-shot cloning needs the prompt's transcript, which"
      f" {len(mute)} of {len(items)} items lack: {first_names(mute)}; add it or"
      " clone zero-shot."
    )
  return list(items)


def first_names(names: Sequence[str]) -> str:
  """The first names of a list, and the number of the others."""
  rest = len(names) - _LISTED
  listed = ", ".join(names[:_LISTED])
  return f"{listed} and {rest} more" if rest > 0 else listed
