"""Windows and prompts that training of flow matching draws for its rows."""

import types

import jax
import numpy as np
import pytest

from s02jax.stages.flow_matching import FlowMatchingStage, LossConfig

RATIO = 2  # latents per token
ROWS, TOKENS, FRAMES = 4000, 60, 130


def windows(tokens=TOKENS, **loss):
  """Windows and prompts [b, l] of rows of so many tokens."""
  stage = types.SimpleNamespace(
    loss=LossConfig(**loss),
    model_config=types.SimpleNamespace(latents_per_token=RATIO),
  )
  draw = jax.jit(
    lambda key, n: FlowMatchingStage.windows(stage, key, n, FRAMES)
  )
  segment, prompt = draw(jax.random.key(0), np.full(ROWS, tokens, np.int32))
  return np.array(segment), np.array(prompt)


@pytest.fixture(scope="module")
def drawn():
  return windows()


def test_windows_are_one_behind_the_other_and_cut_between_tokens(drawn):
  segment, _ = drawn
  real = segment[:, : TOKENS * RATIO]
  assert (segment[:, TOKENS * RATIO :] == 0).all()
  assert (real > 0).all() and (np.diff(real) >= 0).all()
  first = (real == 1).sum(1)
  assert (first % RATIO == 0).all()
  cut = (first > 0) & (first < TOKENS * RATIO)
  assert cut.mean() == pytest.approx(LossConfig.cut, abs=0.08)


def test_short_windows_occur_at_both_ends():
  """Windows that streaming begins with are a good part of all."""
  segment, _ = windows(cut=1.0)
  first, second = ((segment == i).sum(1) // RATIO for i in (1, 2))
  for size in (first, second):
    assert 0.1 < ((size > 0) & (size <= 6)).mean() < 0.3


def test_prompts_are_the_beginnings_of_windows_up_to_a_share(drawn):
  segment, prompt = drawn
  assert not prompt[segment == 0].any()
  shares = []
  for number in (1, 2):
    inside = segment == number
    size, given = inside.sum(1), (inside & prompt).sum(1)
    begin = np.argmax(inside, axis=1)
    frame = np.arange(FRAMES)
    beginning = inside & (frame < (begin + given)[:, None])
    np.testing.assert_array_equal(beginning, inside & prompt)
    shares.append(given[size > 20] / size[size > 20])
  shares = np.concatenate(shares)
  assert 0.8 < shares.max() <= LossConfig.prompt_share
  assert (shares > 0).mean() == pytest.approx(LossConfig.prompt, abs=0.05)


def test_without_cuts_and_prompts_a_row_is_one_window():
  segment, prompt = windows(cut=0.0, prompt=0.0)
  assert (segment[:, : TOKENS * RATIO] == 1).all()
  assert not prompt.any()
