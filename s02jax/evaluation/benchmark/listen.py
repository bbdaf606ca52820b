"""The pass of the judges: every clip, prompt and truth, a group at a time.

What was judged is in the ledger and is not judged again, unless the file has
changed since. A clip in which nobody speaks was heard to say nothing; no judge
is asked, for some recognisers find words in silence.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from s02jax.core.errors import UserError
from s02jax.evaluation.benchmark import clips
from s02jax.evaluation.benchmark.ledger import (
  Asked,
  Ledger,
  Record,
  digest,
  encode,
)
from s02jax.evaluation.benchmark.plan import Group, clip_name
from s02jax.pretrained.recognisers import QualityJudge, Recogniser, SpeakerJudge

_LISTED = 10  # of missing clips


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judges:
  """Who is asked, and by which spec it is known in the ledger."""

  recognisers: Mapping[str, Recogniser]  # by language
  speaker: SpeakerJudge | None
  quality: QualityJudge | None
  specs: "Specs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Specs:
  """The judges by name."""

  recognisers: Mapping[str, str]  # by language
  speaker: str | None
  quality: str | None


@dataclasses.dataclass(frozen=True)
class _Clip:
  """One file to be judged, or the lack of it."""

  role: str
  subset: str
  key: str
  seed: int
  where: str  # file and line of the item
  path: pathlib.Path | None


# One answer for each file.
_Ask = Callable[[list[pathlib.Path]], list[Record]]


class Listener:
  """Asks the judges what the ledger does not know."""

  def __init__(self, judges: Judges, ledger: Ledger, *, allow_missing: bool):
    self._judges, self._ledger = judges, ledger
    self._allow_missing = allow_missing

  def clips(self, group: Group, find: clips.Find) -> None:
    """Judges the clips of a group.

    Raises:
      UserError: a clip is missing or cannot be read.
    """
    (language,) = {item.language for item in group.items}
    found = [
      _Clip("clip", item.subset, item.key, group.seed, item.where,
            find(item, group.seed))
      for item in group.items
    ]  # fmt: skip
    recogniser = self._judges.recognisers[language]
    asks: list[tuple[str | None, _Ask]] = [
      (
        self._judges.specs.recognisers[language],
        lambda paths: [
          {"heard": text} for text in recogniser.transcribe(paths, language)
        ],
      )
    ]
    if self._judges.speaker is not None:
      asks.append((self._judges.specs.speaker, self._voices))
    if self._judges.quality is not None:
      asks.append((self._judges.specs.quality, self._qualities))
    self._judge(found, asks)

  def recordings(
    self, role: str, named: Sequence[tuple[str, str, pathlib.Path]]
  ) -> None:
    """Says whose voice prompts or truths have.

    Args:
      role: "prompt" or "truth".
      named: name, file and line that name it, and the recording.

    Raises:
      UserError: one cannot be read, or nobody speaks there.
    """
    found = [
      _Clip(role, "", name, 0, where, path) for name, where, path in named
    ]
    self._judge(found, [(self._judges.specs.speaker, self._voices)])

  # ---------------------------------------------------------------- asking

  def _voices(self, paths) -> list[Record]:
    assert self._judges.speaker is not None
    return [{"voice": encode(x)} for x in self._judges.speaker.embed(paths)]

  def _qualities(self, paths) -> list[Record]:
    assert self._judges.quality is not None
    scores = self._judges.quality.score(paths)
    return [
      {"quality": {name: _number(x[i]) for name, x in scores.items()}}
      for i in range(len(paths))
    ]

  def _judge(
    self, found: Sequence[_Clip], asks: Sequence[tuple[str | None, _Ask]]
  ) -> None:
    files = [digest(c.path) if c.path else None for c in found]
    states = None
    for spec, ask in asks:
      assert spec is not None
      asked = [Asked(c.role, c.subset, c.key, c.seed, spec) for c in found]
      if all(map(self._known, asked, files)):
        continue
      states = states or [self._state(c) for c in found]
      sounding = [
        (i, clip.path)
        for i, clip in enumerate(found)
        if clip.path is not None and not states[i]
      ]
      answers = ask([path for _, path in sounding]) if sounding else []
      said = list(states)
      for (i, _), answer in zip(sounding, answers, strict=True):
        said[i] = answer
      self._ledger.add(
        [
          (who, {"file": file} | state)
          for who, file, state in zip(asked, files, said, strict=True)
        ]
      )

  def _known(self, asked: Asked, file: str | None) -> bool:
    record = self._ledger.get(asked)
    if record is None or record["file"] != file:
      return False
    return self._allow_missing or "missing" not in record

  def _state(self, clip: _Clip) -> Record:
    """Nothing for a clip to be judged, else what is the matter."""
    fault = "there is no file"
    if clip.path is not None:
      try:
        if not clips.is_silent(clip.path):
          return {}
        if clip.role == "clip":
          return {"silent": True}
        fault = f"{clip.path}: nobody speaks there; give another recording."
      except UserError as error:
        fault = str(error)
    if clip.role != "clip":
      raise UserError(f"{clip.where}: the {clip.role} of the item: {fault}")
    if not self._allow_missing:
      raise UserError(
        f"the clip {clip.subset}/{clip_name(clip.key, clip.seed)}"
        f" ({clip.where}) cannot be judged: {fault}; make it, or count it as"
        " wholly wrong by --allow-missing."
      )
    return {"missing": fault}


def _number(value) -> float | None:
  return float(value) if np.isfinite(value) else None


def check_present(groups: Sequence[Group], find: clips.Find) -> None:
  """Raises UserError with the names of clips that are not there."""
  missing = [
    (item, f"{item.subset}/{clip_name(item.key, group.seed)}")
    for group in groups
    for item in group.items
    if find(item, group.seed) is None
  ]
  if missing:
    names = [name for _, name in missing[:_LISTED]]
    rest = len(missing) - len(names)
    more = f" and {rest} more" if rest else ""
    total = sum(len(group.items) for group in groups)
    raise UserError(
      f"{missing[0][0].where}: {len(missing)} of {total} clips are missing:"
      f" {', '.join(names)}{more}; make them, or count them as wholly wrong by"
      " --allow-missing."
    )
