"""Sizes of the models and shapes of the batches, without an accelerator."""

import importlib

import jax
import numpy as np
import pytest

from s02jax import stages
from s02jax.data.rows import (
  audio_crops,
  latent_utterances,
  packed_sequences,
  packed_utterances,
)
from tests import fakes

NAMES = ("audio_tokenizer", "flow_vae", "ar", "flow_matching")


def make(stage, argument="test", **changes):
  config = importlib.import_module(f"configs.{stage}").get_config(argument)
  config = stages.assume(config)
  config.update_from_flattened_dict(changes)
  return stages.make(config)


def state_of(stage):
  return jax.eval_shape(stage.init_state, jax.random.key(0))


def millions(stage):
  """Parameters that the bundle gets, in millions."""
  params = stage.inference_params(state_of(stage))
  return sum(x.size for x in jax.tree.leaves(params)) / 1e6


@pytest.mark.parametrize(
  ("stage", "argument", "low", "high"),
  [
    ("ar", "test", 0, 1),
    ("ar", "small", 90, 120),
    ("ar", "base", 450, 550),
    ("ar", "large", 1400, 1600),
    ("ar", "xl", 6600, 7400),
    ("flow_matching", "small", 90, 125),
    ("flow_matching", "base", 280, 340),
    ("flow_matching", "large", 550, 680),
    ("audio_tokenizer", "small", 25, 50),
    ("audio_tokenizer", "base-32khz", 90, 130),
    ("flow_vae", "base", 50, 80),
    ("flow_vae", "large-32khz", 130, 180),
  ],
)
def test_sizes_are_as_stated(stage, argument, low, high):
  assert low <= millions(make(stage, argument)) <= high


def data(stage, corpus):
  """The rows of a stage, over a corpus made of numbers."""
  features, text = fakes.FakeFeatures(corpus), fakes.FakeText()
  common = dict(batch_size=4, seed=0, **stage.config.data)
  if stage.name == "flow_vae":
    return audio_crops.AudioCrops(corpus, **common)
  if stage.name == "audio_tokenizer":
    return packed_utterances.PackedUtterances(corpus, text, **common)
  if stage.name == "flow_matching":
    return latent_utterances.LatentUtterances(corpus, features, **common)
  return packed_sequences.PackedSequences(
    corpus, features, text, rate=lambda _: 0.3, **common
  )


@pytest.mark.parametrize("name", NAMES)
def test_assumed_batches_are_those_of_the_rows(name):
  stage = make(name)
  if name == "flow_matching":
    changes = {"model.channels": fakes.CHANNELS}
    stage = make(name, **changes)
  row = data(stage, fakes.FakeCorpus(60, 6))[0]
  spec = stage.batch_specs(4)[-1]
  on_host = {"audio_seconds", "padding"}
  assert set(row) - on_host == set(spec)
  for key, x in spec.items():
    value = np.asarray(row[key])
    assert value.dtype == x.dtype, key
    assert (4, *value.shape) == x.shape, key
