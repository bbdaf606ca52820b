"""Judging pass: asks the judges about clips, prompts and truths, by groups.

Answers are kept in the ledger; a file is judged again only once it changes. No
judge is asked about a silent clip, for some recognisers find words in silence:
its transcript is empty.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from s02jax.core.errors import UserError
from s02jax.evaluation.benchmark import clips
from s02jax.evaluation.benchmark.items import first_names
from s02jax.evaluation.benchmark.ledger import (
  Asked,
  JudgeAnswer,
  Ledger,
  digest,
)
from s02jax.evaluation.benchmark.plan import (
  Find,
  ItemGroup,
  JudgeSpecs,
  clip_name,
)
from s02jax.pretrained.judges import QualityJudge, Recogniser, SpeakerJudge


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judges:
  """Judges of an evaluation, loaded, and their names in the ledger."""

  recognisers: Mapping[str, Recogniser]  # by language code
  speaker: SpeakerJudge | None  # None: voices are not judged
  quality: QualityJudge | None  # None: quality is not judged
  specs: JudgeSpecs  # without folders


@dataclasses.dataclass(frozen=True)
class _File:
  """One file to be judged, or the lack of it."""

  role: str  # "clip", "prompt" or "truth"
  subset: str  # "" for a prompt or a truth
  key: str  # of the item; path in the set for a prompt or a truth
  seed: int
  where: str  # file and line of the item
  path: pathlib.Path | None  # None: there is no clip


# Paths to one answer each.
_Ask = Callable[[list[pathlib.Path]], list[JudgeAnswer]]


class Listener:
  """Asks the judges about the files that the ledger does not know."""

  def __init__(self, judges: Judges, ledger: Ledger, *, allow_missing: bool):
    """Keeps the judges and the ledger of their answers.

    Args:
      judges: loaded.
      ledger: read for what is known, appended to.
      allow_missing: a clip that cannot be judged is noted, not refused.
    """
    self._judges, self._ledger = judges, ledger
    self._allow_missing = allow_missing

  def clips(self, group: ItemGroup, find: Find) -> None:
    """Judges the clips of a group.

    Raises:
      UserError: a clip is missing or cannot be read.
    """
    (language,) = {item.language for item in group.items}
    found = [
      _File("clip", item.subset, item.key, group.seed, item.where,
            find(item, group.seed))
      for item in group.items
    ]  # fmt: skip
    recogniser = self._judges.recognisers[language]
    asks: list[tuple[str | None, _Ask]] = [
      (
        self._judges.specs.recognisers[language],
        lambda paths: [
          JudgeAnswer(heard=text)
          for text in recogniser.transcribe(paths, language)
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
    """Judges the voices of prompts or truths.

    Args:
      role: "prompt" or "truth".
      named: path in the set, file and line of the item, and the recording.

    Raises:
      UserError: a recording cannot be read, or is silent.
    """
    found = [
      _File(role, "", name, 0, where, path) for name, where, path in named
    ]
    self._judge(found, [(self._judges.specs.speaker, self._voices)])

  # ---------------------------------------------------------------- asking

  def _voices(self, paths: list[pathlib.Path]) -> list[JudgeAnswer]:
    """Asks the speaker judge."""
    assert self._judges.speaker is not None
    return [JudgeAnswer(voice=x) for x in self._judges.speaker.embed(paths)]

  def _qualities(self, paths: list[pathlib.Path]) -> list[JudgeAnswer]:
    """Asks the quality judge."""
    assert self._judges.quality is not None
    scores = self._judges.quality.score(paths)
    return [
      JudgeAnswer(quality={name: _number(x[i]) for name, x in scores.items()})
      for i in range(len(paths))
    ]

  def _judge(
    self, found: Sequence[_File], asks: Sequence[tuple[str | None, _Ask]]
  ) -> None:
    """Asks each judge about all files unless the ledger knows them all."""
    files = [digest(one.path) if one.path else None for one in found]
    unasked = None
    for spec, ask in asks:
      assert spec is not None
      asked = [Asked(f.role, f.subset, f.key, f.seed, spec) for f in found]
      if all(map(self._known, asked, files)):
        continue
      unasked = unasked or [self._unasked(one) for one in found]
      answers = dict(enumerate(unasked))
      heard = [
        (i, one.path)
        for i, one in enumerate(found)
        if one.path is not None and answers[i] is None
      ]
      said = ask([path for _, path in heard]) if heard else []
      for (i, _), answer in zip(heard, said, strict=True):
        answers[i] = answer
      self._ledger.add(
        [
          (who, dataclasses.replace(answer, file=file))
          for who, file, answer in zip(
            asked, files, answers.values(), strict=True
          )
          if answer is not None
        ]
      )

  def _known(self, asked: Asked, file: str | None) -> bool:
    """Whether the ledger has a valid answer about this content."""
    answer = self._ledger.get(asked)
    if answer is None or answer.file != file:
      return False
    return self._allow_missing or answer.missing is None

  def _unasked(self, file: _File) -> JudgeAnswer | None:
    """Answer about a clip that no judge needs to hear; None for the others.

    Raises:
      UserError: a prompt or truth is silent or unreadable, or a clip is
        missing and must not be.
    """
    fault = "there is no file"
    if file.path is not None:
      try:
        if not clips.is_silent(file.path):
          return None
        if file.role == "clip":
          return JudgeAnswer(silent=True)
        fault = f"{file.path}: nobody speaks there; give another recording."
      except UserError as error:
        fault = str(error)
    if file.role != "clip":
      raise UserError(f"{file.where}: the {file.role} of the item: {fault}")
    if not self._allow_missing:
      raise UserError(
        f"the clip {file.subset}/{clip_name(file.key, file.seed)}"
        f" ({file.where}) cannot be judged: {fault}; make it, or count it as"
        " wholly wrong by --allow-missing."
      )
    return JudgeAnswer(missing=fault)


def _number(value) -> float | None:
  """Number for JSON; None for NaN and infinity."""
  return float(value) if np.isfinite(value) else None


def check_present(groups: Sequence[ItemGroup], find: Find) -> None:
  """Raises UserError with the names of clips that are not there."""
  missing = [
    (item, f"{item.subset}/{clip_name(item.key, group.seed)}")
    for group in groups
    for item in group.items
    if find(item, group.seed) is None
  ]
  if missing:
    names = first_names([name for _, name in missing])
    total = sum(len(group.items) for group in groups)
    raise UserError(
      f"{missing[0][0].where}: {len(missing)} of {total} clips are missing:"
      f" {names}; make them, or count them as wholly wrong by"
      " --allow-missing."
    )
