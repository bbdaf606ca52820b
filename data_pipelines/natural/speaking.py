"""Clips of a family of voices, made by worker processes.

Whatever an engine has spoken is kept in a folder, by a hash of all it depends
on, so that a build that was stopped does not ask again.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable

import numpy as np
import soundfile

from data_pipelines import clips
from data_pipelines.natural import colour, engines, voices
from s02jax.audio import loudness
from s02jax.core import files
from s02jax.text import front

SHORTEST, LONGEST = 1.0, 15.0  # seconds of a clip
_NOTHING = engines.RATE // 10  # samples that are kept where nothing was said

Factory = Callable[[], engines.Engine]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
  """Family that a worker process lets speak in one split."""

  family: voices.Family
  engine: Factory
  language: str  # code
  split: str
  texts: tuple[str, ...]  # as written
  rate: int  # of the corpus, Hz
  clips: pathlib.Path  # folder of what was spoken


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failed:
  """Clip that did not become a record."""

  id: str
  reason: str  # sentence for a person


def speak(task: Task) -> list[clips.Example | Failed]:
  """Makes the clips of a family: each text once by each member."""
  made: list[clips.Example | Failed] = []
  for number, written in enumerate(task.texts):
    text = front.words(written, task.language)
    wave = _spoken(task, text)
    for member in task.family.members:
      name = f"{member.name}-{task.split}-{number:04d}"
      try:
        made.append(_example(task, member, name, text, wave))
      except clips.Unusable as error:
        made.append(Failed(id=name, reason=str(error)))
  return made


def _spoken(task: Task, text: str) -> np.ndarray:
  """Speech of the engine, float32 [n] at its rate: kept, or rendered now."""
  family = task.family
  key = repr((family.engine, family.style, family.speed, text))
  name = hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
  path = task.clips / name[:2] / f"{name}.flac"
  if not path.exists():
    wave = task.engine().render(text, family.style, family.speed)
    # Levelled before it is rounded, and read again: alike however often.
    if np.any(wave):
      wave = loudness.level(wave, engines.RATE)
    else:
      wave = np.zeros(_NOTHING, np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic(path) as temporary, open(temporary, "wb") as file:
      soundfile.write(file, wave, engines.RATE, "PCM_16", format="FLAC")
  return soundfile.read(path, dtype="float32")[0]


def _example(
  task: Task, member: voices.Member, name: str, text: str, wave: np.ndarray
) -> clips.Example:
  """Makes the record of a member. Raises Unusable."""
  if np.max(np.abs(wave), initial=0) < loudness.SILENCE:
    raise clips.Unusable("the engine says nothing")
  wave = colour.recolour(wave, engines.RATE, member.colour, task.rate)
  wave = loudness.trim_and_level(wave, task.rate, task.rate)
  seconds = len(wave) / task.rate
  if not SHORTEST <= seconds <= LONGEST:
    raise clips.Unusable(
      f"{seconds:.1f} s is not between {SHORTEST:g} and {LONGEST:g} s"
    )
  audio, num_samples = clips.encode(wave, task.rate)
  return clips.Example(
    id=name,
    audio=audio,
    num_samples=num_samples,
    text=text,
    language=task.language,
    speaker=member.name,
    source=task.family.source,
  )


def crashed(task: Task) -> list[clips.Example | Failed]:
  """Failure of a family whose engine ended its process."""
  name = f"{task.family.name}-{task.split}"
  return [Failed(id=name, reason=f"the engine {task.family.engine} crashed")]
