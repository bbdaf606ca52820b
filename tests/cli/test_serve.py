"""`s02 serve` as a process: it serves, and ends when it is told to."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from s02jax.cli import run, serve
from tests import tiny


@pytest.mark.parametrize(
  ("changes", "match"),
  [
    (["--slots", "0"], "--slots 0 must be above 0"),
    (["--queue", "-1"], "--queue must be 0 or more"),
    (["--port", "70000"], "65535"),
    (["--api-key-file", "none.txt"], "none.txt: cannot be read"),
    ([], "not a bundle"),
  ],
)
def test_faults_are_one_sentence(tmp_path, monkeypatch, capsys, changes, match):
  monkeypatch.setattr(serve.startup, "set_up", lambda: None)
  monkeypatch.chdir(tmp_path)
  assert run(serve.main, ["--bundle", str(tmp_path), *changes]) == 2
  message = capsys.readouterr().err
  assert match in message and message.count("\n") == 1


def get(port, path):
  url = f"http://127.0.0.1:{port}{path}"
  with urllib.request.urlopen(url, timeout=60) as response:
    return response.read()


@pytest.mark.processes
def test_it_serves_until_a_signal_ends_it(tmp_path):
  tiny.write_with_voices(tmp_path)
  command = [
    sys.executable, "-m", "s02jax", "serve", "--bundle",
    str(tmp_path / "bundle"), "--port", "0", "--no-warm-up",
  ]  # fmt: skip
  process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
  try:
    port = None
    while port is None:
      line = process.stderr.readline()
      assert line, process.wait()
      found = re.search(r"running on http://127\.0\.0\.1:(\d+)", line)
      port = found and int(found[1])
    assert json.loads(get(port, "/readyz")) == {"status": "ready"}
    assert b"<textarea" in get(port, "/")
    voices = json.loads(get(port, "/v1/voices"))["voices"]
    assert [voice["name"] for voice in voices] == ["anna", "ben"]
    process.send_signal(signal.SIGTERM)
    limit = time.monotonic() + 60
    while process.poll() is None:
      assert time.monotonic() < limit
      time.sleep(0.05)
    assert "Traceback" not in process.stderr.read()
  finally:
    process.kill()
    process.wait()
    process.stderr.close()
