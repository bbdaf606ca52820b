"""Every stage through the loop: a run that was killed goes on bit for bit.

Real kills are in the tests that `make test` leaves out; the others begin with a
folder such as a kill leaves.
"""

import dataclasses
import json
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs import ar, audio_tokenizer, distillation, flow_matching, flow_vae
from s02jax import stages
from s02jax.bench import resilience
from s02jax.cli.corpora import corpus as corpus_door
from s02jax.cli.corpora import text as text_door
from s02jax.core.errors import UserError
from s02jax.data.features import FeatureWriter
from s02jax.data.records import SPLITS, Corpus
from s02jax.training import loop
from tests import tiny
from tests.processes import ROOT
from tests.runs import losses

STAGES = {
  "audio_tokenizer": audio_tokenizer,
  "flow_vae": flow_vae,
  "ar": ar,
  "flow_matching": flow_matching,
  "distillation": distillation,
}
STEPS = 12
SETTINGS = {
  "steps": STEPS,
  "batch_size": 2,
  "log_every": 1,
  "checkpoint_every": 4,
  "eval_every": 0,
  "eval_splits": (),
}
# The discriminators play from the third step on, and crops are short.
OF_STAGE = {
  "audio_tokenizer": {
    "model.width": 8,
    "model.ctc_blocks": 1,
    "data.row_seconds": 2.0,
  },
  "flow_vae": {
    "loss.adversarial_start": 2,
    "loss.windows": (512, 256),
    "loss.mel_bins": (40, 20),
    "data.crop_samples": 1600,
    "discriminators.period_channels": (2, 4),
    "discriminators.spectral_channels": 2,
    "model.encoder_width": 8,
    "model.decoder_width": 8,
    "model.encoder_blocks": 1,
    "model.decoder_lookahead": (3,),
    "model.flow_layers": 1,
  },
  "ar": {
    "model.transformer.unroll": 1,
    "model.speaker.layers": 1,
    "data.row_tokens": 128,
    "data.reference_seconds": 1.0,
  },
  "flow_matching": {
    "model.transformer.unroll": 1,
    "model.token_lookahead": (2,),
    "model.latent_lookahead": (2,),
    "model.speaker_layers": 1,
    "data.buckets": (2.0,),
    "data.reference_seconds": 1.0,
  },
  "distillation": {"model.velocity": "mean"},
}
CODES, CHANNELS = 64, 16


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
  """A few spoken clips with random tokens and latents."""
  folder = tmp_path_factory.mktemp("resume") / "corpus"
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


def _teacher(corpus: pathlib.Path) -> pathlib.Path:
  """Bundle beside the corpus whose latents have the corpus's statistics."""
  folder = corpus.with_name("bundle")
  if not folder.exists():
    configs = dict(tiny.bundle().configs)
    same = dict(mean=[0.0] * CHANNELS, std=[1.0] * CHANNELS)
    configs["flow_matching"] = configs["flow_matching"] | {"latents": same}
    dataclasses.replace(tiny.bundle(), configs=configs).write(folder)
  return folder


def train(stage: str, corpus: pathlib.Path, workdir: pathlib.Path) -> int:
  """Trains a stage on one device up to STEPS; returns the exit code."""
  config = STAGES[stage].get_config("test")
  changes = SETTINGS | OF_STAGE.get(stage, {}) | {"corpus": str(corpus)}
  if stage == "distillation":
    changes["bundle"] = str(_teacher(corpus))
  config.update_from_flattened_dict(changes)
  return loop.train(config, workdir, jax.devices()[:1])


@pytest.fixture(scope="module")
def straight(corpus, tmp_path_factory):
  """Workdir of an undisturbed run of a stage, made once."""
  made: dict[str, pathlib.Path] = {}

  def get(stage: str) -> pathlib.Path:
    if stage not in made:
      made[stage] = tmp_path_factory.mktemp(stage)
      assert train(stage, corpus, made[stage]) == 0
      assert sorted(losses(made[stage])) == list(range(1, STEPS + 1))
    return made[stage]

  return get


def as_killed(run: pathlib.Path, workdir: pathlib.Path) -> None:
  """Copies a run as kill -9 leaves it after step 10, whose line is half."""
  shutil.copytree(run, workdir)
  shutil.rmtree(workdir / "checkpoints" / "12")
  log = workdir / "metrics.jsonl"
  lines = log.read_text().splitlines(keepends=True)
  last = next(i for i, x in enumerate(lines) if json.loads(x)["step"] == 10)
  log.write_text("".join(lines[:last]) + lines[last][:9])


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_goes_on_bit_for_bit(stage, corpus, straight, tmp_path):
  whole, killed = straight(stage), tmp_path / "killed"
  as_killed(whole, killed)
  assert train(stage, corpus, killed) == 0
  assert losses(killed) == losses(whole)
  found = resilience.differences(whole, killed)
  assert found["arrays"] > 100 and found["unequal"] == []


# Trains by the settings of the tests, up to its own kill -9 behind a step.
KILLED = """
import os, pathlib, signal, sys
import tests.conftest
import pytest
from tests.runs import at_step
from tests.training import test_resume
stage, corpus, workdir = sys.argv[1:]
def kill():
  os.kill(os.getpid(), signal.SIGKILL)
at_step(pytest.MonkeyPatch(), 6, kill)
test_resume.train(stage, pathlib.Path(corpus), pathlib.Path(workdir))
"""


@pytest.mark.processes
@pytest.mark.parametrize("stage", STAGES)
def test_a_process_that_is_killed_goes_on_bit_for_bit(
  stage, corpus, straight, tmp_path
):
  whole, killed = straight(stage), tmp_path / "killed"
  words = [sys.executable, "-c", KILLED, stage, str(corpus), str(killed)]
  done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == -signal.SIGKILL, done.stderr
  assert max(losses(killed)) == 6
  assert train(stage, corpus, killed) == 0
  assert losses(killed) == losses(whole)
  found = resilience.differences(whole, killed)
  assert found["arrays"] > 100 and found["unequal"] == []


def test_a_run_on_features_extracted_anew_is_refused(
  corpus, straight, tmp_path
):
  as_killed(straight("ar"), tmp_path / "run")
  card = corpus / "features" / "card.json"
  before = card.read_text()
  sources = {"audio_tokenizer": {"fingerprint": "another"}}
  card.write_text(json.dumps(json.loads(before) | {"sources": sources}))
  try:
    with pytest.raises(UserError, match="config.features.audio_tokenizer"):
      train("ar", corpus, tmp_path / "run")
  finally:
    card.write_text(before)


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
