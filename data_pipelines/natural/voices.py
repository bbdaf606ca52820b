"""Voices of a natural corpus: engines, mixtures of styles, and colours.

A family is one voice of an engine; each of its members is another colour of
it, and a speaker of the corpus. All members say the same sentences, which the
engine speaks once: so a slow engine has several speakers for the price of one.
Everything is drawn from (seed, split, engine, number of the family).
"""

import dataclasses

import numpy as np

from data_pipelines.hashing import digest
from data_pipelines.natural import engines
from data_pipelines.natural.colour import Colour

HELD_OUT = "jf_tebukuro"  # style that is in every mixture of `unseen`, alone
MEMBERS = {"hibari": 1, "kokoro": 3}  # speakers of a family
LEAST, MOST = 0.75, 1.25  # factor of a colour
_FORMANTS = (0.82, 1.2)  # least and most change of the formants in all
# Weights of Kokoro's styles in a mixture, before they are drawn: the less, the
# more of an accent the style has in English.
_WEIGHTS = {
  "jf_alpha": 0.15,
  "jf_gongitsune": 0.7,
  "jf_nezumi": 0.4,
  "jm_kumo": 1.1,
}
_MOST_ACCENT = 0.45  # of `jf_alpha` in a mixture


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
  """Speaker of a family."""

  name: str  # of the speaker in the corpus
  colour: Colour


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
  """Voice of an engine, and the speakers that are made of it."""

  name: str
  number: int  # among those of its engine and split
  engine: str  # "hibari" or "kokoro"
  style: engines.Style = ()  # of Kokoro
  speed: float  # of the engine
  members: tuple[Member, ...]

  @property
  def source(self) -> str:
    """Engine and style, for the corpus's records."""
    parts = [f"{k}*{a:.2f}/{b:.2f}" for k, a, b in self.style]
    return " ".join([self.engine, "+".join(parts)]).strip()


def family(seed: int, split: str, engine: str, number: int) -> Family:
  """Draws a family; those of `unseen` have the style that is held out."""
  unseen = split == "unseen"
  rng = np.random.default_rng(
    [seed, digest("family", "unseen" if unseen else "train", engine), number]
  )
  count = MEMBERS[engine]
  # A slow engine's members share their pace, and so lie near one factor.
  base = (
    _log_uniform(rng, LEAST, MOST)
    if count == 1
    else (_log_uniform(rng, 0.86, 1.16))
  )
  steps = np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
  factors = [
    float(np.clip(base * np.exp(0.09 * s + rng.normal(0, 0.02)), LEAST, MOST))
    for s in rng.permutation(steps)
  ]
  if count == 1:
    factors = [base]
  name = f"{engine}-{'u' if unseen else ''}{number:04d}"
  letters = "abcdefgh" if count > 1 else " "
  return Family(
    name=name,
    number=number,
    engine=engine,
    style=_mixture(rng, unseen) if engine == "kokoro" else (),
    speed=float(rng.uniform(0.9, 1.1) / base),
    members=tuple(
      Member(name=f"{name}{letter}".strip(), colour=_colour(rng, factor))
      for letter, factor in zip(letters, factors, strict=False)
    ),
  )


def _colour(rng: np.random.Generator, factor: float) -> Colour:
  """Draws what else a voice of a pitch is: formants follow it half-way."""
  formants = np.clip(factor**0.6 * np.exp(rng.normal(0, 0.06)), *_FORMANTS)
  tone = tuple(float(x) for x in rng.uniform(-2.5, 2.5, 4))
  return Colour(factor=factor, shift=float(formants / factor), tone=tone)


def _mixture(rng: np.random.Generator, unseen: bool) -> engines.Style:
  """Draws weights of timbre and of prosody for each style."""
  names = list(_WEIGHTS)
  parts = np.stack([_simplex(rng, names) for _ in range(2)])
  # Prosody is mostly that of the timbre: a mixture of both sounds like one.
  parts[1] = 0.7 * parts[0] + 0.3 * parts[1]
  own = float(rng.uniform(0.5, 0.9)) if unseen else 0.0
  parts *= 1 - own
  style = [
    (n, float(a), float(b)) for n, a, b in zip(names, *parts, strict=True)
  ]
  style += [(HELD_OUT, own, own)]
  return tuple(row for row in style if max(row[1:]) > 0.01)


def _simplex(rng: np.random.Generator, names: list[str]) -> np.ndarray:
  """Draws weights that add up to 1, little of the accented style."""
  drawn = rng.dirichlet([_WEIGHTS[name] for name in names])
  accent = names.index("jf_alpha")
  if drawn[accent] > _MOST_ACCENT:
    rest = np.delete(np.arange(len(names)), accent)
    share = rng.dirichlet([_WEIGHTS[names[i]] for i in rest])
    drawn[rest] += share * (drawn[accent] - _MOST_ACCENT)
    drawn[accent] = _MOST_ACCENT
  return drawn


def _log_uniform(rng: np.random.Generator, least: float, most: float) -> float:
  return float(np.exp(rng.uniform(np.log(least), np.log(most))))


assert set(_WEIGHTS) | {HELD_OUT} == set(engines.STYLES)
