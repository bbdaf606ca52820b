"""Edits between two texts, counted by jiwer after a normalisation."""

import dataclasses
from collections.abc import Sequence

import jiwer

from s02jax.evaluation.normalize import units
from s02jax.evaluation.normalize.fair import fair as normalise
from s02jax.languages import Language

__all__ = ["Edit", "Edits", "ErrorRate", "edits", "error_rate", "normalise"]


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
  """Counts and aligns units that hold no spaces; one reference unit or more."""
  found = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
  return Edits(
    substitutions=found.substitutions,
    deletions=found.deletions,
    insertions=found.insertions,
    units=len(reference),
    alignment=tuple(
      Edit(
        op=chunk.type,
        ref=tuple(reference[chunk.ref_start_idx : chunk.ref_end_idx]),
        hyp=tuple(hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]),
      )
      for chunk in found.alignments[0]
    ),
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
