"""Help of every verb: its options, their defaults, one example."""

import argparse
import re
import subprocess
import sys

import pytest

from s02jax import cli
from s02jax.cli import bench

# Command lines whose --help is read: verbs, measurements, and sub-commands.
COMMANDS = [
  *((verb,) for verb in cli.VERBS),
  *(("bench", name) for name in bench.BENCHES),
  *(("corpus", name) for name in ("espeak", "manifest")),
  *(("voice", name) for name in ("add", "list", "show", "remove")),
  *(("voice", name) for name in ("prior", "design")),
  *(("adapt", name) for name in ("emotion", "speaker", "voice", "language")),
  *(("adapter", name) for name in ("list", "show", "remove", "merge")),
]
# Those of argparse; `train` reads flags of ml_collections, `bench` none.
PARSED = [c for c in COMMANDS if c not in (("train",), ("bench",))]
each = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


def help_of(command, monkeypatch, capsys):
  """Help text, and the parser that printed it; None where none did."""
  parsers = []
  shown = argparse.ArgumentParser.print_help

  def print_help(self, file=None):
    parsers.append(self)
    shown(self, file)

  monkeypatch.setattr(argparse.ArgumentParser, "print_help", print_help)
  monkeypatch.setenv("COLUMNS", "80")
  verb, *rest = command
  module = cli.module(verb)
  try:
    code = module.main([*rest, "--help"])
  except SystemExit as end:
    code = end.code
  assert not code
  return capsys.readouterr().out, parsers[0] if parsers else None


def options_of(parser):
  """Yields every option of a parser and of its sub-commands."""
  for action in parser._actions:  # argparse lists them nowhere else
    if isinstance(action, argparse._SubParsersAction):
      for part in action.choices.values():
        yield from options_of(part)
    else:
      yield action


@each
def test_help_begins_with_what_the_verb_does_and_has_an_example(
  command, monkeypatch, capsys
):
  text, parser = help_of(command, monkeypatch, capsys)
  if len(command) == 1 or command[0] == "bench":  # sub-commands: the verb's
    assert f"  s02 {' '.join(command)} " in text
  if parser is not None:
    assert re.match(r"[A-Z]\w+ ", parser.description)


@pytest.mark.parametrize("command", PARSED, ids=" ".join)
def test_every_option_says_what_it_is_and_its_default(
  command, monkeypatch, capsys
):
  text, parser = help_of(command, monkeypatch, capsys)
  told = " ".join(text.split())
  for action in parser._actions:
    if isinstance(action, argparse._SubParsersAction):
      continue  # their own --help is among COMMANDS
    assert action.help, action.option_strings
    value = action.default
    if value is None or value is False or value == argparse.SUPPRESS:
      continue
    if not action.option_strings or action.required or value in ("", []):
      continue
    if isinstance(value, list | tuple):
      value = ",".join(map(str, value))
    assert f"default: {value})" in told, action.option_strings


@pytest.mark.parametrize(
  "command", [c for c in PARSED if len(c) == 1 or c[0] == "bench"], ids=" ".join
)
def test_examples_use_options_that_exist(command, monkeypatch, capsys):
  _, parser = help_of(command, monkeypatch, capsys)
  known = {name for a in options_of(parser) for name in a.option_strings}
  known |= {"--config"}  # read by training.arguments
  examples = re.findall(
    rf"^ +s02 {' '.join(command)} (?:.*\\\n)*.*(?:\n    .*)*",
    parser.description,
    re.MULTILINE,
  )
  assert examples
  used = {w for e in examples for w in re.findall(r"--[a-z][\w-]*", e)}
  assert used <= known


def test_help_of_training_names_its_flags(monkeypatch, capsys):
  text, _ = help_of(("train",), monkeypatch, capsys)
  for flag in ("workdir", "coordinator", "num_processes", "process_id"):
    assert f"\n  --{flag} " in text


def test_the_module_and_the_console_command_are_the_same():
  asked = [sys.executable, "-m", "s02jax", "--help"]
  told = subprocess.run(asked, capture_output=True, text=True, check=True)
  assert told.stdout == cli.usage() + "\n"
  assert all(f"\n  {verb} " in told.stdout for verb in cli.VERBS)
