"""Signs of life: progress, completion of a shell, the fields of a config."""

import io
import logging
import re
import shutil
import subprocess
import threading
import time

import jax
import numpy as np
import pytest

from s02jax import cli
from s02jax.cli import train
from s02jax.cli.terminal import completions, progress
from s02jax.cli.terminal.fields import comments
from s02jax.core import startup
from s02jax.training.arguments import parse_config
from tests.cli.test_help import COMMANDS, help_of

# ------------------------------------------------------------------- progress


class Terminal(io.StringIO):
  """Terminal that remembers what was written."""

  def isatty(self):
    return True


def wait_for(condition):
  """Waits until a condition holds, at most ten seconds."""
  end = time.monotonic() + 10
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.01)


@pytest.fixture
def compiling(monkeypatch):
  """Event that is set while a program seems to be compiled."""
  event = threading.Event()
  monkeypatch.setattr(startup.Programs, "compiling", event.is_set)
  return event


def test_a_terminal_sees_one_line_that_is_written_anew(compiling):
  terminal = Terminal()
  with progress.Progress(terminal) as shown:
    compiling.set()
    wait_for(lambda: progress.COMPILING in terminal.getvalue())
    compiling.clear()
    heard = shown.count([np.zeros(8000, np.float32)] * 3, 16000)
    assert sum(map(len, heard)) == 24000
    wait_for(lambda: "1.5 s of speech" in terminal.getvalue())
  assert "\n" not in terminal.getvalue()
  assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_log_line_does_not_stand_behind_the_progress(compiling):
  terminal = Terminal()
  handler = logging.StreamHandler(terminal)
  logging.root.addHandler(handler)
  try:
    with progress.Progress(terminal):
      wait_for(lambda: "listening" in terminal.getvalue())
      logging.warning("a warning")
    assert "\r\x1b[Ka warning\n" in terminal.getvalue()
    assert not handler.filters
  finally:
    logging.root.removeHandler(handler)


def test_a_log_gets_a_line_now_and_then(compiling, caplog, monkeypatch):
  monkeypatch.setattr(progress, "EVERY", 0.0)
  caplog.set_level(logging.INFO)
  file = io.StringIO()
  with progress.Progress(file) as shown:
    compiling.set()
    wait_for(lambda: progress.COMPILING in caplog.text)
    time.sleep(0.6)
    compiling.clear()
    list(shown.count([np.zeros(8000, np.float32)], 16000))
    wait_for(lambda: "0.5 s of speech" in caplog.text)
  assert caplog.text.count(progress.COMPILING) == 1
  assert not file.getvalue()


def test_a_program_that_is_not_in_the_cache_is_seen_to_compile(
  monkeypatch, tmp_path
):
  """Whether a program is awaited is known by the events of JAX."""
  monkeypatch.setattr(startup, "COMPILES", 0.0)
  startup.use_compilation_cache()
  seen = []

  def inside(*_, **__):
    seen.append(startup.Programs.compiling())

  # Runs in the middle of compiling: the event comes when the cache is asked.
  jax.monitoring.register_event_listener(inside)
  offset = int(np.random.default_rng().integers(1 << 30))  # in no cache
  assert not startup.Programs.compiling()
  for expected in (0, 1):  # compiled, then read
    hits = startup.Programs.hits
    jax.clear_caches()
    assert int(jax.jit(lambda x: x + offset)(np.int32(1))) == 1 + offset
    assert startup.Programs.hits - hits == expected
  assert True in seen
  assert not startup.Programs.compiling()


@pytest.mark.parametrize(
  ("variables", "folder"),
  [
    ({"S02_CACHE": "/a"}, "/a"),
    ({"XDG_CACHE_HOME": "/b"}, "/b/s02jax/xla"),
    ({"HOME": "/c"}, "/c/.cache/s02jax/xla"),
  ],
)
def test_the_cache_can_be_moved(monkeypatch, variables, folder):
  for name in ("S02_CACHE", "XDG_CACHE_HOME"):
    monkeypatch.delenv(name, raising=False)
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  assert startup.cache_folder() == folder


# ----------------------------------------------------------------- completion


@pytest.fixture(scope="module")
def found():
  return completions.commands()


def complete(script, *words):
  """Completions that bash offers behind the words."""
  line = " ".join(f"'{word}'" for word in ("s02", *words))
  asked = f"""{script}
COMP_WORDS=({line}); COMP_CWORD={len(words)}; _s02; echo "${{COMPREPLY[@]}}"
"""
  told = subprocess.run(
    ["bash", "-c", asked], capture_output=True, text=True, check=True
  )
  assert not told.stderr
  return told.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_verbs_options_and_values(found):
  script = completions.script("bash", found)
  assert complete(script, "syn") == ["synthesize"]
  assert set(complete(script, "")) >= set(cli.VERBS)
  assert "--reference-text" in complete(script, "synthesize", "--ref")
  assert complete(script, "synthesize", "--out", "a", "--spe") == ["--speed"]
  assert complete(script, "synthesize", "--markup", "s") == ["ssml", "srt"]
  assert complete(script, "voice", "a") == ["add"]
  assert complete(script, "voice", "add", "x", "--rep") == ["--replace"]
  assert complete(script, "bench", "st") == ["step"]
  assert complete(script, "train", "--work") == ["--workdir"]
  assert complete(script, "completion", "f") == ["fish"]
  assert complete(script, "synthesize", "--text-file", "x") == []  # files


@pytest.mark.parametrize("shell", completions.SHELLS)
def test_every_shell_is_told_every_verb_and_option(found, shell, tmp_path):
  script = completions.script(shell, found)
  for command in found:
    for option in command.options:
      assert (f"-l {option[2:]}" if shell == "fish" else option) in script
  assert all(verb in script for verb in cli.VERBS)
  if (path := shutil.which(shell)) is not None:
    (tmp_path / "s02").write_text(script)
    subprocess.run([path, "-n", str(tmp_path / "s02")], check=True)


# ---------------------------------------------------------------------- help


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_help_shows_a_default_of_none(command, monkeypatch, capsys):
  assert "None" not in help_of(command, monkeypatch, capsys)[0]


@pytest.mark.parametrize(
  "argv",
  [
    ["--help", "configs/ar.py:demo"],
    ["configs/ar.py:demo", "--help"],
    ["--config=configs/ar.py:demo", "--help"],
    ["--config", "configs/ar.py:demo", "-h"],
  ],
)
def test_help_on_a_config_lists_its_fields(argv, capsys):
  assert train.main(argv) == 0
  out = capsys.readouterr().out
  assert "\n--config.model.speaker.width=128  # channels of the enc" in out
  assert "\n--config.batch_size=4  # Rows of one step" in out
  assert "\n--config.optimizer.learning_rate=0.002  # Peak learning rate" in out
  assert "\nDevices along each axis; -1 takes what the others leave.\n" in out
  assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
  "stage", ["ar", "audio_tokenizer", "flow_matching", "flow_vae"]
)
def test_every_field_is_listed_and_most_are_commented(stage, capsys):
  name = f"configs/{stage}.py:test"
  assert train.main(["--help", name]) == 0
  out = capsys.readouterr().out
  _, config = parse_config([f"--config={name}"], "it")
  shown = re.findall(r"^--config\.([\w.]+)=", out, re.MULTILINE)
  flat = config.to_dict()

  def names(values, prefix=""):
    for key, value in values.items():
      if isinstance(value, dict) and value:
        yield from names(value, f"{prefix}{key}.")
      elif not isinstance(value, dict):
        yield prefix + key

  assert sorted(shown) == sorted(names(flat))
  assert out.count("# ") > 0.6 * len(shown)


def test_help_with_a_changed_field_shows_its_value(capsys):
  words = ["--config=configs/ar.py:demo", "--config.steps=7", "--help"]
  assert train.main(words) == 0
  assert "\n--config.steps=7" in capsys.readouterr().out


def test_comments_are_found_where_they_stand():
  source = """
  # Above a field,
  # on two lines.
  width: int
  height: int = 3  # behind it
  config.a.depth = 4  # of a config

  # Lost: a line between.

  bare = 1
  "key": "#no",  # of a key
  height = 5  # later
"""
  assert comments(source) == {
    "width": "Above a field, on two lines.",
    "height": "behind it",
    "depth": "of a config",
    "key": "of a key",
  }
