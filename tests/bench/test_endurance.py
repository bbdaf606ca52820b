"""Many requests, good and absurd: every one is answered, none harms another."""

import dataclasses
import gc

import jax
import numpy as np
import pytest
import soundfile

from data_pipelines import words
from s02jax.bench import endurance
from s02jax.bundle import Bundle
from s02jax.cli import bench
from s02jax.core import languages
from s02jax.synthesis.synthesizer import Synthesizer
from tests import tiny

COUNT = 48


def vocabulary(code):
  return words.first_words(languages.BY_CODE[code], 40)


@pytest.fixture(scope="module")
def synthesizer():
  made = Synthesizer(tiny.bundle())
  made.languages = ("en",)
  return made


@pytest.fixture(scope="module")
def asker(synthesizer):
  waves = [tiny.wave(0.8, seed) for seed in (3, 4)]
  return endurance.Asker(synthesizer, waves, vocabulary, seed=0)


@pytest.fixture(scope="module")
def asks(asker):
  """Requests cut short: a tiny untrained model speaks up to its limit."""
  drawn = [asker() for _ in range(COUNT)]
  return [x if x.absurd else _short(x) for x in drawn]


def _short(ask):
  text = ask.request["text"].strip()[:6]
  return dataclasses.replace(
    ask,
    request=ask.request | {"text": text},
    settings=ask.settings | {"steps": 2},
  )


@pytest.fixture(scope="module")
def answers(synthesizer, asks):
  return list(endurance.serve(synthesizer, asks, at_once=12))


def test_every_request_has_one_answer(asks, answers):
  assert sorted(map(id, asks)) == sorted(id(a.ask) for a in answers)
  outcomes = {a.outcome for a in answers}
  assert outcomes == {"spoken", "refused", "cancelled"}
  for answer in answers:
    if answer.ask.absurd:
      assert answer.outcome == "refused", answer.ask.absurd
    elif answer.ask.patience is None:
      assert answer.outcome == "spoken", answer.sentence
    if answer.outcome == "spoken":
      assert np.isfinite(answer.wave).all()
      if not answer.ask.changes:
        assert len(answer.wave) == len(answer.tokens) * tiny.SAMPLES


def test_company_changes_nothing(synthesizer, answers):
  spoken = [a for a in answers if a.outcome == "spoken"]
  again = endurance.replay(synthesizer, spoken[-4:])
  assert again.same_tokens == again.count == 4
  assert again.difference < 2e-4


def test_the_comparison_hears_a_difference(synthesizer, answers):
  spoken = [a for a in answers if a.outcome == "spoken"][-1]
  louder = dataclasses.replace(spoken, wave=spoken.wave + 0.1)
  other = dataclasses.replace(spoken, tokens=spoken.tokens[:-1])
  found = endurance.replay(synthesizer, [louder, other])
  assert found.same_tokens == 1
  assert found.difference == pytest.approx(0.1, abs=1e-3)


def test_nothing_stays_behind(synthesizer, asks, answers):
  del answers  # everything has its shapes

  def held() -> int:
    gc.collect()
    return sum(x.nbytes for x in jax.live_arrays())

  before = held()
  list(endurance.serve(synthesizer, asks[:8]))
  assert held() == before


def test_memory_is_read_by_tenths_and_little_sound_is_kept(asks, answers):
  found, measured = endurance.watch(iter(answers), asks, compared=2)
  assert [a.outcome for a in found] == [a.outcome for a in answers]
  assert sum(len(a.wave) > 0 for a in found) == 2
  assert len(measured) == 10 and measured[-1].share == 1
  assert all(x.arrays > 0 for x in measured)


@pytest.mark.parametrize(
  "fault", endurance.faults(tiny.wave(0.8), tiny.RATE), ids=lambda f: f[0]
)
def test_what_makes_no_sense_is_one_sentence(synthesizer, asker, fault):
  client = endurance.Client(synthesizer.engine(), synthesizer.rate)
  answer = client.submit(asker.spoil(*fault))
  assert answer is not None and answer.outcome == "refused"
  assert "\n" not in answer.sentence and answer.sentence.endswith(".")
  assert len(answer.sentence) < 250
  assert not client.load


def test_the_bench_says_what_became_of_them(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(Bundle, "load", lambda _: tiny.bundle())
  monkeypatch.setattr(endurance, "Asker", _Short)
  reference = tmp_path / "voice.wav"
  soundfile.write(reference, tiny.wave(0.8), tiny.RATE)
  argv = ["endurance", "--bundle=any", f"--reference={reference}"]
  argv += ["--requests=6", "--replays=1", "--characters=12"]
  assert bench.main(argv) == 0
  out = capsys.readouterr().out
  assert out.startswith("6 requests in ")
  assert "1 spoken again alone: 1 with the same tokens" in out
  assert "12 characters" in out


class _Short(endurance.Asker):
  def __call__(self):
    self._codes = ("en",)
    ask = super().__call__()
    return ask if ask.absurd else _short(ask)
