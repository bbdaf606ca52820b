"""The Dockerfile, as far as it can be checked where there is no Docker."""

import configparser
import pathlib
import re

from s02jax import cli

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text()


def test_what_is_copied_exists_and_is_all_that_is_installed():
  copied = {
    name
    for line in re.findall(r"^COPY (.*)", TEXT, re.M)
    for name in line.split()[:-1]
  }
  assert all((ROOT / name).exists() for name in copied)
  setup = configparser.ConfigParser()
  setup.read(ROOT / "setup.cfg")
  packages = setup["options.packages.find"]["include"].split()
  assert {name.rstrip("*") for name in packages} <= copied
  ignored = (ROOT / ".dockerignore").read_text()
  sent = set(re.findall(r"^!(.*)", ignored, re.M))
  assert sent == copied
  extras = re.search(r"^ARG EXTRAS=(.*)", TEXT, re.M)[1].split(",")
  assert set(extras) <= set(setup["options.extras_require"])


def test_the_command_is_one_that_there_is(capsys):
  words = re.findall(r'"([^"]+)"', TEXT[TEXT.index("ENTRYPOINT") :])
  assert words[0] == "s02" and words[1] in cli.VERBS
  try:
    cli.module(words[1]).main(["--help"])
  except SystemExit:
    shown = capsys.readouterr().out
  assert all(w in shown for w in words if w.startswith("--"))
  assert f"EXPOSE {8000}" in TEXT and "8000" in shown
