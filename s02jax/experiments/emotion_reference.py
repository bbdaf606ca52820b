"""Subjects of the ablation `emotion-reference`: adapters of one bundle."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from s02jax.bundle import Bundle
from s02jax.core.errors import UserError
from s02jax.data.records import Corpus
from s02jax.data.rows.emotive import NEUTRAL, labels
from s02jax.evaluation import emotion
from s02jax.evaluation.figure import Figure
from s02jax.synthesis.request import Request, Settings
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.training import adapting
from s02jax.training.trained import Trained

EAR_CASES = 24  # recorded groups that the centroids are made of


def fields(bundle: pathlib.Path, corpus: pathlib.Path) -> list[str]:
  """Fields of the config that follow from the bundle and the corpus.

  Raises:
    UserError: the corpus knows no emotions, or no neutral speech.
  """
  names = _names(corpus)
  return [
    f"--config.bundle={bundle}",
    f"--config.adapter.names={tuple(names)!r}",
    f"--config.batch_size={len(names)}",
  ]


def _names(corpus: pathlib.Path) -> list[str]:
  """Emotions of a corpus's clips to train on."""
  known = sorted(set(labels(Corpus.open(corpus, "train"))) - {""})
  if NEUTRAL not in known or len(known) < 2:
    raise UserError(
      f"{corpus} has the emotions {', '.join(known) or 'none'}; this ablation"
      f" needs {NEUTRAL} and another."
    )
  return known


def judge(
  bundle_path: pathlib.Path,
  corpus: pathlib.Path,
  runs: Mapping[str, Trained],
  groups: int,
  synthesis: Mapping[str, Any],
) -> Mapping[str, Mapping[str, Figure]]:
  """Figures of the recordings, the base and every run's adapters.

  Args:
    bundle_path: folder of the base.
    corpus: folder whose split `unseen` is spoken.
    runs: variant -> its run.
    groups: of one speaker and text, spoken in all emotions.
    synthesis: settings of speech.
  """
  bundle, names = Bundle.load(bundle_path), _names(corpus)
  ear_cases = emotion.cases(Corpus.open(corpus, "train"), names, EAR_CASES)
  ear = emotion.Ear.of(ear_cases, bundle.rate)
  cases = emotion.cases(Corpus.open(corpus, "unseen"), names, groups)

  def speak(synthesizer: Synthesizer, told: bool) -> list[np.ndarray]:
    requests = [
      Request(
        text=case.text,
        language=case.language,
        reference=case.reference,
        emotion=case.emotion if told else None,
      )
      for case in cases
    ]
    made = synthesizer.synthesize(
      requests, **dataclasses.asdict(Settings(**synthesis))
    )
    return [utterance.wave for utterance in made]

  sounds: dict[str, Callable[[], list[np.ndarray]]] = {
    "ground_truth": lambda: [case.wave for case in cases],
    "base": lambda: speak(Synthesizer(bundle), False),
  }
  for variant, run in runs.items():
    made = adapting.lora_adapters(names, {"ar": run}, bundle.fingerprint, {})
    sounds[variant] = lambda made=made: speak(Synthesizer(bundle, made), True)
  return {
    name: emotion.judge(cases, sound(), bundle.rate, ear)
    for name, sound in sounds.items()
  }
