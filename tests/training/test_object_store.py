"""Training on an object store: goes on bit for bit, and faults end well."""

import json
import logging

import fsspec
import jax
import pytest

from s02jax.core import object_cache
from s02jax.core.errors import PassingError, UserError
from s02jax.data.digest import corpus_digest
from s02jax.training import checkpoint, loop, same_run
from s02jax.training.objects import orbax_s3
from tests import object_store, toy_config
from tests.training import test_resume

# A made-up corpus, and the settings of a run on it, are those of test_resume.
corpus = test_resume.corpus


@pytest.fixture(scope="module")
def server():
  """A server that speaks S3."""
  with object_store.serve() as store:
    yield store


@pytest.fixture
def store(server, monkeypatch, tmp_path):
  """The server with nothing in it, that is asked again at once."""
  monkeypatch.setenv("S02_OBJECTS", str(tmp_path / "objects"))
  monkeypatch.setattr(object_cache, "_claimed", {})
  monkeypatch.setattr(checkpoint, "PAUSES", (0.1, 0.1))
  tries = {"max_retries": 1, "initial_delay": "10ms", "max_delay": "10ms"}
  monkeypatch.setattr(orbax_s3, "RETRIES", tries)
  yield server
  server.refuses = object_store.nothing
  server.empty()


def toy(store, steps: int) -> int:
  """Trains the toy stage up to a step, with a checkpoint after every third."""
  config = toy_config.get_config()
  config.update(steps=steps, eval_batches=0)
  return loop.train(config, f"{store.url}/run", jax.devices()[:1])


def losses(store) -> dict[int, float]:
  """Training loss of every step in the store's metrics.jsonl."""
  text = fsspec.filesystem("s3").cat_file("bucket/run/metrics.jsonl").decode()
  found = [json.loads(line) for line in text.splitlines()]
  return {x["step"]: x["loss"] for x in found if "loss" in x}


def straight(tmp_path, steps: int) -> dict[int, float]:
  """Losses of an undisturbed run on a disk."""
  config = toy_config.get_config()
  config.update(steps=steps, eval_batches=0)
  assert loop.train(config, tmp_path / "straight", jax.devices()[:1]) == 0
  lines = (tmp_path / "straight" / "metrics.jsonl").read_text().splitlines()
  found = map(json.loads, lines)
  return {x["step"]: x["loss"] for x in found if "loss" in x}


def test_a_killed_run_on_s3_goes_on_bit_for_bit(corpus, store, tmp_path):
  """Corpus and working directory lie in the store, as a kill leaves them."""
  fs = fsspec.filesystem("s3")
  fs.put(str(corpus), f"{object_store.BUCKET}/corpus", recursive=True)
  there = f"{store.url}/corpus"
  parts = ("records", "text", "features")
  assert corpus_digest(there, *parts) == corpus_digest(corpus, *parts)
  assert test_resume.train("audio_tokenizer", corpus, tmp_path / "disk") == 0
  url = f"{store.url}/run"
  assert test_resume.train("audio_tokenizer", there, url) == 0
  # The last checkpoint is not whole yet, and nobody gave back the lease.
  fs.rm("bucket/run/checkpoints/12/commit_success.txt")
  fs.pipe_file("bucket/run/.lease/7", _of_a_dead_process())
  assert test_resume.train("audio_tokenizer", there, url) == 0
  config, state = checkpoint.load(url)
  whole = checkpoint.load(tmp_path / "disk")
  assert config["corpus_digest"] == whole[0]["corpus_digest"]
  assert _bytes(state) == _bytes(whole[1])
  disk = (tmp_path / "disk" / "metrics.jsonl").read_text().splitlines()
  expected = {x["step"]: x["loss"] for x in map(json.loads, disk)}
  assert losses(store) == expected and len(expected) == test_resume.STEPS
  assert not store.files("/.lease/")


def _of_a_dead_process() -> bytes:
  """Content of the lease of a process that was on this host."""
  from s02jax.training.objects import lease

  here = lease._host().rpartition("/")[0]
  return json.dumps({"owner": f"x@{here}/99999999", "count": 3}).encode()


def _bytes(state) -> list[bytes]:
  """Arrays of a state as they are in memory."""
  return [x.tobytes() for x in jax.tree.leaves(state)]


@pytest.mark.parametrize("place", ["/d/", "checkpoints/", ""])
def test_a_full_store_is_one_sentence_and_nothing_is_lost(
  place, store, tmp_path
):
  assert toy(store, 4) == 0
  whole = store.files("checkpoints/")
  store.refuses = lambda method, path: (
    object_store.full(method, path) if place in path else None
  )
  with pytest.raises(Exception) as caught:  # Orbax's own, or the store's
    toy(store, 7)
  told = caught.value
  if not isinstance(told, UserError):
    told = same_run.storage_error(f"{store.url}/run", "none", told)
  assert "cannot write to --workdir s3://bucket/run: there is no room" in str(
    told
  ) or "QuotaExceeded" in str(told)
  assert isinstance(told, UserError) and told.code == 2
  assert set(whole) <= set(store.files("checkpoints/"))
  store.refuses = object_store.nothing
  assert toy(store, 7) == 0
  assert losses(store) == straight(tmp_path, 7)


def test_a_restore_that_fails_twice_is_tried_again(store, tmp_path, caplog):
  assert toy(store, 4) == 0
  left = [4]  # two tries of ours, with two of tensorstore each

  def refuse(method, path):
    if method == "GET" and "/d/" in path and left[0]:
      left[0] -= 1
      return "503 Service Unavailable", "SlowDown"
    return None

  store.refuses = refuse
  with caplog.at_level(logging.WARNING):
    assert toy(store, 7) == 0
  assert caplog.text.count("Trying again") == 2
  assert "is damaged" not in caplog.text and left == [0]
  assert losses(store) == straight(tmp_path, 7)


def test_a_restore_that_goes_on_failing_is_a_clear_stop(store):
  assert toy(store, 4) == 0
  whole = store.files("checkpoints")
  store.refuses = lambda method, path: (
    ("503 Service Unavailable", "SlowDown")
    if method == "GET" and "/d/" in path
    else None
  )
  with pytest.raises(PassingError, match="checkpoint 4 .* cannot be read now"):
    toy(store, 7)
  with pytest.raises(PassingError, match="cannot be read now"):
    checkpoint.load(f"{store.url}/run")
  assert store.files("checkpoints") == whole


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(store, caplog):
  assert toy(store, 4) == 0
  fs = fsspec.filesystem("s3")
  for path in store.files("checkpoints/4/state/.*/d/|checkpoints/4/state/d/"):
    fs.pipe_file(path, fs.cat_file(path)[:9])
  with caplog.at_level(logging.WARNING):
    assert toy(store, 4) == 0
  assert "checkpoint 4 is damaged" in caplog.text
  assert store.files("checkpoints.damaged/4/state/manifest.ocdbt")
  assert sorted(losses(store)) == [1, 2, 3, 4]
