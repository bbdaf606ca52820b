"""README and docs: the paths, verbs and options they name exist."""

import contextlib
import pathlib
import re

import pytest

from s02jax import cli
from s02jax.cli import bench

ROOT = pathlib.Path(__file__).parents[1]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TOPS = "configs|data_pipelines|docs|launch|s02jax|tests"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_named_paths_exist(path):
  named = re.findall(rf"\b(?:{TOPS})/[\w./]*\w", path.read_text())
  placeholders = ("STAGE", "NAME")
  missing = {
    name
    for name in named
    if not any(word in name for word in placeholders)
    and not (ROOT / name).exists()
  }
  assert not missing


def test_the_map_has_every_folder():
  text = (ROOT / "README.md").read_text()
  tree = re.search(r"```\n(configs/ .*?)```", text, re.DOTALL)
  assert tree
  parents, mapped = [], set()
  for indent, name in re.findall(r"^( *)(\w+[/.]\S*)", tree[1], re.MULTILINE):
    if len(indent) > 4:  # a line that goes on
      continue
    parents = [*parents[: len(indent) // 2], name.rstrip("/")]
    mapped.add("/".join(parents))
  tops = ("configs", "launch", "data_pipelines", "s02jax")
  folders = {
    str(init.parent.relative_to(ROOT))
    for top in tops
    for init in (ROOT / top).rglob("__init__.py")
  }
  files = {str(p.relative_to(ROOT)) for p in (ROOT / "s02jax").glob("[!_]*.py")}
  assert mapped == folders | files


def commands(path: pathlib.Path) -> list[list[str]]:
  """The words of every `s02 …` command in a document's code blocks."""
  blocks = re.findall(r"^```\n(.*?)^```", path.read_text(), re.M | re.S)
  lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
  ours = [re.split(" -- | # ", line)[0] for line in lines]
  return [line.split() for line in ours if line.startswith("s02 ")]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_options_exist(path, capsys):
  for _, verb, *words in commands(path):
    assert verb in cli.VERBS
    main = cli.module(verb).main
    grouped = ("adapt", "adapter", "bench", "corpus", "voice")
    subcommand = words[:1] if verb in grouped else []
    if verb == "bench":
      assert words[0] in bench.BENCHES
    with contextlib.suppress(SystemExit):
      main([*subcommand, "--help"])
    shown = capsys.readouterr().out
    options = {word.split("=")[0] for word in words if word[:2] == "--"}
    assert [o for o in options if o[:8] != "--config" and o not in shown] == []
