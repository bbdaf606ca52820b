"""Long texts: chunks in order, prompts carried, pauses kept."""

import dataclasses
import types

import numpy as np
import pytest

from s02jax.audio.effects import FADE, Changes
from s02jax.core.errors import UserError
from s02jax.synthesis import long_text
from s02jax.synthesis.engine import Piece, Spoken
from s02jax.synthesis.request import Settings
from s02jax.synthesis.voice import Prompt, Voice
from s02jax.text import front
from s02jax.text.chunks import Speech, chunks, expected_seconds
from s02jax.text.front import Audience
from s02jax.text.pronunciation import Pronunciation

RATE = 8000
VECTOR = np.ones(4, np.float32)
VOICE = Voice(
  ar_vector=VECTOR, flow_vector=VECTOR, prompt=None, fingerprint="a"
)
SENTENCE = "The rain went on, and nobody came to the old house. "


@dataclasses.dataclass
class Parrot:
  """Synthesizer of 30 ms a letter that records its requests."""

  rate: int = RATE
  ended: bool = True
  asked: list = dataclasses.field(default_factory=list)

  def engine(self, *, whole):
    assert whole
    return ParrotEngine(self)


class ParrotEngine:
  """Engine that gives a request's sound in blocks of a tenth of a second."""

  def __init__(self, parrot):
    self._parrot = parrot

  def play(self, request, settings):
    asked = self._parrot.asked
    asked.append((request, settings))
    first = 0.1 + 0.01 * (len(asked) % 7)
    wave = np.linspace(
      first, first + 0.05, int(0.03 * len(request.text) * RATE)
    )
    left = np.split(wave.astype(np.float32), range(800, len(wave), 800))
    number = len(asked)
    over = Spoken(
      tokens=np.array([number], np.int32),
      ended=self._parrot.ended,
      redrawn=False,
    )
    latents = np.full((2, 1), number, np.float32)
    while len(left) > 1:
      block, *left = left
      yield Piece(ticket=0, wave=block, spoken=None)
    yield Piece(ticket=0, wave=left[0], spoken=over, latents=latents)


def spoken(text, parrot=None, voice=VOICE, **changes):
  parrot = parrot or Parrot()
  parts = long_text.read(text, changes.pop("language", "en")).parts(10.0)
  blocks = list(
    long_text.speak(parrot, parts, voice=voice, context=10.0, **changes)
  )
  return np.concatenate(blocks), parrot.asked


def test_chunks_are_spoken_in_order_each_after_the_one_before():
  text = SENTENCE * 9
  wave, asked = spoken(text, settings=Settings(seed=5, steps=3))
  texts = [request.text for request, _ in asked]
  assert texts == [c.text.strip() for c in chunks(text, "en", 10.0)]
  assert len(texts) > 3
  assert asked[0][0].voice is VOICE
  for before, (request, settings) in zip(texts, asked[1:], strict=False):
    assert request.voice.prompt.text == before
    assert request.voice.prompt.language == "en"
    # The speaker is the one that was given, not the one that was heard.
    assert request.voice.ar_vector is VECTOR
    assert settings == Settings(seed=5, steps=3)
  # Prompts are what was made, not an encoding of its sound.
  for number, (request, _) in enumerate(asked[1:], 1):
    assert request.voice.prompt.tokens.tolist() == [number]
    assert request.voice.prompt.latents.tolist() == [[number], [number]]
  seconds = sum(0.03 * len(t.strip()) for t in texts)
  faded = FADE * (len(texts) - 1)
  assert len(wave) / RATE == pytest.approx(seconds - faded, abs=0.01)


def test_the_voices_own_prompt_stands_before_what_was_spoken():
  """One that fills more than half of a pass is of the first chunk alone."""
  for seconds, carried in ((4, True), (6, False)):
    own = Prompt(
      text="It is me.",
      language="en",
      tokens=np.full(25 * seconds, 7, np.int32),
      latents=np.full((50 * seconds, 1), 7, np.float32),
    )
    voice = dataclasses.replace(VOICE, prompt=own)
    assert long_text.room(10.0, voice) == (10 - seconds if carried else 10)
    _, asked = spoken(SENTENCE * 9, voice=voice)
    assert asked[0][0].voice is voice
    before, after = asked[0][0], asked[1][0].voice.prompt
    assert after.text == "It is me. " * carried + before.text
    assert after.tokens.tolist() == [7] * 25 * seconds * carried + [1]
    assert len(after.latents) == 50 * seconds * carried + 2


@pytest.mark.parametrize("changes", [{"speed": 2.0}, {"rate": 16000}, {}])
def test_a_pause_is_as_long_as_written_at_any_speed(changes):
  wave, asked = spoken(
    "One two three.<#0.5#> Four five six. <#0.25#>.",
    changes=Changes(**changes),
  )
  assert len(asked) == 2
  rate = changes.get("rate", RATE)
  silent = np.flatnonzero(np.diff(np.abs(wave) > 1e-4))
  runs = np.diff(silent) / rate
  assert np.isclose(runs, 0.5, atol=0.01).sum() == 1
  assert len(wave) / rate - silent[-1] / rate == pytest.approx(0.25, abs=0.01)


def test_no_prompt_is_carried_from_what_ran_into_the_limit(caplog):
  _, asked = spoken(SENTENCE * 5, Parrot(ended=False))
  assert len(asked) > 1
  assert all(request.voice is VOICE for request, _ in asked)
  assert "limit" in caplog.text


def test_speech_comes_chunk_by_chunk():
  parrot = Parrot()
  parts = long_text.read(SENTENCE * 60, "en").parts(10.0)
  blocks = long_text.speak(parrot, parts, voice=VOICE)
  assert not parrot.asked
  next(blocks)
  assert len(parrot.asked) == 1
  next(blocks)
  assert len(parrot.asked) <= 2


def test_a_chunk_in_another_script_is_spoken_in_its_language():
  text = "Мы гуляли у реки и видели много птиц. " * 4 + SENTENCE * 4
  _, asked = spoken(text, language="ru")
  assert {request.language for request, _ in asked} == {"ru", "en"}
  first = next(r for r, _ in asked if r.language == "en")
  assert first.voice is VOICE  # no Russian prompt for English


@pytest.mark.parametrize(
  "text,match",
  [
    (SENTENCE * 9 + "<#x#>", "pause"),
    ("Привет", "Latin"),
    ("", "no letter"),
    ("<#1#>", "no letter"),
  ],
)
def test_faults_are_said_when_a_text_is_read(text, match):
  with pytest.raises(UserError, match=match):
    long_text.read(text, "en").parts(10.0)


@pytest.mark.parametrize(
  ("written", "language", "asked"),
  [
    ("1984", "en", ["nineteen eighty-four"]),
    ("030 1234567", "de", ["null drei null, eins zwei drei vier fünf"
     " sechs sieben"]),
    ("Wait <#0.1#> 12 <#0.1#> ***", "en", ["Wait", "twelve"]),
    ("请拨打<#0.1#>400-810-8888<#0.1#>谢谢", "zh",
     ["请拨打", "四零零，八幺零，八八八八", "谢谢"]),
    ("Thanks <#0.1#> 🎉", "en", ["Thanks"]),
  ],
)  # fmt: skip
def test_digits_and_symbols_are_spoken_or_left_out(written, language, asked):
  _, requests = spoken(written, language=language)
  assert [request.text for request, _ in requests] == asked


def test_a_part_in_a_script_of_nobody_is_left_out_and_named(caplog):
  text = SENTENCE + "<#0.1#> שלום <#0.1#> Привет <#0.1#> ☃ ∀ <#0.1#> ***"
  audience = Audience(languages=("en", "es"))
  parts = long_text.read(text, "en", audience=audience).parts(10.0)
  passages = [p.text for p in parts if isinstance(p, long_text.Passage)]
  assert passages == [SENTENCE.strip()]
  lines = [record.getMessage() for record in caplog.records]
  assert lines == [
    "not spoken, for they are pictures: ☃",
    "not spoken, for no language of these models is written so: שלום Привет ∀",
  ]
  caplog.clear()
  parts = long_text.read(text, "en").parts(10.0)
  assert "Привет" in [p.text for p in parts if hasattr(p, "text")]


def test_a_passage_is_checked_once(monkeypatch):
  checked = []
  monkeypatch.setattr(
    front, "check_text", lambda text, code: checked.append(text)
  )
  _, asked = spoken(SENTENCE * 9)
  assert len(checked) == 1
  assert len(asked) > 1
  assert all(request.in_words for request, _ in asked)


def test_a_word_is_respelt_before_numbers_become_words():
  words = Pronunciation({"all": {"s02": "S zero two", "7": "lucky seven"}})
  read = long_text.read("s02 has 7 <#0.5#> or 8", "en", words)
  assert read.text == "S zero two has lucky seven <#0.5#> or eight"


def test_context_is_what_a_training_row_holds():
  def context(row_tokens):
    config = {"data": {"row_tokens": row_tokens}, "model": {"text_rate": 0.6}}
    return long_text.trained_context(
      types.SimpleNamespace(configs={"ar": config})
    )

  assert context(400) == pytest.approx(10.0)
  assert context(10**6) == pytest.approx(40.0)
  assert expected_seconds(SENTENCE) < 10
  assert list(chunks(SENTENCE, "en", 10.0)) == [Speech(SENTENCE.strip())]
