"""Faults that systems of this kind are known for, with tiny random models.

Short texts that go on for half a minute, endless greedy decoding, a click at
the onset, a book that stops halfway.
"""

import numpy as np
import pytest

from s02jax.synthesis import long_text
from s02jax.synthesis.request import Request, Settings
from tests import tiny

SHORT = {
  "Yes.": "en",
  "No!": "en",
  "Hi": "en",
  "Sí.": "es",
  "好": "zh",
  "はい": "ja",
}
SEEDS = 20
LONGEST = 3.0  # seconds
ONSET = tiny.RATE // 25  # samples: 40 ms


def speak(synthesizer, voices, seeds, **settings):
  """Speaks the short texts with each seed side by side; (wave, spoken) each."""
  engine = synthesizer.engine()
  waves, spoken = {}, {}
  for seed in range(seeds):
    for i, (text, language) in enumerate(SHORT.items()):
      voice = voices[(i + seed) % 2]
      request = Request(text=text, language=language, voice=voice)
      ticket = engine.submit(request, Settings(seed=seed, steps=1, **settings))
      waves[ticket] = []
  while engine.busy:
    for piece in engine.step():
      waves[piece.ticket].append(piece.wave)
      if piece.spoken is not None:
        spoken[piece.ticket] = piece.spoken
  return [(np.concatenate(waves[i]), spoken[i]) for i in waves]


@pytest.fixture(scope="module")
def drawn(synthesizer, voices):
  return speak(synthesizer, voices, SEEDS)


def test_short_texts_end_within_three_seconds(drawn):
  """Whatever is drawn: random models end by chance, or not at all."""
  assert len(drawn) == SEEDS * len(SHORT)
  assert not all(spoken.ended for _, spoken in drawn)
  assert max(len(wave) for wave, _ in drawn) <= LONGEST * tiny.RATE


def test_the_likeliest_tokens_end_too(synthesizer, voices):
  made = speak(synthesizer, voices, 1, temperature=0.0)
  for wave, spoken in made:
    assert 0 < len(wave) == len(spoken.tokens) * tiny.SAMPLES
    assert len(wave) <= LONGEST * tiny.RATE


def test_no_spike_at_the_onset(drawn):
  """The first 40 ms of 50 utterances are as loud as any other 40 ms."""
  long = [wave for wave, _ in drawn if len(wave) >= tiny.RATE][:50]
  assert len(long) == 50
  peaks = [
    np.abs(wave[: len(wave) // ONSET * ONSET].reshape(-1, ONSET)).max(1)
    for wave in long
  ]
  first = np.array([row[0] for row in peaks])
  others = np.concatenate([row[1:] for row in peaks])
  assert first.mean() < 1.25 * others.mean()
  assert first.max() < 1.5 * others.max()


@pytest.mark.processes  # half a minute
def test_a_book_is_spoken_to_its_end(synthesizer, voices):
  """200,000 characters: every passage makes sound, and the order is kept."""
  book = " ".join(tiny.SENTENCES[i % 2] for i in range(6000))[:200_000]
  parts = long_text.read(book, "en").parts()
  assert " ".join(part.text for part in parts) == book.strip()
  seconds = 0.0
  for block in long_text.speak(
    synthesizer, parts, voice=voices[0], settings=Settings(steps=1)
  ):
    assert np.isfinite(block).all()
    seconds += len(block) / tiny.RATE
  assert seconds > 0.1 * len(parts)
