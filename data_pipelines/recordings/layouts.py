"""Layouts of data sets as they are released: where texts and speakers are.

Each reader yields rows with `path` relative to the folder and, where known,
`text`, `language` and `speaker`; the files need not exist.
"""

import csv
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

Row = dict[str, Any]
Reader = Callable[[pathlib.Path], Iterator[Row]]


def recognise(folder: pathlib.Path) -> Reader | None:
  """Reader of the layout that a folder has; None where it has none of them."""
  for is_one, reader in LAYOUTS.values():
    if is_one(folder):
      return reader
  return None


def _any(folder: pathlib.Path, pattern: str) -> bool:
  return next(folder.glob(pattern), None) is not None


def _table(path: pathlib.Path, delimiter: str) -> Iterator[dict[str, str]]:
  """Rows of a table with a head, no quotes in those that tabs separate."""
  quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
  with open(path, encoding="utf-8-sig", newline="") as file:
    yield from csv.DictReader(file, delimiter=delimiter, quoting=quoting)


def _ljspeech(folder: pathlib.Path) -> Iterator[Row]:
  """LJSpeech: metadata.csv of id|text|normalised text, wavs/ID.wav."""
  with open(folder / "metadata.csv", encoding="utf-8") as file:
    for line in file:
      name, *texts = line.rstrip("\n").split("|")
      if name and texts:
        yield {
          "path": f"wavs/{name}.wav",
          "text": texts[-1],
          "speaker": folder.name,
        }


def _common_voice(folder: pathlib.Path) -> Iterator[Row]:
  """Common Voice: validated.tsv beside clips/; the folder is the language."""
  table = folder / "validated.tsv"
  for row in _table(table, "\t"):
    yield {
      "path": f"clips/{row['path']}",
      "text": row["sentence"],
      "speaker": row["client_id"],
      "language": row.get("locale") or folder.name,
    }


def _vctk(folder: pathlib.Path) -> Iterator[Row]:
  """VCTK 0.80 and 0.92: txt/p225/*.txt beside the folder of the sound."""
  sounds = next(
    x for x in ("wav48_silence_trimmed", "wav48") if (folder / x).is_dir()
  )
  for path in sorted((folder / sounds).rglob("*.*")):
    if path.suffix not in (".flac", ".wav") or path.stem.endswith("_mic2"):
      continue
    name = path.stem.removesuffix("_mic1")
    text = folder / "txt" / path.parent.name / f"{name}.txt"
    row = {
      "path": path.relative_to(folder).as_posix(),
      "language": "en",
      "speaker": path.parent.name,
    }
    if text.is_file():
      row["text"] = text.read_text("utf-8")
    yield row


def _libritts(folder: pathlib.Path) -> Iterator[Row]:
  """LibriTTS: SPEAKER/CHAPTER/NAME.wav beside NAME.normalized.txt."""
  for text in sorted(folder.rglob("*.normalized.txt")):
    name = text.name.removesuffix(".normalized.txt")
    yield {
      "path": text.with_name(f"{name}.wav").relative_to(folder).as_posix(),
      "text": text.read_text("utf-8"),
      "language": "en",
      "speaker": text.parents[1].name,
    }


def _librispeech(folder: pathlib.Path) -> Iterator[Row]:
  """LibriSpeech and MLS-like: SPEAKER/CHAPTER/*.trans.txt of id and text."""
  for table in sorted(folder.rglob("*.trans.txt")):
    for line in table.read_text("utf-8").splitlines():
      name, _, text = line.partition(" ")
      yield {
        "path": table.with_name(f"{name}.flac").relative_to(folder).as_posix(),
        "text": text.lower(),
        "language": "en",
        "speaker": table.parents[1].name,
      }


def _emilia(folder: pathlib.Path) -> Iterator[Row]:
  """Emilia without archives: NAME.json beside NAME.mp3, in folders."""
  for path in sorted(folder.rglob("*.json")):
    row = json.loads(path.read_text("utf-8"))
    found = path.with_suffix(".mp3").relative_to(folder).as_posix()
    kept = ("text", "language", "speaker")
    yield {"path": found} | {k: row[k] for k in kept if k in row}


def _audiofolder(folder: pathlib.Path) -> Iterator[Row]:
  """Hugging Face audiofolder: metadata.csv or .jsonl with file_name."""
  for table in sorted(folder.rglob("metadata.*")):
    within = table.parent.relative_to(folder)
    if table.suffix == ".csv":
      rows: Iterator[dict[str, Any]] = _table(table, ",")
    elif table.suffix == ".jsonl":
      lines = table.read_text("utf-8").splitlines()
      rows = (json.loads(line) for line in lines if line.strip())
    else:
      continue
    for row in rows:
      text = next(
        (row[k] for k in ("text", "transcription", "sentence") if row.get(k)),
        "",
      )
      yield row | {"path": (within / row["file_name"]).as_posix(), "text": text}


def _is_audiofolder(folder: pathlib.Path) -> bool:
  for table in folder.rglob("metadata.*"):
    if table.suffix in (".csv", ".jsonl"):
      with open(table, encoding="utf-8-sig") as file:
        return "file_name" in file.readline()
  return False


def _is_emilia(folder: pathlib.Path) -> bool:
  first = next(folder.rglob("*.json"), None)
  return first is not None and first.with_suffix(".mp3").exists()


# Layout -> how it is recognised, and its reader. The first that fits is taken.
LAYOUTS: dict[str, tuple[Callable[[pathlib.Path], bool], Reader]] = {
  "audiofolder": (_is_audiofolder, _audiofolder),
  "ljspeech": (
    lambda x: (x / "metadata.csv").is_file() and (x / "wavs").is_dir(),
    _ljspeech,
  ),
  "common_voice": (
    lambda x: (x / "validated.tsv").is_file() and (x / "clips").is_dir(),
    _common_voice,
  ),
  "vctk": (
    lambda x: (x / "txt").is_dir() and _any(x, "wav48*"),
    _vctk,
  ),
  "libritts": (lambda x: _any(x, "**/*.normalized.txt"), _libritts),
  "librispeech": (lambda x: _any(x, "**/*.trans.txt"), _librispeech),
  "emilia": (_is_emilia, _emilia),
}
