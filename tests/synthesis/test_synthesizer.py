"""Synthesis with tiny random models of the real classes."""

import logging

import numpy as np
import pytest
import soundfile

from s02jax.audio import loudness
from s02jax.bundle import Bundle
from s02jax.cli import run, synthesize
from s02jax.core import startup
from s02jax.core.errors import UserError
from s02jax.synthesis.batching import ROWS, map_batches, plan, round_up, rows_of
from s02jax.synthesis.render.codecs import collapse
from s02jax.synthesis.request import Request
from s02jax.synthesis.synthesizer import Synthesizer, row_seed
from s02jax.synthesis.voice import check_reference
from s02jax.text.checks import check_text, token_limit
from tests import tiny


@pytest.fixture(autouse=True)
def no_set_up(monkeypatch):
  """A door's log handler would outlive the test whose stderr it writes to."""
  monkeypatch.setattr(startup, "set_up", lambda: None)


# Short texts, so that the random models soon reach their limit.
TEXTS = ("Yes.", "Oh no!", "Why?", "El perro.", "So", "Fox", "Dog.", "Hi")


@pytest.fixture(scope="module")
def synthesizer():
  return Synthesizer(tiny.bundle())


@pytest.fixture(scope="module")
def requests():
  """Eight requests, half of them one-shot, all references different."""
  return [
    Request(
      text=text,
      language="es" if "perro" in text else "en",
      reference=tiny.wave(0.7 + 0.06 * i, seed=i),
      reference_text="Good morning" if i % 2 else None,
    )
    for i, text in enumerate(TEXTS)
  ]


@pytest.fixture(scope="module")
def spoken(synthesizer, requests):
  return synthesizer.synthesize(requests, steps=3)


# ------------------------------------------------------------------- batching


@pytest.mark.parametrize("n", [0, 1, 32, 33, 48, 49, 100, 1000])
def test_round_up_is_near_and_of_few_values(n):
  size = round_up(n, 32)
  assert size >= max(n, 32)
  assert size <= max(32, 1.5 * n)
  assert len({round_up(i, 32) for i in range(1, 2000)}) <= 14


def test_plan_covers_each_item_once_in_allowed_shapes():
  lengths = np.random.default_rng(0).integers(1, 400, 77)
  seen = []
  for indices, rows, length in plan(lengths, 32, 2048):
    assert rows in ROWS
    assert len(indices) <= rows
    assert rows == 1 or rows * length <= 2048
    assert lengths[indices].max() <= length
    seen += indices.tolist()
  assert sorted(seen) == list(range(77))


@pytest.mark.parametrize("waiting", range(1, 80))
def test_batches_are_at_least_half_full(waiting):
  rows = rows_of(waiting)
  assert rows in ROWS
  assert min(waiting, rows) * 2 >= rows


def test_map_batches_keeps_the_order():
  arrays = [np.full(n, n, np.float32) for n in (70, 3, 33, 5, 64, 1)]
  sums = map_batches(
    lambda batch: batch.values.sum(1), arrays, unit=32, budget=128
  )
  assert [float(x) for x in sums] == [n * n for n in (70, 3, 33, 5, 64, 1)]


def test_ctc_path_collapses():
  assert collapse(np.array([9, 1, 1, 9, 1, 2, 2, 9]), blank=9) == [1, 1, 2]
  assert collapse(np.zeros(0, np.int32), blank=9) == []


# -------------------------------------------------------------------- requests


@pytest.mark.parametrize("text", ["", "  \n", "?!", "123 …", "\u0301"])
def test_text_without_a_letter_is_refused(text):
  with pytest.raises(UserError, match="no letter"):
    check_text(text, "en")


def test_unknown_language_lists_the_codes():
  with pytest.raises(UserError, match="xx.*zh, en, yue"):
    check_text("Hello", "xx")


@pytest.mark.parametrize(
  "text,language,script",
  [
    ("你好", "en", "Latin"),
    ("Hello", "zh", "Chinese"),
    ("Hello", "ru", "Cyrillic"),
    ("Привет", "el", "Greek"),
    ("สวัสดี", "hi", "Devanagari"),
  ],
)
def test_another_script_is_named(text, language, script):
  with pytest.raises(UserError, match=f"{script} script"):
    check_text(text, language)


@pytest.mark.parametrize(
  "text,language",
  [
    ("你好 world", "en"),
    ("MP3 播放器", "zh"),
    ("かな", "ja"),
    ("東京", "ja"),
    ("안녕", "ko"),
    ("ｆｕｌｌ", "en"),
    ("naïve café", "fr"),
    ("ไทย", "th"),
    ("नमस्ते", "hi"),
    ("مرحبا", "ar"),
    ("Tiếng Việt", "vi"),
    ("ok", "no"),
  ],
)
def test_a_letter_of_the_script_is_enough(text, language):
  assert check_text(f" {text}\n", language) == text


def test_token_limit_grows_with_the_text_up_to_a_bound():
  assert token_limit("a") < token_limit("a" * 10) < token_limit("7" * 10)
  assert token_limit("a" * 10**6) == 3000


# ------------------------------------------------------------------ references


@pytest.mark.parametrize(
  "wave,match",
  [
    (np.zeros(16000, np.float32), "silence"),
    (np.full(16000, 0.3, np.float32), "silence"),
    (tiny.wave(0.4), "0.40 s"),
    (np.zeros(0, np.float32), "0.00 s"),
    (np.full(16000, np.nan, np.float32), "not numbers"),
  ],
)
def test_bad_references_are_refused(synthesizer, wave, match):
  with pytest.raises(UserError, match=match):
    synthesizer.synthesize(
      [Request(text="Hello", language="en", reference=wave)]
    )


def test_a_long_reference_is_cropped_and_said_so(caplog):
  wave = tiny.wave(21.0)
  with caplog.at_level(logging.INFO):
    cropped = check_reference(wave, tiny.RATE)
  np.testing.assert_array_equal(cropped, wave[: 20 * tiny.RATE])
  assert "first 20 s" in caplog.text


def test_a_long_reference_with_a_transcript_is_refused():
  with pytest.raises(UserError, match="transcript"):
    check_reference(tiny.wave(21.0), tiny.RATE, "Good morning")


# ------------------------------------------------------------------- synthesis


def test_utterances_are_whole_tokens_of_finite_sound(spoken):
  assert len(spoken) == len(TEXTS)
  for utterance in spoken:
    assert len(utterance.wave) == len(utterance.tokens) * tiny.SAMPLES
    assert utterance.wave.dtype == np.float32
    assert np.isfinite(utterance.wave).all()
    assert utterance.wave.std() > 0


def test_a_request_does_not_depend_on_its_batch(synthesizer, requests, spoken):
  for i in (0, 1, 3, 6):
    (alone,) = synthesizer.synthesize([requests[i]], steps=3)
    np.testing.assert_array_equal(alone.tokens, spoken[i].tokens)
    np.testing.assert_allclose(alone.wave, spoken[i].wave, atol=2e-4)


def test_same_seed_same_samples_other_seed_others(synthesizer, requests):
  again = [
    synthesizer.synthesize(requests[:1], steps=2, seed=seed)[0]
    for seed in (5, 5, 6)
  ]
  np.testing.assert_array_equal(again[0].wave, again[1].wave)
  assert not np.array_equal(again[0].tokens, again[2].tokens)


def test_row_seeds_differ_by_every_part():
  seeds = {
    row_seed(0, "a", "b"),
    row_seed(1, "a", "b"),
    row_seed(0, "ab"),
    row_seed(0, "b", "a"),
  }
  assert len(seeds) == 4
  assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize(
  "setting",
  [
    {"steps": 0},
    {"guidance": -1.0},
    {"temperature": float("nan")},
    {"top_k": -1},
    {"top_p": 0.0},
    {"repetition_penalty": 0.0},
  ],
)
def test_bad_settings_are_named(synthesizer, requests, setting):
  with pytest.raises(UserError, match=next(iter(setting))):
    synthesizer.synthesize(requests[:1], **setting)


def test_no_request_no_answer(synthesizer):
  assert synthesizer.synthesize([]) == []


def test_voices_ignore_batch_mates_and_padding(synthesizer, requests):
  waves = [r.reference for r in requests]
  together = synthesizer.voices(waves, [None] * len(waves))
  for i in (0, 5):
    (alone,) = synthesizer.voices([waves[i]], [None])
    np.testing.assert_allclose(
      alone.ar_vector, together[i].ar_vector, atol=1e-5
    )
    np.testing.assert_allclose(
      alone.flow_vector, together[i].flow_vector, atol=1e-5
    )
  assert np.abs(together[0].ar_vector - together[5].ar_vector).max() > 1e-3


# ---------------------------------------------------------------- measurements


def test_measurements_keep_lengths(synthesizer):
  waves = [tiny.wave(1.0), tiny.wave(1.5, 1)[: 37 * tiny.SAMPLES + 5]]
  tokens = synthesizer.tokenize(waves)
  assert [len(t) for t in tokens] == [25, 37]
  for result in (
    synthesizer.tokenizer_reconstruction(waves),
    synthesizer.resynthesize(waves),
    synthesizer.from_tokens(tokens, waves, steps=2),
  ):
    assert [len(w) for w in result] == [25 * tiny.SAMPLES, 37 * tiny.SAMPLES]
    assert all(np.isfinite(w).all() for w in result)
  assert all(
    isinstance(text, str) for text in synthesizer.ctc_transcribe(waves)
  )
  used = len(set(np.concatenate(tokens).tolist()))
  assert synthesizer.codes_in_use(waves) == used / 64


def test_cost_is_a_mean_over_all_target_tokens(synthesizer):
  reference = tiny.wave(1.0, 4)
  first = ("Good morning", "en", reference, tiny.wave(1.0, 1))
  second = ("El perro", "es", reference, tiny.wave(0.6, 2))
  costs = [synthesizer.ar_cost([item]) for item in (first, second)]
  expected = (26 * costs[0] + 16 * costs[1]) / 42
  assert synthesizer.ar_cost([first, second]) == pytest.approx(
    expected, rel=1e-5
  )
  assert 0 < costs[0] < 20
  other = ("Why?", *first[1:])
  assert abs(synthesizer.ar_cost([other]) - costs[0]) > 1e-4


# -------------------------------------------------------------------- the door


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A bundle and a reference at another rate."""
  path = tmp_path_factory.mktemp("door")
  tiny.bundle().write(path / "bundle")
  wave = loudness.resample(tiny.wave(0.8, 2), tiny.RATE, 22050)
  soundfile.write(path / "ref.wav", wave, 22050)
  soundfile.write(path / "silence.wav", np.zeros(22050), 22050)
  return path


def command(folder, out, **changes):
  flags = {
    "bundle": folder / "bundle",
    "text": "Yes.",
    "language": "en",
    "reference": folder / "ref.wav",
    "steps": 2,
    "out": out,
  }
  flags |= changes
  return [f"--{k}={v}" for k, v in flags.items() if v is not None]


def test_same_command_same_bytes(folder, tmp_path, capsys):
  (tmp_path / "text.txt").write_text("Yes.\n")
  for name, changes in (
    ("a.wav", {}),
    ("b.wav", {"text": None, "text-file": tmp_path / "text.txt"}),
    ("c.wav", {"seed": 1}),
    ("d.flac", {}),
  ):
    assert (
      run(synthesize.main, command(folder, tmp_path / name, **changes)) == 0
    )
  read = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
  assert read["a.wav"] == read["b.wav"]
  assert read["a.wav"] != read["c.wav"]
  assert sorted(read) == ["a.wav", "b.wav", "c.wav", "d.flac", "text.txt"]
  assert soundfile.info(tmp_path / "d.flac").samplerate == tiny.RATE
  assert "Wrote" in capsys.readouterr().out


@pytest.mark.parametrize(
  "changes,match",
  [
    ({"text": ""}, "no letter"),
    ({"text": "你好"}, "Latin"),
    ({"language": "xx"}, "unknown"),
    ({"reference": "silence.wav"}, "silence"),
    ({"reference": "nothing.wav"}, "no such file"),
    ({"bundle": "nothing"}, "not a bundle"),
    ({"out": "nothing/out.wav"}, "no folder"),
    ({"out": "out.txt"}, "suffix"),
    ({"out": "ref.wav/out.wav"}, "no folder"),
    ({"steps": 0}, "steps"),
    ({"reference-text": "?"}, "transcript"),
    ({"text": None, "text-file": "nothing.txt"}, "cannot be read"),
  ],
)
def test_faults_are_one_sentence(
  folder, tmp_path, monkeypatch, capsys, changes, match
):
  monkeypatch.chdir(folder)
  before = sorted(folder.iterdir())
  argv = command(folder, changes.pop("out", tmp_path / "out.wav"), **changes)
  assert run(synthesize.main, argv) == 2
  message = capsys.readouterr().err
  assert match in message
  assert message.count("\n") == 1
  assert sorted(folder.iterdir()) == before
  assert list(tmp_path.iterdir()) == []


def test_loaded_from_disk_it_speaks_the_same(folder, requests, spoken):
  loaded = Synthesizer(Bundle.load(folder / "bundle"))
  (again,) = loaded.synthesize(requests[1:2], steps=3)
  np.testing.assert_array_equal(again.tokens, spoken[1].tokens)
