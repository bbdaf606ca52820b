"""Accuracy of the times of words, against clips whose words have known times.

clip ─► audio tokens ─► alignment with its text ─► begin of each word
"""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from s02jax.synthesis.synthesizer import Synthesizer

BATCH = 32  # clips that are tokenised together
# Seconds that the distance from the known begins should not exceed: for half
# of all words, and for nine of ten.
HALF, NINE_TENTHS = 0.06, 0.15


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
  """Clip with the times of its words."""

  wave: np.ndarray  # float32 [n], at the bundle's rate
  text: str  # that it says
  language: str  # its code
  begins: Sequence[float]  # seconds at which each word begins


def measure(synthesizer: Synthesizer, clips: Iterable[Clip]) -> dict[str, Any]:
  """Distances between aligned and known begins of words.

  Args:
    synthesizer: of the bundle.
    clips: a clip whose text has another number of words than times is left
      out, and counted.

  Returns:
    Figures of each language by its code, and of `all`: words, `median` and
    `p90` of the distance and `bias` of the aligned begins, in seconds; and the
    number `left_out`.
  """
  distances: dict[str, list[float]] = {}
  left_out = 0
  for batch in _batches(clips):
    codes = synthesizer.tokenize([clip.wave for clip in batch])
    for clip, row in zip(batch, codes, strict=True):
      words = synthesizer.aligner.words(clip.text, clip.language, row)
      if len(words) != len(clip.begins):
        left_out += 1
        continue
      distances.setdefault(clip.language, []).extend(
        word.begin - begin
        for word, begin in zip(words, clip.begins, strict=True)
      )
  found = {code: _figures(row) for code, row in sorted(distances.items())}
  whole = [x for row in distances.values() for x in row]
  return found | {"all": _figures(whole), "left_out": left_out}


def _batches(clips: Iterable[Clip]) -> Iterable[list[Clip]]:
  """Clips in lists of BATCH."""
  batch: list[Clip] = []
  for clip in clips:
    batch.append(clip)
    if len(batch) == BATCH:
      yield batch
      batch = []
  if batch:
    yield batch


def _figures(distances: Sequence[float]) -> dict[str, float]:
  """Figures of signed distances in seconds; of none, zeros."""
  far = np.abs(distances) if len(distances) else np.zeros(1)
  return {
    "words": len(distances),
    "median": float(np.median(far)),
    "p90": float(np.percentile(far, 90)),
    "bias": statistics.median(distances) if len(distances) else 0.0,
  }


def reached(found: Mapping[str, Any]) -> bool:
  """Whether all words together are as near as they should be."""
  row = found["all"]
  return row["median"] <= HALF and row["p90"] <= NINE_TENTHS


def describe(found: Mapping[str, Any]) -> str:
  """Table of what `measure` found, in milliseconds."""
  lines = [f"{'language':<10}{'words':>7}{'median':>9}{'p90':>9}{'bias':>9}"]
  for name, row in found.items():
    if name == "left_out":
      continue
    figures = "".join(
      f"{1000 * row[key]:6.0f} ms" for key in ("median", "p90", "bias")
    )
    lines.append(f"{name:<10}{row['words']:7}{figures}")
  if found["left_out"]:
    lines.append(f"{found['left_out']} clips have no time for every word.")
  return "\n".join(lines)
