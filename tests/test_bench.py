"""Measurements: they run, and their figures are of what they say."""

import json

import jax
import numpy as np
import pytest

from s02jax import bench
from s02jax import corpus as corpus_door
from s02jax import text as text_door
from s02jax.bench import data, step
from s02jax.errors import UserError


def test_a_step_is_timed_against_a_matrix_product(tmp_path, capsys):
  found = tmp_path / "step.json"
  argv = ["step", "--config", "configs/flow_vae.py:test", "--rows=8"]
  argv += ["--steps=2", "--config.data.crop_samples=3200", f"--json={found}"]
  assert bench.main(argv) == 0
  result = json.loads(found.read_text())
  assert result["config"] == "configs/flow_vae.py:test"
  assert result["devices"] == jax.device_count() and result["rows"] == 8
  assert result["audio_seconds"] == pytest.approx(8 * 3200 / 16000)
  assert result["datasheet_peak"] is None
  used = result["flops"] / result["seconds"] / result["product_peak"]
  assert 0 < used < 1
  assert f"{used:.0%} of a matrix product" in capsys.readouterr().out


def test_rows_that_do_not_split_are_one_sentence():
  argv = ["step", "--config=configs/flow_vae.py:test", "--rows=3"]
  with pytest.raises(UserError, match="must be a multiple of 8"):
    bench.main(argv)
  with pytest.raises(UserError, match="no benchmark 'speed'"):
    bench.main(["speed"])


def test_speech_and_padding_are_those_of_the_rows(tmp_path, capsys):
  corpus = str(tmp_path / "corpus")
  speech = ["--languages=en", "--words=4", "--speakers=3"]
  speech += ["--clips_per_speaker=3", "--seen_speakers=1"]
  speech += ["--unseen_speakers=1", f"--out={corpus}"]
  corpus_door.main(["espeak", *speech])
  text_door.main(["--corpus", corpus, "--vocab_size", "300"])
  argv = ["data", f"--corpus={corpus}", "--size=test", "--seconds=0.1"]
  assert bench.main(argv) == 0
  out = capsys.readouterr().out
  for name in ("decode", "log-mel", *data.AUDIO_STAGES):
    assert name in out
  assert "rows of ar" not in out  # no features yet


def test_rates_are_speech_over_time(monkeypatch):
  clock = iter(np.arange(100.0))
  monkeypatch.setattr(data.time, "perf_counter", lambda: next(clock))
  work = iter([(2.0, 0.25)] * 50)
  # Begins at 0, looks at 1, 2, 3 and 4: three pieces, done at 5.
  found = data._time(work, 4.0)
  assert found == {"times_real_time": 3 * 2.0 / 5, "padding": 0.25}


def test_noise_fills_what_the_stages_expect():
  rng = np.random.default_rng(0)
  spec = jax.ShapeDtypeStruct((2, 16), np.int32)
  assert step.fill("segment", spec, _config(), rng).all()
  ids = step.fill("ids", spec, _config(), rng)
  assert (ids[:, 0] == 1).all() and ids.max() < 60 and (ids >= 40).any()


def _config():
  from ml_collections import ConfigDict

  model = dict(num_codes=20, text_size=40, text_rate=0.5, speaker_id=1)
  return ConfigDict({"model": model})
