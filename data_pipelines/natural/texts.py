"""Texts of a natural corpus: everyday sentences, and WordNet's."""

import pathlib

import numpy as np

from data_pipelines.hashing import digest
from data_pipelines.natural import wordnet
from data_pipelines.natural.everyday import Everyday
from data_pipelines.natural.splits import Excluded, split_of
from s02jax.core.errors import UserError
from s02jax.data import records

FEWEST, MOST = 20, 170  # characters: a second to fifteen, about
_SENTENCES = (0.5, 0.3, 0.2)  # shares of the texts of one, two and three
_TRIES = 1000  # draws until a text is not excluded
SHARES = {"everyday": 0.4, "examples": 0.4, "glosses": 0.2}


class Texts:
  """Sentences by number; each split has its own."""

  def __init__(
    self,
    language: str,
    folder: pathlib.Path | None,
    excluded: Excluded,
    seed: int,
  ):
    """Reads the texts of a language.

    Args:
      language: code.
      folder: with WordNet's files; None for none, and everyday sentences alone.
      excluded: what may not be said.
      seed: of every draw.
    """
    self._everyday = Everyday(language, seed)
    self._excluded = excluded
    self._seed = seed
    self._shares = SHARES if folder else {"everyday": 1.0}
    self._pools: dict[tuple[str, str], list[str]] = {}
    if folder:
      found = wordnet.read(folder, FEWEST, MOST)
      for kind, texts in zip(("examples", "glosses"), found, strict=True):
        self._share_out(kind, texts)

  def _share_out(self, kind: str, texts: list[str]) -> None:
    """Puts the texts that may be said into their splits, in a drawn order."""
    pools: dict[str, list[str]] = {split: [] for split in records.SPLITS}
    for text in texts:
      if text not in self._excluded:
        pools[split_of(text)].append(text)
    rng = np.random.default_rng([self._seed, digest("order", kind)])
    for split, pool in pools.items():
      order = rng.permutation(len(pool))
      self._pools[kind, split] = [pool[place] for place in order]

  def text(self, split: str, number: int) -> str:
    """Draws text `number` of a split: one to three sentences of one kind.

    Raises:
      UserError: the split has no text.
    """
    rng = np.random.default_rng([self._seed, digest("kind", split), number])
    kinds = [kind for kind in self._shares if self._has(kind, split)]
    weights = np.array([self._shares[kind] for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
    wanted = 1 + int(rng.choice(len(_SENTENCES), p=_SENTENCES))
    found = ""
    for part in range(wanted):
      sentence = self._sentence(kind, split, number, part)
      if found and len(found) + len(sentence) >= MOST:
        break
      found = f"{found} {sentence}".strip()
    return found

  def _sentence(self, kind: str, split: str, number: int, part: int) -> str:
    if kind != "everyday":
      pool = self._pools[kind, split]
      start = digest(kind, split, str(self._seed), str(number))
      return pool[(start + part) % len(pool)]
    for attempt in range(_TRIES):
      text = self._everyday.text(split, number, part, attempt)
      if text not in self._excluded:
        return text
    raise UserError(f"every everyday sentence of {split} is excluded")

  def _has(self, kind: str, split: str) -> bool:
    return kind == "everyday" or bool(self._pools[kind, split])
