"""Measurements: they run, and their figures are of what they say."""

import json

import jax
import numpy as np
import pytest
import soundfile

from configs import ar as ar_config
from configs import flow_vae as flow_vae_config
from s02jax import stages
from s02jax.bench import data, step
from s02jax.cli import bench
from s02jax.cli.corpora import corpus as corpus_verb
from s02jax.cli.corpora import text as text_verb
from s02jax.core.errors import UserError
from s02jax.evaluation.benchmark import passes
from s02jax.models import ar


def test_a_step_is_timed_against_a_matrix_product(tmp_path, capsys):
  found = tmp_path / "step.json"
  argv = ["step", "--config", "configs/flow_vae.py:test", "--rows=8"]
  argv += ["--steps=2", "--config.data.crop_samples=3200", f"--json={found}"]
  argv += ["--config.loss.windows=(512,256)", "--config.loss.mel_bins=(20,10)"]
  assert bench.main(argv) == 0
  result = json.loads(found.read_text())
  assert result["config"] == "configs/flow_vae.py:test"
  assert result["devices"] == jax.device_count() and result["rows"] == 8
  assert result["audio_seconds"] == pytest.approx(8 * 3200 / 16000)
  assert result["datasheet_peak"] is None
  used = result["flops"] / result["seconds"] / result["product_peak"]
  assert 0 < used < 1
  assert f"{used:.0%} of a matrix product" in capsys.readouterr().out


def test_a_timed_step_has_the_losses_that_its_flops_count():
  config = flow_vae_config.get_config("test")
  config.loss.adversarial_start = config.steps - 1
  assert step.begun(config).loss.adversarial_start == 0
  config.loss.adversarial_start = config.steps  # never in such a run
  assert step.begun(config).loss.adversarial_start == config.steps


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
  corpus_verb.main(["espeak", *speech])
  text_verb.main(["--corpus", corpus, "--vocab_size", "300"])
  argv = ["data", f"--corpus={corpus}", "--size=test", "--seconds=0.1"]
  assert bench.main([*argv, "--clips=20000"]) == 0
  out = capsys.readouterr().out
  for name in ("decode", "log-mel", *data.AUDIO_STAGES):
    assert name in out
  assert "rows of ar" not in out  # no features yet
  assert "64 rows of 16,384" in out and ", 0 of them twice" in out


def test_rates_are_speech_over_time(monkeypatch):
  clock = iter(np.arange(100.0))
  monkeypatch.setattr(data.time, "perf_counter", lambda: next(clock))
  used = iter([7.0, 9.0])
  monkeypatch.setattr(data.time, "process_time", lambda: next(used))
  work = iter([(2.0, 0.25)] * 50)
  # Begins at 0, looks at 1, 2, 3 and 4: three pieces, done at 5.
  found = data.speed(work, 4.0)
  assert found == {
    "times_real_time": 3 * 2.0 / 5,
    "times_real_time_a_core": 3 * 2.0 / 2,
    "padding": 0.25,
  }


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


def test_decoding_is_timed_against_memory(tmp_path, capsys):
  found = tmp_path / "synthesis.json"
  argv = ["synthesis", "--config=configs/ar.py:test", "--streams=1,2"]
  assert bench.main([*argv, "--tokens=4", f"--json={found}"]) == 0
  result = json.loads(found.read_text())
  assert [x["streams"] for x in result["streams"]] == [1, 2]
  one, two = result["streams"]
  assert one["tokens_per_second"] > 0 and one["torch"] is None
  # Two streams read the same weights, and twice the cache.
  assert one["limit"] < two["limit"] < 2 * one["limit"]
  assert "of the memory's limit" in capsys.readouterr().out


def test_the_decoder_in_pytorch_computes_what_ours_does():
  torch = pytest.importorskip("torch")
  from s02jax.bench.torch_decoder import Decoder

  config = stages.assume(ar_config.get_config("test"))
  stage = stages.make(config)
  model, cfg = stage.model, stage.model_config
  variables = ar.init(model, jax.random.key(0))
  ids = cfg.text_size + np.arange(12).reshape(2, 6)
  cursor = np.tile(0.3 * np.arange(6, dtype=np.float32), (2, 1))
  decoder = Decoder(cfg, variables["params"], rows=2, slots=8)
  for i in range(6):
    found = decoder.step(
      torch.tensor(ids[:, i]), torch.tensor(cursor[:, i].copy())
    )
  expected = model.apply(
    variables,
    ids,
    np.ones((2, 6), np.int32),
    np.tile(np.arange(6), (2, 1)),
    cursor,
    np.zeros((2, 1, cfg.speaker.out), np.float32),
  )
  np.testing.assert_allclose(found, expected[:, -1], atol=1e-5)


def test_many_transcripts_are_scored_by_the_verb_itself(
  tmp_path, capsys, monkeypatch
):
  wave = tmp_path / "a.wav"
  soundfile.write(wave, np.zeros(1600), 16000)
  lines = [
    {"key": code, "text": text, "language": code, "prompt_audio": str(wave)}
    for code, text in (("en", "one two three four"), ("zh", "你好世界"))
  ]
  path = tmp_path / "list.jsonl"
  path.write_text("\n".join(map(json.dumps, lines)))
  found = {}
  score = passes.score

  def kept(evaluation):
    score(evaluation)
    found.update(
      json.loads((evaluation.options.out / "scores.json").read_text())
    )

  monkeypatch.setattr(passes, "score", kept)
  argv = ["scoring", "--data", str(path), "--pairs", "200", "--json"]
  assert bench.main([*argv, str(tmp_path / "out.json")]) == 0
  assert "200 pairs in 2 languages" in capsys.readouterr().out
  assert json.loads((tmp_path / "out.json").read_text())["pairs"] == 200
  assert [row["clips"] for row in found["rows"]] == [100, 100]
  for row in found["rows"]:
    # A word left out, said twice, or of the same text one time in four.
    assert 0.05 < row["fair"]["corpus_level"]["value"] < 0.15
