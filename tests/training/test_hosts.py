"""Multi-process jobs: processes agree at the start and end together."""

import http.server
import os
import pathlib
import shutil
import signal
import socket
import threading
import time
import types
from unittest import mock

import pytest

from s02jax.core import errors
from s02jax.training import hosts
from tests.processes import TOY, job, wait_for_lines

ROOT = pathlib.Path(__file__).parents[2]
HOST = socket.gethostname()


ENDLESS = ["--config.steps=4000000", "--config.eval_every=0"]


@pytest.mark.processes
def test_the_others_end_within_a_minute_and_name_the_dead(tmp_path):
  """A job ends where process 1 is killed, process 0 is frozen, or killed."""
  cases = [(1, signal.SIGKILL), (0, signal.SIGSTOP), (0, signal.SIGKILL)]
  jobs = []
  for n, (victim, number) in enumerate(cases):
    jobs.append(job(TOY, tmp_path / f"{n}", [ENDLESS, ENDLESS]))
    wait_for_lines(jobs[-1][0], tmp_path / f"{n}", 20)
    jobs[-1][victim].send_signal(number)
    jobs[-1].append(time.monotonic())
  for (victim, number), (*processes, began) in zip(cases, jobs, strict=True):
    other = processes[1 - victim]
    _, log = other.communicate(timeout=began + 60 - time.monotonic())
    processes[victim].kill()
    processes[victim].communicate()
    assert other.returncode == hosts.LOST, (number, log)
    assert f"process {victim} ({HOST})" in log.splitlines()[-1]


@pytest.mark.processes
def test_what_differs_between_hosts_is_named_by_all(tmp_path):
  flags = [[], ["--config.model.hidden=24", "--config.seed=3"]]
  processes = job(TOY, tmp_path, flags)
  logs = [process.communicate(timeout=300)[1] for process in processes]
  assert [process.returncode for process in processes] == [2, 2], logs
  for log in logs:
    assert (
      f"process 1 ({HOST}): config.model.hidden is 24, not 16, config.seed is "
      "3, not 0" in log
    )
  assert not (tmp_path / "config.json").exists()


@pytest.mark.processes
def test_a_stuck_process_ends_the_job_with_the_stacks_of_all(tmp_path):
  flags = [*ENDLESS, "--config.stuck_seconds=3", "--config.data.hang=44"]
  processes = job(TOY, tmp_path, [flags, flags])
  logs = [process.communicate(timeout=300)[1] for process in processes]
  codes = [process.returncode for process in processes]
  assert codes == [hosts.STUCK] * 2, logs
  for log in logs:
    assert "most recent call first" in log and "_look_for_stuck" in log
  # Batch 5: the row of one host of the two.
  assert sum("toy_stage.py" in log for log in logs) == 1
  assert sum("in __getitem__" in log for log in logs) == 1
  assert any("config.stuck_seconds" in log for log in logs)


@pytest.mark.processes
def test_one_that_cannot_go_on_ends_all_with_its_code(tmp_path):
  """Process 1 finds an unreadable row where none is allowed."""
  row = ["--config.data.unreadable=44", "--config.unreadable_share=0.0"]
  sentence = f"process 1 ({HOST}) ends: 1 of 1000 rows could not be read"
  processes = job(TOY, tmp_path / "rows", [[*ENDLESS, *row]] * 2)
  logs = [process.communicate(timeout=300)[1] for process in processes]
  codes = [process.returncode for process in processes]
  assert codes == [errors.PASSING] * 2, logs
  for log in logs:
    assert sentence in log


@pytest.mark.parametrize("there", [True, False])
def test_an_abort_of_the_runtime_is_not_the_loss_of_process_0(there):
  """XLA and NCCL abort a process while process 0 answers."""
  with socket.create_server(("127.0.0.1", 0)) as server:
    address = f"127.0.0.1:{server.getsockname()[1]}"
    if not there:
      server.close()
    code, why = hosts.why_aborted(3, "first", address)
  assert ("process 0 (first) is gone" in why) is not there
  assert code == (errors.PASSING if there else hosts.LOST)
  assert f"process 3 ({HOST})" in why


def test_the_fingerprint_is_of_every_source(tmp_path, monkeypatch):
  folder = tmp_path / "s02jax"
  shutil.copytree(
    ROOT / "s02jax", folder, ignore=shutil.ignore_patterns("__pycache__")
  )
  before = hosts.fingerprint()
  copied = folder / "training" / "hosts.py"
  monkeypatch.setattr(hosts, "__file__", str(copied))
  assert hosts.fingerprint() == before
  source = folder / "data" / "rows" / "epochs.py"
  source.write_text(source.read_text() + "\n")
  assert hosts.fingerprint() != before


def test_process_0_outlasts_the_others(monkeypatch):
  """Process 0 ends last, because JAX aborts the others when it is gone."""

  def waits(me: int) -> tuple[float, float]:
    """Seconds until the end of a process that follows and of one that tells."""
    found = []
    watch = hosts.Watch(mock.Mock(), me)
    watch.left = mock.Mock(wait=found.append, is_set=lambda: False)
    monkeypatch.setattr(hosts, "die", lambda *_: None)
    monkeypatch.setattr(hosts.time, "sleep", found.append)
    watch.follow({"by": 1 - me, "code": hosts.STUCK, "why": ""})
    watch.end(hosts.STUCK, "")
    follows, tells = found
    return follows, tells

  (follows, tells), (follows_0, tells_0) = waits(1), waits(0)
  # What is told is read within a beat.
  assert follows_0 > tells + hosts.BEAT
  assert tells_0 > follows + hosts.BEAT


def test_an_alarm_goes_off_at_one_step_by_the_clock_of_process_0(monkeypatch):
  store, clocks = {}, {0: 0.0, 1: 500.0}
  client = types.SimpleNamespace(
    key_value_set=store.__setitem__,
    blocking_key_value_get=lambda key, _: store[key],
  )
  me = types.SimpleNamespace(client=client, process_id=0)
  monkeypatch.setattr(hosts, "_state", lambda: me)
  monkeypatch.setattr(hosts.time, "monotonic", lambda: clocks[me.process_id])
  alarms = {}
  for me.process_id in (0, 1):
    alarms[me.process_id] = hosts.Alarm(60.0, 10)
  clocks[1] = 900.0  # hurries
  found = {0: [], 1: []}
  for step in range(1, 101):
    clocks[0] += 1.0
    for me.process_id in (0, 1):
      if alarms[me.process_id].due(step):
        found[me.process_id].append(step)
  assert found[0] == found[1] == [60]
  assert not any(hosts.Alarm(0.0, 1).due(step) for step in range(5))


class Metadata(http.server.BaseHTTPRequestHandler):
  """Server of notices: none, an error, then maintenance."""

  notices = ["NONE", None, "TERMINATE_ON_HOST_MAINTENANCE"]

  def do_GET(self):
    notice = self.notices.pop(0)
    self.send_response(200 if notice else 503)
    self.end_headers()
    self.wfile.write((notice or "").encode())

  def log_message(self, *_):
    pass


def test_a_notice_of_maintenance_is_a_sigterm(tmp_path, monkeypatch):
  vendor = tmp_path / "vendor"
  assert hosts.heed_maintenance("http://nowhere", vendor) is None
  vendor.write_text("Somebody\n")
  assert hosts.heed_maintenance("http://nowhere", vendor) is None
  vendor.write_text("Google\n")
  sent = []
  monkeypatch.setattr(hosts.os, "kill", lambda *what: sent.append(what))
  monkeypatch.setattr(hosts.time, "sleep", lambda _: None)
  with http.server.HTTPServer(("127.0.0.1", 0), Metadata) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/event"
    thread = hosts.heed_maintenance(address, vendor)
    assert thread is not None
    thread.join(30)
    server.shutdown()
  assert sent == [(os.getpid(), signal.SIGTERM)] and not Metadata.notices
