"""Faults of the training loop: stops, damage and retries change no result."""

import errno
import json
import logging
import os
import pathlib
import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from orbax.checkpoint import v1 as ocp

from s02jax import stages
from s02jax.cli import train
from s02jax.core import errors
from s02jax.data import loader
from s02jax.data.rows import NoRows
from s02jax.training import checkpoint, clock, loop, same_run
from s02jax.training.metrics import roll_back
from tests import toy_config, toy_stage
from tests.processes import TOY, job, wait_for_lines
from tests.runs import lines, losses, stop_at

# Values of a training line beside the stage's own.
SHARES = (
  "audio_seconds_per_second",
  "data_wait",
  "grad_norm",
  "learning_rate",
  "mfu",
  "padding",
  "rows_per_second",
  "skipped",
  "step_seconds",
  "unreadable",
)
ROOT = pathlib.Path(__file__).parents[2]


def config(**changes) -> ConfigDict:
  """Config of the toy stage, with changes by dotted name."""
  out = toy_config.get_config()
  out.update_from_flattened_dict(changes)
  return out


def run(workdir, devices: int = 1, **changes) -> int:
  return loop.train(config(**changes), workdir, jax.devices()[:devices])


def evaluations(workdir) -> dict[int, float]:
  return {
    line["step"]: line["unseen/loss"]
    for line in lines(workdir)
    if "unseen/loss" in line
  }


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> pathlib.Path:
  """Workdir of an undisturbed run."""
  workdir = tmp_path_factory.mktemp("straight")
  assert run(workdir) == 0
  return workdir


def test_writes_what_it_says(straight):
  assert sorted(losses(straight)) == list(range(1, 13))
  assert sorted(evaluations(straight)) == [5, 10, 12]
  line = lines(straight)[0]
  for name in [
    "grad_norm",
    "skipped",
    "learning_rate",
    "rows_per_second",
    "padding",
    "data_wait",
    "mfu",
    "audio_seconds_per_second",
  ]:
    assert isinstance(line[name], float), name
  assert line["padding"] == 0.25
  assert json.loads((straight / "config.json").read_text())["steps"] == 12
  assert sorted(os.listdir(straight / "checkpoints")) == ["12", "9"]
  assert list((straight / "tensorboard").iterdir())


def test_splits_without_a_row_are_left_out_with_a_note(
  tmp_path, monkeypatch, caplog
):
  """As `unseen` of a corpus of one speaker, and both of a very small one."""
  plain = toy_stage.ToyStage.rows
  empty = {"unseen"}

  def rows(self, corpus, split, batch_size, seed):
    if split in empty:
      raise NoRows(f"the split {split!r} of {corpus} is empty")
    return plain(self, corpus, split, batch_size, seed)

  monkeypatch.setattr(toy_stage.ToyStage, "rows", rows)
  with caplog.at_level(logging.INFO):
    assert run(tmp_path / "one") == 0
  assert not evaluations(tmp_path / "one")
  assert "seen/loss" in lines(tmp_path / "one")[-1]
  assert "evaluation leaves unseen out" in caplog.text
  empty.add("seen")
  assert run(tmp_path / "none") == 0
  empty.add("train")
  with pytest.raises(errors.UserError, match="'train' of none is empty"):
    run(tmp_path / "nothing")


def goodput(workdir) -> dict:
  return json.loads((workdir / "goodput.json").read_text())


def test_goodput_adds_up_over_starts(tmp_path, monkeypatch, caplog):
  with caplog.at_level(logging.INFO), monkeypatch.context() as patch:
    stop_at(patch, 7)
    run(tmp_path)
  before = goodput(tmp_path)
  line = next(m for m in caplog.messages if m.startswith("goodput: "))
  assert "compile" in line and "in 1 starts" in line
  assert run(tmp_path) == 0
  after = goodput(tmp_path)
  assert (before["starts"], after["starts"]) == (1, 2)
  assert before["step"] < after["step"] == 12
  assert after["seconds"]["lost"] == 0
  for phase in clock.PHASES[:-1]:
    assert after["seconds"][phase] > before["seconds"][phase] >= 0, phase
  assert sum(after["shares"].values()) == pytest.approx(1)
  assert after["wall_seconds"] == pytest.approx(sum(after["seconds"].values()))


def test_goodput_counts_what_was_done_twice_as_lost(tmp_path):
  assert run(tmp_path) == 0
  kept = goodput(tmp_path)
  shutil.rmtree(tmp_path / "checkpoints" / "12")  # killed before it was whole
  assert run(tmp_path) == 0
  lost = goodput(tmp_path)["seconds"]["lost"]
  assert 0 < lost < kept["wall_seconds"]


def test_a_phase_ends_where_another_begins(monkeypatch):
  now = iter(range(100))  # seconds: one passes between any two looks
  watch = types.SimpleNamespace(perf_counter=lambda: float(next(now)))
  monkeypatch.setattr(clock, "time", watch)
  phases = clock.Clock()
  with phases.during("step"):
    with phases.during("data"):
      assert phases.phase == "data"
    assert phases.phase == "step"
  assert phases.phase == "start"
  seconds = phases.read()
  found = {phase: seconds[phase] for phase in ("start", "step", "data")}
  assert found == {"start": 2.0, "step": 2.0, "data": 1.0}
  assert sum(seconds.values()) == 5.0


def test_profile_holds_the_steps_asked_for(tmp_path):
  changes = {"profile.start": 4, "profile.steps": 2}
  assert run(tmp_path, steps=7, **changes) == 0
  (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
  data = jax.profiler.ProfileData.from_file(str(trace))
  events = [e for p in data.planes for line in p.lines for e in line.events]
  steps = [dict(e.stats) for e in events if e.name == "train"]
  assert sorted(s["step_num"] for s in steps) == [4, 5]


def test_learns(straight):
  assert losses(straight)[12] < losses(straight)[1]


def test_finished_run_returns_at_once(straight, monkeypatch):
  monkeypatch.setattr(loop, "Feed", lambda *_: pytest.fail("ran again"))
  before = (straight / "metrics.jsonl").read_bytes()
  assert run(straight) == 0
  assert (straight / "metrics.jsonl").read_bytes() == before


def test_sigterm_saves_and_the_rest_is_the_same(
  straight, tmp_path, monkeypatch
):
  with monkeypatch.context() as patch:
    stop_at(patch, 7)
    assert run(tmp_path) == errors.STOPPED
  stopped = max(losses(tmp_path))
  assert stopped < 12
  assert str(stopped) in os.listdir(tmp_path / "checkpoints")
  assert run(tmp_path) == 0
  assert losses(tmp_path) == losses(straight)
  assert evaluations(tmp_path) == evaluations(straight)


def test_metrics_after_the_checkpoint_are_rolled_back(
  straight, tmp_path, monkeypatch
):
  with monkeypatch.context() as patch:
    stop_at(patch, 7)
    run(tmp_path)
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 11, "loss": 77}\n{"step": 12, "lo')
  assert run(tmp_path) == 0
  assert losses(tmp_path) == losses(straight)


def test_damaged_checkpoint_is_reported_and_the_one_before_used(
  straight, tmp_path, caplog
):
  assert run(tmp_path, steps=12) == 0
  for path in (tmp_path / "checkpoints" / "12" / "state").rglob("*"):
    if path.is_file():
      path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  with caplog.at_level(logging.WARNING):
    assert run(tmp_path, steps=13) == 0
  assert "checkpoint 12 is damaged" in caplog.text
  assert "restored step 9" in caplog.text or sorted(losses(tmp_path)) == list(
    range(1, 14)
  )
  assert (tmp_path / "checkpoints.damaged" / "12").is_dir()


def test_a_flipped_bit_is_damage(tmp_path, caplog):
  """Checksums find a flipped bit that Orbax reads without an error."""
  state = {"kernel": jax.random.normal(jax.random.key(0), (300, 400))}
  with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
    for step in (1, 2):
      checkpoints.save(step, state, {"n": step}, {})
  files = (tmp_path / "checkpoints" / "2" / "state").rglob("d/*")
  file = max(files, key=lambda path: path.stat().st_size)
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 4
  file.write_bytes(content)
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    state,
  )
  assert checkpoint.load(tmp_path)[0] == {"n": 1}
  with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
    restored = checkpoints.restore(abstract)
  assert restored is not None and restored[0] == 1
  np.testing.assert_array_equal(restored[1]["kernel"], state["kernel"])
  assert "2 is damaged (kernel does not have its checksum)" in caplog.text


def test_no_readable_checkpoint_is_an_error(tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    stop_at(patch, 3)
    run(tmp_path)
  for path in (tmp_path / "checkpoints").rglob("_METADATA"):
    path.write_bytes(b"")
  with pytest.raises(errors.UserError, match="no checkpoint of .* can be read"):
    run(tmp_path)


def test_a_checkpoint_that_is_not_to_blame_stays(straight, tmp_path):
  """An error that another try may not meet ends the run; nothing moves."""
  shutil.copytree(straight, tmp_path / "run")
  before = (tmp_path / "run" / "config.json").read_bytes()

  def refuse(*_, **__):
    raise OSError(errno.EIO, os.strerror(errno.EIO))

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(ocp.training.Checkpointer, "load_checkpointables", refuse)
    with pytest.raises(errors.UserError, match="12 of .* Input/output error"):
      run(tmp_path / "run", steps=13)
  assert (tmp_path / "run" / "config.json").read_bytes() == before
  assert not (tmp_path / "run" / "checkpoints.damaged").exists()
  assert run(tmp_path / "run", steps=13) == 0


def test_a_checkpoint_of_another_state_is_named(straight, monkeypatch):
  init = toy_stage.ToyStage.init_state

  def wider(self, key):
    state = init(self, key)
    params = state.params | {"more": {"bias": jnp.zeros(3)}}
    return state.replace(params=params)

  monkeypatch.setattr(toy_stage.ToyStage, "init_state", wider)
  with pytest.raises(
    errors.UserError, match="params/more/bias of shape none, .* makes .3,."
  ):
    run(straight, steps=13)
  assert not (straight / "checkpoints.damaged").exists()


def test_two_jobs_in_one_workdir_are_refused(straight, tmp_path, monkeypatch):
  monkeypatch.setattr(same_run, "PATIENCE", 0.1)
  unlock = same_run.lock(tmp_path)
  with pytest.raises(errors.PassingError, match="another job trains in"):
    run(tmp_path)
  unlock()
  assert run(tmp_path, steps=1) == 0


def test_another_model_in_the_workdir_is_an_error(straight):
  with pytest.raises(errors.UserError, match=r"config\.model\.hidden 16"):
    run(straight, **{"model.hidden": 24, "steps": 13})


# The third kind of mesh is that of test_restored_on_other_devices.
MESHES = (
  dict(data=8, fsdp=1, sequence=1, tensor=1),
  dict(data=1, fsdp=2, sequence=2, tensor=2),
)


def on(mesh: dict[str, int]) -> dict[str, int]:
  return {f"mesh.{axis}": size for axis, size in mesh.items()}


@pytest.mark.parametrize("mesh", MESHES)
def test_eight_devices_compute_what_one_does(straight, tmp_path, mesh):
  assert run(tmp_path, 8, **on(mesh)) == 0
  expected, found = losses(straight), losses(tmp_path)
  np.testing.assert_allclose(
    [found[s] for s in range(1, 13)],
    [expected[s] for s in range(1, 13)],
    rtol=2e-5,
  )


def test_restored_on_other_devices(straight, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    stop_at(patch, 7)
    run(tmp_path, 8, **on(dict(data=2, fsdp=2, sequence=1, tensor=2)))
  assert run(tmp_path, 1) == 0
  expected, found = losses(straight), losses(tmp_path)
  np.testing.assert_allclose(
    [found[s] for s in range(1, 13)],
    [expected[s] for s in range(1, 13)],
    rtol=2e-5,
  )


def test_accumulated_run_equals_whole_batches(straight, tmp_path):
  assert run(tmp_path, accumulate=4, steps=12) == 0
  expected, found = losses(straight), losses(tmp_path)
  np.testing.assert_allclose(
    list(found.values()), list(expected.values()), rtol=1e-5
  )


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path):
  assert run(tmp_path, **{"data.poison": 4}) == 0
  records = {r["step"]: r for r in lines(tmp_path) if "grad_norm" in r}
  assert [records[s]["skipped"] for s in (4, 5, 6, 12)] == [0, 1, 1, 1]
  assert records[5]["loss"] is None and records[12]["loss"] is not None
  text = (tmp_path / "skipped.jsonl").read_text()
  (line,) = map(json.loads, text.splitlines())
  assert line == {
    "step": 5,
    "rows": list(range(32, 40)),
    "records": [[row % 5] for row in range(32, 40)],
  }


def test_load_gives_the_final_state(straight):
  plain, state = checkpoint.load(straight)
  assert plain["model"] == {"hidden": 16}
  assert int(state["step"]) == 12
  stage = stages.make(ConfigDict(plain))
  abstract = jax.eval_shape(stage.init_state, jax.random.key(0))
  _, typed = checkpoint.load(straight, abstract)
  params = stage.inference_params(typed)["params"]
  assert isinstance(params["up"]["kernel"], np.ndarray)
  np.testing.assert_array_equal(
    params["up"]["kernel"], state["ema"]["up"]["kernel"]
  )


def test_load_without_a_run_is_an_error(tmp_path):
  with pytest.raises(errors.UserError, match="holds no checkpoint"):
    checkpoint.load(tmp_path)


def test_a_saved_state_may_be_donated(tmp_path):
  """A save writes the state of its own step, not a later one."""

  @jax.jit
  def make():
    return {"kernel": jnp.arange(1_000_000, dtype=jnp.float32)}

  bump = jax.jit(
    lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0
  )
  state = make()
  abstract = jax.eval_shape(make)
  with checkpoint.Checkpoints(tmp_path, keep=9) as checkpoints:
    for step in range(1, 4):
      state = bump(state)
      checkpoints.save(step, state, {"n": step}, {})
      for _ in range(5):
        state = bump(state)
  for step in (3, 2, 1):
    plain, saved = checkpoint.load(tmp_path, abstract)
    assert plain == {"n": step}
    expected = np.arange(1_000_000, dtype=np.float32) + step + 5 * (step - 1)
    np.testing.assert_array_equal(saved["kernel"], expected)
    (tmp_path / "checkpoints" / str(step)).rename(tmp_path / f"gone{step}")


def test_a_checkpoint_comes_by_the_clock_too(tmp_path, monkeypatch):
  monkeypatch.setattr(loop.hosts.Alarm, "due", lambda _, step: step in (2, 5))
  changes = dict(steps=6, checkpoint_every=0, keep=9, checkpoint_minutes=1.0)
  assert run(tmp_path, **changes) == 0
  assert sorted(map(int, os.listdir(tmp_path / "checkpoints"))) == [2, 5, 6]


def test_roll_back_keeps_up_to_the_step(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 1}\n{"step": 2}\nnot json\n{"step": 3}\n{"st')
  roll_back(path, 2)
  assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
  assert os.listdir(tmp_path) == ["metrics.jsonl"]


def test_full_disk_is_one_sentence(tmp_path, monkeypatch):
  """A file that is a link to /dev/full behaves like one on a full disk."""
  workdir = tmp_path / "run"
  workdir.mkdir()
  (workdir / ".config.json.part").symlink_to("/dev/full")
  monkeypatch.setattr(train, "set_up", lambda _: None)
  argv = [f"--config={ROOT}/tests/toy_config.py", f"--workdir={workdir}"]
  with pytest.raises(errors.UserError, match="No space left"):
    train.main(argv)
  assert not (workdir / "config.json").exists()


# ------------------------------------------------------------ unreadable rows


def unreadable(monkeypatch, rows: set[int], error: Exception) -> None:
  """Lets reading these rows of the training split always fail."""
  plain = toy_stage.ToyRows.__getitem__

  def getitem(self, index):
    if index in rows and self.seed == len("train"):
      raise error
    return plain(self, index)

  monkeypatch.setattr(loader, "PAUSES", (0.0, 0.0))
  monkeypatch.setattr(toy_stage.ToyRows, "__getitem__", getitem)


def test_unreadable_rows_are_replaced_counted_and_named(
  straight, tmp_path, monkeypatch
):
  error = RuntimeError("flac decoder lost sync")
  unreadable(monkeypatch, {20, 21}, error)
  assert run(tmp_path) == 0
  text = (tmp_path / "unreadable.jsonl").read_text()
  found = {line["row"]: line for line in map(json.loads, text.splitlines())}
  assert sorted(found) == [20, 21]
  assert found[20]["records"] == [0] and found[20]["split"] == "train"
  assert found[20]["error"] == "RuntimeError: flac decoder lost sync"
  counts = [line["unreadable"] for line in lines(tmp_path) if "loss" in line]
  assert counts[-1] == 2
  first, second = losses(straight), losses(tmp_path)
  assert [first[s] for s in (1, 2)] == [second[s] for s in (1, 2)]
  assert first[3] != second[3]


def test_a_substitute_is_the_next_row_of_the_batch(tmp_path, monkeypatch):
  rows = toy_stage.ToyRows(8, len("train"), -1)
  unreadable(monkeypatch, {6, 7, 12}, OSError("gone"))
  ledger = loader.Unreadable(tmp_path / "u.jsonl", 0.01, lambda _: None)
  for mine in (np.arange(8), np.array([6, 7]), np.array([3, 7])):
    batch = next(loader.make_loader(rows, 0, 2, mine, 2, "train", ledger))
    for j, place in enumerate(mine):
      expected = rows[0] if place in (6, 7) else rows[int(place)]
      np.testing.assert_array_equal(batch["x"][j], expected["x"])


def test_a_moment_without_the_file_system_changes_nothing(
  tmp_path, monkeypatch
):
  rows, failed = toy_stage.ToyRows(8, 0, -1), []
  plain = toy_stage.ToyRows.__getitem__

  def getitem(self, index):
    if index == 3 and len(failed) < 2:
      failed.append(index)
      raise OSError(errno.ESTALE, "Stale file handle")
    return plain(self, index)

  monkeypatch.setattr(loader, "PAUSES", (0.0, 0.0))
  monkeypatch.setattr(toy_stage.ToyRows, "__getitem__", getitem)
  ledger = loader.Unreadable(tmp_path / "u.jsonl", 0.01, lambda _: None)
  batch = next(loader.make_loader(rows, 0, 1, None, 1, "train", ledger))
  np.testing.assert_array_equal(batch["x"][3], plain(rows, 3)["x"])
  assert len(failed) == 2 and not (tmp_path / "u.jsonl").exists()


def test_too_many_unreadable_rows_are_one_sentence(tmp_path, monkeypatch):
  rows = {row for row in range(16, 96) if row % 8}
  unreadable(monkeypatch, rows, OSError("no such disk"))
  with pytest.raises(errors.UserError) as error:
    run(tmp_path)
  sentence = str(error.value)
  assert "rows could not be read, more than config.unreadable_share" in sentence
  assert "no such disk" in sentence and "\n" not in sentence


def test_a_batch_that_cannot_be_read_is_one_sentence(tmp_path, monkeypatch):
  unreadable(monkeypatch, set(range(16, 24)), OSError("no such disk"))
  with pytest.raises(errors.UserError, match="no row from 16 to 23 of train"):
    run(tmp_path)


# ------------------------------------------------------------- real processes


@pytest.mark.processes
def test_a_signal_to_one_process_stops_and_saves_all(tmp_path):
  flags = ["--config.steps=4000", "--config.keep=1"]
  both = job(TOY, tmp_path, [flags, flags])
  wait_for_lines(both[0], tmp_path, 20)
  both[1].terminate()  # not the one that writes
  outputs = [process.communicate(timeout=900)[1] for process in both]
  assert [p.returncode for p in both] == [errors.STOPPED] * 2, outputs
  (saved,) = map(int, os.listdir(tmp_path / "checkpoints"))
  assert saved == max(losses(tmp_path)) < 4000
  # One process goes on from what two have saved.
  assert run(tmp_path, 1, steps=saved + 1) == 0
  assert sorted(losses(tmp_path)) == list(range(1, saved + 2))


def test_only_process_0_writes_a_profile(monkeypatch, tmp_path):
  started = []
  monkeypatch.setattr(jax.profiler, "start_trace", started.append)
  monkeypatch.setattr(jax.profiler, "stop_trace", lambda: None)
  for number in (1, 0):
    monkeypatch.setattr(
      clock.jax, "process_index", lambda number=number: number
    )
    range_of = ConfigDict({"start": 2, "steps": 1})
    with clock.Profile(range_of, tmp_path / str(number)) as profile:
      for step in range(5):
        profile.before(step)
  assert started == [str(tmp_path / "0")]
