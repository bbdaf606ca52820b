"""Clips of an evaluation: spoken into OUT/clips, or found in any folder.

OUT/clips/<subset>/<key>.wav is the clip of seed 0, <key>.<seed>.wav that of
another seed.
"""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Iterable

import numpy as np

from s02jax.audio import recording, writer
from s02jax.audio.loudness import SILENCE
from s02jax.core.errors import UserError
from s02jax.evaluation.benchmark.datasets import Item
from s02jax.evaluation.benchmark.plan import Find, ItemGroup, clip_name
from s02jax.synthesis import long_text, voice_store
from s02jax.synthesis.long_text import Passage
from s02jax.synthesis.request import Request, Settings
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.voice import Transcript, Voice

FOLDER = "clips"
SHORTEST = 0.1  # seconds: shorter clips hold no word
_VOICES = 64  # prompts' vectors that are kept in memory


# -------------------------------------------------------------------- finding


def spoken(out: pathlib.Path) -> Find:
  """Finder of the clips that `ClipMaker` wrote into `out`."""

  def find(item: Item, seed: int) -> pathlib.Path | None:
    path = _path(out, item, seed)
    return path if path.is_file() else None

  return find


def truth(item: Item, seed: int) -> pathlib.Path | None:
  """Finder of the set's own recordings."""
  del seed
  return item.truth


def folder(root: pathlib.Path, items: Iterable[Item]) -> Find:
  """Finder of any system's clips: `<subset>/<key>.wav`, or `<key>.wav`.

  Raises:
    UserError: there is no such folder, two clips have one name, or a clip may
      be of two subsets.
  """
  if not root.is_dir():
    raise UserError(f"--audio {root}: no such folder; give that of the clips.")
  flat = _listed(root)
  subsets: dict[str, dict[str, pathlib.Path]] = {}
  owner: dict[str, Item] = {}
  for item in items:
    if item.subset not in subsets:
      subsets[item.subset] = _listed(root / item.subset)
    other = owner.setdefault(item.key, item)
    if other.subset != item.subset and item.key in flat:
      raise UserError(
        f"{flat[item.key]}: the key {item.key!r} is in the subsets"
        f" {other.subset} and {item.subset}; put the clips into folders of"
        " these names."
      )

  def find(item: Item, seed: int) -> pathlib.Path | None:
    name = clip_name(item.key, seed)
    return subsets[item.subset].get(name) or flat.get(name)

  return find


def _listed(root: pathlib.Path) -> dict[str, pathlib.Path]:
  """Lists the clips in a folder, by name without suffix."""
  found: dict[str, pathlib.Path] = {}
  for path in sorted(root.iterdir()) if root.is_dir() else ():
    if path.suffix.lower() not in recording.SUFFIXES or path.name.startswith(
      "."
    ):
      continue
    if path.stem in found:
      raise UserError(
        f"{found[path.stem]} and {path.name} are two clips of one name; leave"
        " the one that is to be scored."
      )
    found[path.stem] = path
  return found


def check_rates(paths: Iterable[pathlib.Path]) -> None:
  """Raises UserError where two clips differ in their sample rate."""
  first: tuple[pathlib.Path, int] | None = None
  for path in paths:
    rate = recording.rate_of(path)
    if rate is None:
      continue  # the pass that reads it names the fault
    first = first or (path, rate)
    if rate != first[1]:
      raise UserError(
        f"{path} has {rate} Hz and {first[0]} {first[1]} Hz: clips of one"
        " system have one sample rate; convert the odd ones, or take out what"
        " is not the system's."
      )


def is_silent(path: pathlib.Path) -> bool:
  """Whether a clip is too short or too quiet to hold speech.

  Raises:
    UserError: it cannot be read.
  """
  wave, rate = recording.read(path)
  if len(wave) < SHORTEST * rate:
    return True
  return bool(np.max(np.abs(wave)) < SILENCE)


# ------------------------------------------------------------------- speaking


def _path(out: pathlib.Path, item: Item, seed: int) -> pathlib.Path:
  """File of an item's clip."""
  return out / FOLDER / item.subset / f"{clip_name(item.key, seed)}.wav"


class ClipMaker:
  """Synthesizes groups of items into files."""

  def __init__(
    self,
    synthesizer: Synthesizer,
    out: pathlib.Path,
    *,
    context: float,
    settings: Settings,
    allow_missing: bool,
  ):
    """Keeps the synthesizer and its settings.

    Args:
      synthesizer: of the bundle.
      out: folder of the evaluation.
      context: seconds of one pass, see `long_text.trained_context`.
      settings: of synthesis; the group decides the seed.
      allow_missing: an item that cannot be spoken is left out with a warning.
    """
    self._synthesizer, self._out = synthesizer, out
    self._context, self._settings = context, settings
    self._allow_missing = allow_missing
    self._voice = functools.lru_cache(_VOICES)(
      lambda path, said: voice_store.recorded(synthesizer, [path], said)[0]
    )

  def __call__(self, group: ItemGroup) -> None:
    """Synthesizes all items of a group, unless all have their clips.

    Raises:
      UserError: an item cannot be spoken.
    """
    if not self._lacking(group.items, group.seed):
      return
    settings = dataclasses.replace(self._settings, seed=group.seed)
    engine = self._synthesizer.engine(whole=True)
    tickets: dict[int, Item] = {}
    alone = []
    for item in group.items:
      try:
        text = long_text.read(
          item.text, item.language, audience=self._synthesizer.audience
        )
        voice = self._voice_of(item)
        parts = text.parts(long_text.room(self._context, voice))
        if len(parts) == 1 and isinstance(parts[0], Passage):
          request = Request(**vars(parts[0]), in_words=True, voice=voice)
          tickets[engine.submit(request, settings)] = item
        else:
          blocks = long_text.speak(
            self._synthesizer,
            parts,
            voice=voice,
            context=self._context,
            settings=settings,
          )
          alone.append((item, blocks))
      except UserError as error:
        self._refuse(item, error)
    if not self._lacking([*tickets.values(), *(i for i, _ in alone)],
                         group.seed):  # fmt: skip
      return
    waves: dict[int, list[np.ndarray]] = {ticket: [] for ticket in tickets}
    while engine.busy:
      for piece in engine.step():
        waves[piece.ticket].append(piece.wave)
        if piece.spoken is not None:
          item = tickets[piece.ticket]
          self._write(item, group.seed, waves.pop(piece.ticket))
    for item, blocks in alone:
      self._write(item, group.seed, blocks)

  def _lacking(self, items: Iterable[Item], seed: int) -> bool:
    """Whether one of the items has no clip."""
    return not all(_path(self._out, i, seed).is_file() for i in items)

  def _voice_of(self, item: Item) -> Voice:
    """Voice of an item's prompt. Raises UserError."""
    if item.prompt_audio is None:
      raise UserError("the line names no voice; give the prompt's recording.")
    try:
      said = None
      if item.prompt_text is not None:
        said = Transcript(
          text=item.prompt_text, language=item.prompt_language or item.language
        )
      return self._voice(item.prompt_audio, said)
    except UserError as error:
      raise UserError(f"{item.prompt_audio}: {error}") from error

  def _refuse(self, item: Item, error: UserError) -> None:
    """Raises the error with the item's line, or logs it if allowed."""
    if not self._allow_missing:
      raise UserError(f"{item.where}: {error}") from error
    logging.warning("%s: not spoken: %s", item.where, error)

  def _write(self, item: Item, seed: int, blocks: Iterable[np.ndarray]) -> None:
    """Writes a clip's file from float32[n] blocks."""
    path = _path(self._out, item, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with writer.SoundWriter(path, self._synthesizer.rate) as file:
      for block in blocks:
        file.write(block)
