"""Faults of every stage: killed runs resume bit for bit on any devices."""

import json
import pathlib
import signal
import subprocess
import time

import jax
import numpy as np
import pytest

from configs import ar, audio_tokenizer, flow_matching, flow_vae
from s02jax import stages
from s02jax.cli import corpus as corpus_door
from s02jax.cli import text as text_door
from s02jax.core.errors import UserError
from s02jax.data.features import FeatureWriter
from s02jax.data.records import SPLITS, Corpus
from s02jax.training import loop
from tests.processes import spawn as train_process

STAGES = {
  "audio_tokenizer": audio_tokenizer,
  "flow_vae": flow_vae,
  "ar": ar,
  "flow_matching": flow_matching,
}
STEPS = 12
SETTINGS = {
  "steps": STEPS,
  "batch_size": 8,
  "log_every": 1,
  "checkpoint_every": 4,
  "eval_every": 0,
  "eval_splits": (),
}
# The discriminators play from the third step on, and crops are short.
OF_STAGE = {"flow_vae": {"loss.adversarial_start": 2}}
CODES, CHANNELS = 64, 16


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
  """A few spoken clips with random tokens and latents."""
  folder = tmp_path_factory.mktemp("faults") / "corpus"
  flags = "--languages en --words 8 --speakers 6 --clips_per_speaker 6"
  flags += " --seen_speakers 2 --unseen_speakers 2"
  corpus_door.main(["espeak", "--out", str(folder), *flags.split()])
  text_door.main(["--corpus", str(folder), "--vocab_size", "310"])
  random = np.random.default_rng(0)
  for split in SPLITS:
    records = Corpus.open(folder, split)
    with FeatureWriter(folder, split) as writer:
      for samples in records.num_samples:
        n = samples // (records.rate // 25)
        writer.write(
          random.integers(CODES, size=n), random.normal(size=(2 * n, CHANNELS))
        )
  card = dict(num_codes=CODES, channels=CHANNELS, latents_per_token=2)
  card |= dict(mean=[0.0] * CHANNELS, std=[1.0] * CHANNELS, sources={})
  (folder / "features" / "card.json").write_text(json.dumps(card))
  return folder


def test_another_token_rate_is_one_sentence(corpus):
  config = audio_tokenizer.get_config("test")
  config.corpus = str(corpus)
  config.mel.hop = 160
  with pytest.raises(UserError, match="mel.hop is 160; .* must be 320"):
    stages.resolve(config)


def test_microbatches_that_cannot_be_are_one_sentence(corpus, tmp_path):
  config = flow_vae.get_config("test")
  config.update(corpus=str(corpus), accumulate=2)
  with pytest.raises(UserError, match="accumulate is 2; the Flow-VAE"):
    stages.resolve(config)
  config = ar.get_config("test")
  config.update(corpus=str(corpus), accumulate=3, batch_size=8)
  with pytest.raises(UserError, match="accumulate is 3; it must divide"):
    loop.train(config, tmp_path, jax.devices()[:1])


def test_a_run_on_features_extracted_anew_is_refused(corpus, tmp_path):
  config = ar.get_config("test")
  config.update_from_flattened_dict(settings("ar", corpus) | {"steps": 1})
  card = corpus / "features" / "card.json"
  before = card.read_text()
  assert loop.train(config, tmp_path, jax.devices()[:1]) == 0
  sources = {"audio_tokenizer": {"fingerprint": "another"}}
  card.write_text(json.dumps(json.loads(before) | {"sources": sources}))
  try:
    with pytest.raises(UserError, match="config.features.audio_tokenizer"):
      loop.train(config, tmp_path, jax.devices()[:1])
  finally:
    card.write_text(before)


def settings(stage: str, corpus: pathlib.Path) -> dict:
  return SETTINGS | OF_STAGE.get(stage, {}) | {"corpus": str(corpus)}


def spawn(stage: str, corpus, workdir) -> subprocess.Popen:
  """Process of `s02 train` on one device."""
  flags = [f"--config.{k}={v}" for k, v in settings(stage, corpus).items()]
  return train_process(f"configs/{stage}.py:test", workdir, *flags)


def finish(stage: str, corpus, workdir) -> dict[int, float]:
  """Runs `s02 train` to its end; losses by step, each logged once."""
  process = spawn(stage, corpus, workdir)
  _, errors = process.communicate(timeout=900)
  assert process.returncode == 0, errors
  return losses(workdir)


def losses(workdir) -> dict[int, float]:
  text = (pathlib.Path(workdir) / "metrics.jsonl").read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  lines = [line for line in lines if "loss" in line]
  out = {line["step"]: line["loss"] for line in lines}
  assert len(out) == len(lines)
  return out


def kill_after(lines: int, stage: str, corpus, workdir) -> int:
  """Kills a run when so many steps are logged; returns its exit code."""
  process = spawn(stage, corpus, workdir)
  log = workdir / "metrics.jsonl"
  while process.poll() is None:
    if log.exists() and log.read_text().count("\n") >= lines:
      process.kill()
    time.sleep(0.002)
  process.communicate()
  return process.returncode


@pytest.fixture(scope="module")
def straight(corpus, tmp_path_factory):
  """Function that gives the losses of an undisturbed run, made once."""
  made: dict[str, dict[int, float]] = {}

  def get(stage: str) -> dict[int, float]:
    if stage not in made:
      made[stage] = finish(stage, corpus, tmp_path_factory.mktemp(stage))
      assert sorted(made[stage]) == list(range(1, STEPS + 1))
    return made[stage]

  return get


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_goes_on_bit_for_bit(stage, corpus, straight, tmp_path):
  assert kill_after(6, stage, corpus, tmp_path) == -signal.SIGKILL
  assert finish(stage, corpus, tmp_path) == straight(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_eight_devices_compute_what_one_does(stage, corpus, straight, tmp_path):
  config = STAGES[stage].get_config("test")
  config.update_from_flattened_dict(settings(stage, corpus))
  config.mesh.update(dict(data=2, fsdp=2, tensor=2))
  assert loop.train(config, tmp_path, jax.devices()) == 0
  found = losses(tmp_path)
  expected = straight(stage)
  # Rounding grows, and a vector between two codes may at last take the other.
  steps = range(1, STEPS - 1)
  np.testing.assert_allclose(
    [found[step] for step in steps],
    [expected[step] for step in steps],
    rtol=2e-4,
  )
