"""Page of clips with their texts, in one file that plays anywhere.

The list of clips is a file of JSON lines, with paths relative to it:

  {"path": "a.wav", "text": "Good morning.", "label": "anna", "section": "A"}

Clips of one text that follow each other stand side by side, so that several
voices, or speech and its truth, can be compared.
"""

import io
import itertools
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from s02jax.audio import loudness, recording
from s02jax.audio.stream import StreamEncoder, allowed_rate
from s02jax.core import files, inputs
from s02jax.core.errors import UserError
from s02jax.evaluation import html, media

MOST = 6e6  # bytes of a page, unless somebody wants more
BITS = 48_000  # bits a second of the sound
FIELDS = ("path", "text", "label", "section", "language")


class Clip(NamedTuple):
  """Clip of a list."""

  path: pathlib.Path
  text: str  # that it says
  label: str  # whose voice it is, or how it was made
  section: str  # heading under which it stands; may be empty
  language: str  # code of the text for the browser; may be empty


def read(path: pathlib.Path) -> list[Clip]:
  """Reads a list of clips.

  Raises:
    UserError: it cannot be read, or a line makes no sense, by its number.
  """
  try:
    lines = path.read_text("utf-8").splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(
      f"{path}: cannot be read ({error}); give a file of JSON lines."
    ) from error
  clips = [
    _clip(path, number, line)
    for number, line in enumerate(lines, 1)
    if line.strip()
  ]
  if not clips:
    raise UserError(f"{path}: holds no clip; write one a line.")
  return clips


def _clip(path: pathlib.Path, number: int, line: str) -> Clip:
  """Clip of one line."""
  where = f"{path}, line {number}"
  try:
    given = json.loads(line)
    if not isinstance(given, dict):
      raise ValueError("it is no object")
  except ValueError as error:
    raise UserError(
      f'{where}: cannot be read ({error}); write {{"path": …, "text": …}}.'
    ) from error
  try:
    inputs.check_names(given, FIELDS, "a field of a clip")
  except UserError as error:
    raise UserError(f"{where}: {error}") from error
  values = {name: given.get(name, "") for name in FIELDS}
  if not all(isinstance(value, str) for value in values.values()):
    raise UserError(f"{where}: every field must be a string.")
  if not values["path"] or not values["text"]:
    raise UserError(f"{where}: give the fields path and text.")
  return Clip(**values | {"path": path.parent / values["path"]})


def write(
  clips: Sequence[Clip],
  out: pathlib.Path,
  *,
  title: str,
  lead: str = "",
  most: float = MOST,
) -> int:
  """Writes the page, whole or not at all; returns its size in bytes.

  Args:
    clips: in their order on the page.
    out: HTML file.
    title: of the page, as text.
    lead: sentences below the title, as text.
    most: bytes of the page.

  Raises:
    UserError: a clip that cannot be read, or too many of them.
  """
  header = f"<header><h1>{html.text(title)}</h1>"
  header += f'<p class="lead">{html.text(lead)}</p></header>'
  sections = dict(_sections(clips))
  names = {f"part-{i}": name for i, name in enumerate(sections)}
  parts = [
    html.section(key, html.text(name), "", sections[name])
    for key, name in names.items()
  ]
  links = {key: html.text(name) for key, name in names.items() if name}
  page = html.document(title, [header, *parts], links)
  size = len(page.encode())
  if size > most:
    raise UserError(
      f"{out}: the page would have {size / 1e6:.1f} MB, more than"
      f" {most / 1e6:g}; give fewer clips, or --megabytes."
    )
  files.write_text(out, page)
  return size


def _sections(clips: Sequence[Clip]) -> Iterator[tuple[str, str]]:
  """HTML of each section by its heading, in the order of the clips."""
  order = list(dict.fromkeys(clip.section for clip in clips))
  for name in order:
    inside = [clip for clip in clips if clip.section == name]
    articles = [
      _article(list(group))
      for _, group in itertools.groupby(inside, key=lambda clip: clip.text)
    ]
    yield name, "".join(articles)


def _article(clips: Sequence[Clip]) -> str:
  """HTML of a text and its clips."""
  first = clips[0]
  language = f' lang="{html.text(first.language)}"' if first.language else ""
  figures = "".join(
    f"<figure><figcaption>{html.text(clip.label)}</figcaption>"
    f"{html.player(_sound(clip.path), clip.label or clip.text)}</figure>"
    for clip in clips
  )
  return (
    f"<article><h4{language}>{html.text(first.text)}</h4>"
    f'<div class="clips">{figures}</div></article>'
  )


def _sound(path: pathlib.Path) -> str:
  """Data URI of a clip as MP3."""
  wave, rate = recording.read(path)
  to_rate = allowed_rate("mp3", rate)
  wave = loudness.resample(wave, rate, to_rate)
  encoder, out = StreamEncoder("mp3", to_rate, bit_rate=BITS), io.BytesIO()
  out.write(encoder.push(np.asarray(wave, np.float32)))
  out.write(encoder.finish())
  return media.data_uri("audio/mpeg", out.getvalue())
