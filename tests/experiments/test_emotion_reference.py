"""The ablation of references: its fields, and its figures of tiny models."""

import types

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.experiments import emotion_reference
from tests import tiny
from tests.corpora import build_espeak, write_noise

ESPEAK = (
  "--languages en --speakers 2 --clips_per_speaker 2 --seen_speakers 0"
  " --unseen_speakers 1 --unseen_clips 2 --words 12 --processes 1"
  " --emotions neutral,sad"
)


def run(seed):
  """Something like a finished run of two emotions, of random changes."""
  one = tiny.adapter("any", seed, models=("ar",)).weights["ar"]
  params = {
    path: {part: np.stack([array, 2 * array]) for part, array in pair.items()}
    for path, pair in one.items()
  }
  config = {"adapter": {"alpha": 2.0, "rank": 1 + seed}}
  return types.SimpleNamespace(config=config, params={"params": params})


def test_recordings_base_and_variants_are_judged_alike(tmp_path):
  build_espeak(tmp_path / "corpus", ESPEAK)
  tiny.bundle().write(tmp_path / "bundle")
  fields = emotion_reference.fields(tmp_path / "bundle", tmp_path / "corpus")
  assert "--config.adapter.names=('neutral', 'sad')" in fields
  figures = emotion_reference.judge(
    tmp_path / "bundle",
    tmp_path / "corpus",
    {"same": run(0), "neutral": run(1)},
    2,
    {"steps": 1},
  )
  assert list(figures) == ["ground_truth", "base", "same", "neutral"]
  truth = figures["ground_truth"]
  assert truth["emotion"].value == 1.0 and truth["wrong_text"].value <= 0.5
  assert truth["similarity"].value > 0.7
  assert {found["emotion"].n for found in figures.values()} <= {0, 1, 2, 3, 4}
  write_noise(tmp_path / "noise")
  with pytest.raises(UserError, match="has the emotions none"):
    emotion_reference.fields(tmp_path / "bundle", tmp_path / "noise")
