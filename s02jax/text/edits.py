"""Edits between two texts, counted by RapidFuzz after a normalisation.

RapidFuzz is what jiwer counts by; jiwer itself would take words apart again
that are apart already.
"""

import dataclasses
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from s02jax.core.languages import Language
from s02jax.text.normalize import units
from s02jax.text.normalize.fair import fair as normalise

__all__ = ["Edit", "Edits", "ErrorRate", "edits", "error_rate", "normalise"]
# RapidFuzz's names of edits, and ours.
_OPS = {"replace": "substitute", "delete": "delete", "insert": "insert"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit:
  """A stretch of two texts: equal, or what was done to the first."""

  op: str  # "equal", "substitute", "delete" or "insert"
  ref: tuple[str, ...]  # units; none where op is "insert"
  hyp: tuple[str, ...]  # units; none where op is "delete"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edits:
  """The least edits that make a hypothesis of a reference."""

  substitutions: int
  deletions: int
  insertions: int
  units: int  # of the reference
  alignment: tuple[Edit, ...]

  @property
  def errors(self) -> int:
    return self.substitutions + self.deletions + self.insertions

  @property
  def rate(self) -> float:
    """Above 1 where more was inserted than the reference is long."""
    return self.errors / self.units


def edits(reference: Sequence[str], hypothesis: Sequence[str]) -> Edits:
  """Counts and aligns units; one reference unit or more."""
  counts = dict.fromkeys(("equal", *_OPS.values()), 0)
  alignment = []
  for found in Levenshtein.opcodes(reference, hypothesis):
    op = _OPS.get(found.tag, found.tag)
    ref = tuple(reference[found.src_start : found.src_end])
    hyp = tuple(hypothesis[found.dest_start : found.dest_end])
    counts[op] += max(len(ref), len(hyp))
    alignment.append(Edit(op=op, ref=ref, hyp=hyp))
  return Edits(
    substitutions=counts["substitute"],
    deletions=counts["delete"],
    insertions=counts["insert"],
    units=len(reference),
    alignment=tuple(alignment),
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErrorRate:
  """Edits over the whole set divided by its reference units."""

  value: float | None  # None where no reference has a unit
  n: int  # texts compared


def error_rate(
  texts: Sequence[str],
  heard: Sequence[str],
  languages: Sequence[Language],
  *,
  unit: str,
) -> ErrorRate:
  """Corpus-level rate of `unit`, "word" or "character".

  Characters are compared without spaces, texts that normalise to nothing are
  left out.
  """
  metric = "wer" if unit == "word" else "cer"
  pairs = [
    (
      units(normalise(text, language), metric),
      units(normalise(answer, language), metric),
    )
    for text, answer, language in zip(texts, heard, languages, strict=True)
  ]
  counts = [edits(a, b) for a, b in pairs if a]
  if not counts:
    return ErrorRate(value=None, n=0)
  rate = sum(c.errors for c in counts) / sum(c.units for c in counts)
  return ErrorRate(value=rate, n=len(counts))
