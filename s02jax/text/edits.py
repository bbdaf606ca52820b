"""Edits between two texts, counted by RapidFuzz after a normalisation.

jiwer counts by RapidFuzz too, but would split into words what is split already.
"""

import dataclasses
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from s02jax.core.languages import Language
from s02jax.text.normalize import units
from s02jax.text.normalize.fair import fair as normalise

__all__ = ["Edit", "Edits", "ErrorRate", "edits", "error_rate", "normalise"]
# RapidFuzz's name of an edit -> our name.
_OPS = {"replace": "substitute", "delete": "delete", "insert": "insert"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit:
  """Aligned stretch of two texts, and the edit between them."""

  op: str  # "equal", "substitute", "delete" or "insert"
  ref: tuple[str, ...]  # units; none where op is "insert"
  hyp: tuple[str, ...]  # units; none where op is "delete"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edits:
  """Least edits that turn a reference into a hypothesis."""

  substitutions: int  # units replaced
  deletions: int  # units of the reference that are missing
  insertions: int  # units of the hypothesis that are too many
  units: int  # units of the reference
  alignment: tuple[Edit, ...]  # stretches in order

  @property
  def errors(self) -> int:
    """Number of all edits."""
    return self.substitutions + self.deletions + self.insertions

  @property
  def rate(self) -> float:
    """Errors per unit of the reference; above 1 with many insertions."""
    return self.errors / self.units


def edits(reference: Sequence[str], hypothesis: Sequence[str]) -> Edits:
  """Counts and aligns the edits of two sequences of units.

  Args:
    reference: at least one unit.
    hypothesis: any number of units.
  """
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
  """Error rate of a set of texts."""

  value: float | None  # errors per reference unit; None without units
  n: int  # texts compared


def error_rate(
  texts: Sequence[str],
  heard: Sequence[str],
  languages: Sequence[Language],
  *,
  unit: str,
) -> ErrorRate:
  """Error rate of a set: all edits divided by all reference units.

  Characters are compared without spaces; texts that normalise to nothing are
  left out.

  Args:
    texts: that were to be spoken.
    heard: transcripts of what was spoken.
    languages: of the texts.
    unit: "word" or "character".
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
