"""Training on an object store: goes on bit for bit, and faults end well."""

import json
import logging

import fsspec
import jax
import pytest

from s02jax.core import errors, object_cache, places
from s02jax.data.digest import corpus_digest
from s02jax.training import checkpoint, loop, same_run
from s02jax.training.objects import orbax_s3
from tests import object_store, runs, toy_config
from tests.processes import TOY, job
from tests.training import test_resume

# Of the reads of a checkpoint that are under way when one fails, Orbax hears no
# more: it has closed the loop that they would tell.
pytestmark = pytest.mark.filterwarnings(
  "ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning"
)

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


STEPS = 7


def toy(workdir, **changes) -> int:
  """Trains the toy stage, with a checkpoint where it ends or is stopped."""
  config = toy_config.get_config()
  config.update(steps=STEPS, eval_batches=0, checkpoint_every=0, **changes)
  return loop.train(config, workdir, jax.devices()[:1])


def stopped(workdir, **changes) -> None:
  """Begins to train the toy stage, and stops behind its fourth step."""
  with pytest.MonkeyPatch.context() as patch:
    runs.stop_at(patch, 4)
    assert toy(workdir, **changes) == errors.STOPPED


def losses(workdir) -> dict[int, float]:
  """Training loss of every step in metrics.jsonl."""
  text = (places.at(workdir) / "metrics.jsonl").read_text()
  found = [json.loads(line) for line in text.splitlines()]
  return {x["step"]: x["loss"] for x in found if "loss" in x}


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> dict[int, float]:
  """Losses of a run of the toy stage on a disk that nobody disturbed."""
  workdir = tmp_path_factory.mktemp("straight")
  assert toy(workdir) == 0
  found = losses(workdir)
  assert sorted(found) == list(range(1, STEPS + 1))
  return found


@pytest.mark.processes
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
  assert losses(url) == losses(tmp_path / "disk")
  assert sorted(losses(url)) == list(range(1, test_resume.STEPS + 1))
  assert not store.files("/.lease/")


def _of_a_dead_process() -> bytes:
  """Content of the lease of a process that was on this host."""
  from s02jax.training.objects import lease

  here = lease._host().rpartition("/")[0]
  return json.dumps({"owner": f"x@{here}/99999999", "count": 3}).encode()


def _bytes(state) -> list[bytes]:
  """Arrays of a state as they are in memory."""
  return [x.tobytes() for x in jax.tree.leaves(state)]


# Arrays of a checkpoint, logs, everything: the lease is refused first.
@pytest.mark.parametrize("place", ["/d/", "metrics", ""])
def test_a_full_store_is_one_sentence_and_nothing_is_lost(
  place, store, straight
):
  url = f"{store.url}/run"
  stopped(url)
  whole = store.files("checkpoints/")
  store.refuses = lambda method, path: (
    object_store.full(method, path) if place in path else None
  )
  with pytest.raises((OSError, ValueError, errors.UserError)) as caught:
    toy(url)
  told = caught.value
  if not isinstance(told, errors.UserError):
    told = same_run.storage_error(url, "none", told)
  assert isinstance(told, errors.UserError) and told.code == 2
  assert f"cannot write to --workdir {url}: " in str(told)
  assert set(whole) <= set(store.files("checkpoints/"))
  store.refuses = object_store.nothing
  assert toy(url) == 0
  assert losses(url) == straight


def away(method: str, path: str) -> tuple[str, str] | None:
  """Answer of a store that does not give the arrays of checkpoints now."""
  if method == "GET" and "/d/" in path:
    return "503 Service Unavailable", "SlowDown"
  return None


def test_a_restore_that_fails_twice_is_tried_again(store, straight, caplog):
  url = f"{store.url}/run"
  stopped(url)

  def refuse(method, path):
    """Refuses all that two tries ask for, however many requests those are."""
    again = caplog.text.count("Trying again")
    return away(method, path) if again < 2 else None

  store.refuses = refuse
  with caplog.at_level(logging.WARNING):
    assert toy(url) == 0
  assert caplog.text.count("Trying again") == 2
  assert "is damaged" not in caplog.text
  assert losses(url) == straight


def test_a_restore_that_goes_on_failing_is_a_clear_stop(store, straight):
  url = f"{store.url}/run"
  stopped(url)
  whole = store.files("checkpoints")
  store.refuses = away
  with pytest.raises(errors.PassingError, match="cannot be read now"):
    toy(url)
  with pytest.raises(errors.PassingError, match="cannot be read now"):
    checkpoint.load(url)
  assert store.files("checkpoints") == whole
  store.refuses = object_store.nothing
  assert toy(url) == 0
  assert losses(url) == straight


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(store, caplog):
  state = {"kernel": jax.random.normal(jax.random.key(0), (300, 400))}
  url = f"{store.url}/run"
  with checkpoint.Checkpoints(url, keep=2) as checkpoints:
    for step in (1, 2):
      checkpoints.save(step, state, {}, {})
  fs = fsspec.filesystem("s3")
  for path in store.files("checkpoints/2/state/ocdbt.process_0/d/"):
    fs.pipe_file(path, fs.cat_file(path)[:9])
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    state,
  )
  with checkpoint.Checkpoints(url, keep=2) as checkpoints:
    restored = checkpoints.restore(abstract)
  assert restored is not None and restored[0] == 1
  assert store.files("checkpoints.damaged/2/state/manifest.ocdbt")


@pytest.mark.processes
def test_two_processes_share_a_run_on_s3(store):
  """Each writes its half of every array, and reads it when they go on."""
  fields = ["mesh.data=1", "mesh.fsdp=2", "model.hidden=256", "eval_batches=0"]
  # A learning rate that does not depend on the number of steps.
  fields += ["optimizer.warmup=0", "optimizer.final_ratio=1.0"]
  found = {}
  for name, stops in {"run": (2, 4), "whole": (4,)}.items():
    workdir = f"{store.url}/{name}"
    for steps in stops:
      flags = [f"--config.{x}" for x in (*fields, f"steps={steps}")]
      processes = job(TOY, workdir, [flags, flags])
      logs = [process.communicate(timeout=600)[1] for process in processes]
      assert [process.returncode for process in processes] == [0, 0], logs
    found[name] = checkpoint.load(workdir)[1]
  assert _bytes(found["run"]) == _bytes(found["whole"])
  assert store.files("run/checkpoints/4/state/ocdbt.process_1/manifest.ocdbt")
