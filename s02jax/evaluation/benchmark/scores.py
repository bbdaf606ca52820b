"""Scores of one evaluation as dataclasses, and their form in scores.json.

Rates are fractions of 1, similarities cosines. Every figure has its 95 %
interval and the number of items behind it.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from s02jax.core import files
from s02jax.evaluation.benchmark.metrics import Cosines, Rates
from s02jax.evaluation.benchmark.plan import JudgeSpecs, Pins
from s02jax.evaluation.figure import Figure
from s02jax.text.normalize import NORMALISATIONS, Metric

VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubsetScores:
  """Scores of one subset in one language: one line of every table."""

  subset: str
  language: str  # code, of the texts
  metric: Metric  # words or characters are counted
  items: int
  clips: int
  missing: Sequence[str]  # "key" or "key (seed 2)": wholly wrong
  silent: Sequence[str]  # names of clips in which nobody speaks
  rates: Mapping[str, Rates]  # by pipeline: "official", "fair"
  similarity: Cosines | None  # None: voices were not judged
  quality: Mapping[str, Figure] | None  # by measure; None: not judged


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanRates:
  """Error rates averaged over subsets; None where nothing was measured."""

  utterance_mean: float | None
  corpus_level: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Means:
  """Averages over the subsets, each of which counts the same."""

  rates: Mapping[str, MeanRates]  # by pipeline
  similarity: float | None  # of clips to their prompts


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorstClip:
  """One of the clips with the highest error rates (pipeline "fair")."""

  subset: str
  key: str
  seed: int
  language: str  # code
  text: str
  heard: str | None  # None: the clip is missing
  rate: float
  # ("=", "s", "d" or "i"; reference; what was heard), in the text's order.
  edits: Sequence[Sequence[str]]
  clip: str | None  # path, relative to the folder of the evaluation if inside
  prompt: str | None  # absolute path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
  """Scores of one evaluation."""

  pins: Pins
  data: str  # path of the set
  subsets: Sequence[SubsetScores]
  mean: Means
  worst: Sequence[WorstClip]

  def origin(self) -> dict[str, Any]:
    """Fields of scores.json that say what was evaluated, and how."""
    pins = self.pins
    return {
      "version": pins.version,
      "benchmark": pins.benchmark,
      "cloning": pins.cloning,
      "system": pins.system,
      "judges": dataclasses.asdict(pins.judges),
      "source": dict(pins.source),
      "data": self.data,
      "data_digest": pins.data,
      "items": pins.items,
      "seeds": pins.seeds,
    }

  def to_json(self) -> dict[str, Any]:
    """Content of scores.json."""
    return {
      **self.origin(),
      "rows": [_subset_to_json(subset) for subset in self.subsets],
      "mean": {
        **{
          name: dataclasses.asdict(rates)
          for name, rates in self.mean.rates.items()
        },
        "similarity": self.mean.similarity,
      },
      "worst": [dataclasses.asdict(clip) for clip in self.worst],
    }

  def write(self, out: pathlib.Path) -> None:
    """Writes OUT/scores.json."""
    files.write_json(out / "scores.json", self.to_json())

  @classmethod
  def from_json(cls, found: Mapping[str, Any]) -> "Scores":
    """Reads the content of a scores.json of this version."""
    pinned = (
      "version", "benchmark", "items", "cloning", "seeds", "system", "source",
    )  # fmt: skip
    mean = found["mean"]
    return cls(
      pins=Pins(
        **{name: found[name] for name in pinned},
        data=found["data_digest"],
        judges=JudgeSpecs(**found["judges"]),
      ),
      data=found["data"],
      subsets=[_subset_from_json(row) for row in found["rows"]],
      mean=Means(
        rates={name: MeanRates(**mean[name]) for name in NORMALISATIONS},
        similarity=mean["similarity"],
      ),
      worst=[WorstClip(**clip) for clip in found["worst"]],
    )


def _subset_to_json(scores: SubsetScores) -> dict[str, Any]:
  """A row of scores.json."""
  return {
    "subset": scores.subset,
    "language": scores.language,
    "metric": scores.metric,
    "items": scores.items,
    "clips": scores.clips,
    "missing": list(scores.missing),
    "silent": list(scores.silent),
    **{name: dataclasses.asdict(rates) for name, rates in scores.rates.items()},
    "similarity": dataclasses.asdict(scores.similarity)
    if scores.similarity
    else None,
    "quality": (
      None
      if scores.quality is None
      else {name: dataclasses.asdict(f) for name, f in scores.quality.items()}
    ),
  }


def _subset_from_json(row: Mapping[str, Any]) -> SubsetScores:
  """Inverse of `_subset_to_json`."""
  fields = dict(row)
  rates = {
    name: Rates(**_from_json(fields.pop(name))) for name in NORMALISATIONS
  }
  alike, quality = fields.pop("similarity"), fields.pop("quality")
  return SubsetScores(
    **fields,
    rates=rates,
    similarity=Cosines(**_from_json(alike)) if alike else None,
    quality=None if quality is None else _from_json(quality),
  )


def _from_json(fields: Mapping[str, Any]) -> dict[str, Any]:
  """Inverse of `dataclasses.asdict` for fields that hold figures."""
  return {
    name: Figure(**value) if isinstance(value, Mapping) else value
    for name, value in fields.items()
  }
