"""Plan of a natural corpus: which voices speak how often in which split."""

import dataclasses
from collections.abc import Mapping

from data_pipelines.natural import voices

_SECONDS = 4.9  # of a clip, on average
MOST_CLIPS = 64  # of a family, whose texts have so many numbers
_FIRST = {"hibari": 0, "kokoro": 4096}  # of these numbers, in families
_MIN_CLIPS = 2  # of a speaker, for one of them is the reference


@dataclasses.dataclass(frozen=True, kw_only=True)
class NaturalArguments:
  """Arguments of a natural corpus."""

  languages: tuple[str, ...] = ("en",)  # codes
  hours: float = 17.0  # of train, about
  speakers: int = 640  # in train, about: families have several members
  kokoro_share: float = 0.25  # of the speakers; the others are hibari's
  seen_speakers: int = 60  # train speakers, about, who also speak in `seen`
  seen_clips: int = 2  # clips of each of them
  unseen_speakers: int = 42  # speakers in `unseen`, about, of a style held out
  unseen_clips: int = 5  # clips of each of them
  rate: int = 24_000  # Hz
  seed: int = 0  # of voices and sentences


class Plan:
  """Families of each split, and the clips of each."""

  def __init__(self, arguments: NaturalArguments):
    """Shares out speakers and clips."""
    self._seed = arguments.seed
    kokoro = arguments.kokoro_share
    parts = {"hibari": 1 - kokoro, "kokoro": kokoro}
    train = self._families("train", arguments.speakers, parts)
    speakers = sum(len(family.members) for family in train)
    each = round(arguments.hours * 3600 / _SECONDS / speakers)
    seen = self._families("train", arguments.seen_speakers, parts)
    unseen = self._families("unseen", arguments.unseen_speakers, {"kokoro": 1})
    self.families = {"train": train, "seen": seen, "unseen": unseen}
    self.clips = {
      "train": min(max(each, _MIN_CLIPS), MOST_CLIPS),
      "seen": arguments.seen_clips,
      "unseen": arguments.unseen_clips,
    }

  def _families(
    self, split: str, speakers: int, parts: Mapping[str, float]
  ) -> list[voices.Family]:
    """Draws families for about so many speakers."""
    return [
      voices.family(self._seed, split, engine, number)
      for engine, share in parts.items()
      for number in range(round(speakers * share / voices.MEMBERS[engine]))
    ]

  def __len__(self) -> int:
    """Number of clips, if none fails."""
    return sum(
      self.clips[split] * len(family.members)
      for split, families in self.families.items()
      for family in families
    )

  def numbers(self, split: str, family: voices.Family) -> range:
    """Numbers of a family's texts: of it alone, however large the corpus."""
    first = (_FIRST[family.engine] + family.number) * MOST_CLIPS
    return range(first, first + self.clips[split])
