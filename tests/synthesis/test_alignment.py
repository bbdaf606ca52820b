"""Forced alignment: the likeliest path, by hand and by trying all of them."""

import itertools

import numpy as np
import pytest

from s02jax.audio import espeak
from s02jax.synthesis import alignment
from s02jax.synthesis.alignment import Aligner
from s02jax.text.tokenizer import TextModel
from tests import tiny


def log_softmax(x):
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


def certain(said, ids, blank):
  """Log-probabilities that leave no doubt; None says nothing."""
  out = np.full((len(said), ids), -20.0)
  for t, index in enumerate(said):
    out[t, blank if index is None else index] = 0.0
  return log_softmax(out)


def collapsed(path, blank):
  return [k for k, _ in itertools.groupby(path) if k != blank]


def by_trying(log_probs, labels):
  """Highest log-probability of any path that says the labels."""
  t, v = log_probs.shape
  return max(
    sum(log_probs[i, k] for i, k in enumerate(path))
    for path in itertools.product(range(v), repeat=t)
    if collapsed(path, v - 1) == list(labels)
  )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("labels", [[], [0], [0, 1], [1, 1], [0, 1, 0]])
def test_no_other_path_is_likelier(seed, labels):
  random = np.random.default_rng(seed)
  log_probs = log_softmax(2 * random.normal(size=(6, 3)))
  found = alignment.path(log_probs, labels)
  said = [2 if i < 0 else labels[i] for i in found]
  assert collapsed(said, 2) == labels
  cost = sum(log_probs[t, k] for t, k in enumerate(said))
  assert cost == pytest.approx(by_trying(log_probs, labels), abs=1e-5)


def test_known_boundaries_are_found():
  said = [None, 4, 4, None, 2, None, None, 2, 2, 7, None]
  found = alignment.path(certain(said, 9, 8), [4, 2, 2, 7])
  assert found.tolist() == [-1, 0, 0, -1, 1, -1, -1, 2, 2, 3, -1]


def test_padding_changes_nothing():
  random = np.random.default_rng(0)
  for t in (31, 127, 128, 129):
    log_probs = log_softmax(random.normal(size=(t, 9)))
    labels = random.integers(0, 8, t // 3).tolist()
    found = alignment.path(log_probs, labels)
    assert len(found) == t
    spoken = [i for i, _ in itertools.groupby(found) if i >= 0]
    assert spoken == list(range(len(labels)))


def test_too_few_tokens_have_no_path():
  assert alignment.path(log_softmax(np.zeros((2, 3))), [0, 0]) is None
  assert alignment.path(np.zeros((0, 3)), []) is None
  assert alignment.path(log_softmax(np.zeros((3, 3))), [0, 0]) is not None


# --------------------------------------------------------------------- words


@pytest.mark.parametrize(
  ("text", "language", "words"),
  [
    ("Good  morning, you.", "en", ["Good", "morning,", "you."]),
    ("“ Yes – no ”", "en", ["“ Yes –", "no ”"]),
    ("你好，世界。", "zh", ["你", "好，", "世", "界。"]),
    ("?!", "en", ["?!"]),
    ("", "en", []),
  ],
)
def test_words_keep_their_signs(text, language, words):
  spans = alignment.word_spans(text, language)
  assert [text[a:b] for a, b in spans] == words


@pytest.mark.parametrize(
  "text", ["Good morning, dog.", "é 你好 dog", "e\u0301", " a \u2581 b ", ""]
)
def test_pieces_cover_the_text(text):
  pieces = TextModel(tiny.text_model()).spans(text)
  assert [p.id for p in pieces] == TextModel(tiny.text_model()).pieces(text)
  at = 0
  for piece in pieces:
    assert piece.begin <= at <= piece.end and piece.begin < piece.end
    at = piece.end
  assert not pieces or pieces[-1].end == at


def aligner(said, text):
  """Aligner that hears the pieces of a text at given tokens.

  Args:
    said: number of the piece of each token, None for none.
    text: that is said.
  """
  model = TextModel(tiny.text_model())
  ids = model.pieces(text)
  heard = [None if i is None else ids[i] for i in said]
  log_probs = certain(heard, model.size + 1, model.size)
  return Aligner(model, lambda tokens: log_probs), ids


def test_words_have_the_times_of_their_pieces():
  text = "Good morning"
  model = TextModel(tiny.text_model())
  count = len(model.pieces("Good"))
  total = len(model.pieces(text))
  said = [None] * 5 + [*range(count)] + [None] * 10
  begin = len(said)
  said += [i for i in range(count, total) for _ in range(2)] + [None] * 5
  made, _ = aligner(said, text)
  first, second = made.words(text, "en", np.zeros(len(said), np.int32))
  assert (first.text, second.text) == ("Good", "morning")
  assert first.begin == pytest.approx(5 / 25)
  assert second.begin == pytest.approx(begin / 25)
  assert second.end == pytest.approx((len(said) - 5) / 25)
  assert first.end <= second.begin


def test_too_few_tokens_share_the_time_by_length():
  made, _ = aligner([None] * 3, "Good morning")
  first, second = made.words("Good morning", "en", np.zeros(3, np.int32))
  assert first.begin == 0 and first.end == second.begin
  assert second.end == pytest.approx(3 / 25)
  assert made.words("Good", "en", np.zeros(0, np.int32)) == []


def test_espeak_tells_when_it_begins_its_words():
  text = "happy children open little window"
  words = espeak.word_times(text, "en-us")
  assert [text[a : a + n] for a, n, _ in words] == text.split()
  begins = [seconds for *_, seconds in words]
  wave, rate = espeak.render(text, "en-us")
  assert begins == sorted(begins) and begins[-1] < len(wave) / rate
