"""Command line of s02jax: `s02 VERB …`, one module for each verb."""

import importlib
import sys
from types import ModuleType
from typing import NamedTuple

from s02jax.core.errors import run


class Verb(NamedTuple):
  """One verb: where its code is, and its line in `s02 --help`."""

  module: str  # below s02jax.cli
  line: str


VERBS = {
  "corpus": Verb(
    "corpora.corpus",
    "make a corpus: `espeak`, or your own recordings by a `manifest`",
  ),
  "text": Verb("corpora.text", "train the text model on a corpus"),
  "train": Verb("train", "train one stage"),
  "sweep": Verb(
    "experiments.sweep", "train many variants of a config, and compare them"
  ),
  "ablate": Verb(
    "experiments.ablate",
    "train the variants of an ablation, and print the paper's table",
  ),
  "extract": Verb(
    "corpora.extract", "write tokens and latents beside a corpus"
  ),
  "bundle": Verb("bundle", "gather trained stages into one folder"),
  "export": Verb(
    "export", "write a folder that speaks where s02jax is not installed"
  ),
  "voice": Verb("voice", "keep voices in a bundle, by name"),
  "synthesize": Verb(
    "synthesize", "speak a text in the voice of a reference, or a kept one"
  ),
  "compile-check": Verb(
    "compile_check", "compile a train step for TPUs that are not here"
  ),
  "bench": Verb("bench", "measure steps and data on this machine"),
  "evaluate": Verb(
    "evaluate", "score any system's speech on the public benchmarks"
  ),
  "report": Verb("report", "measure a bundle and write a page about it"),
}


def tell(line: str) -> None:
  """Prints a line for people at once, into a pipe as well."""
  print(line, flush=True)


def module(verb: str) -> ModuleType:
  """Imports the module of one of VERBS; its `main(argv)` runs the verb."""
  return importlib.import_module(f"s02jax.cli.{VERBS[verb].module}")


def usage() -> str:
  """Help text of `s02` alone."""
  width = max(map(len, VERBS))
  lines = [f"  {name:<{width}}  {verb.line}" for name, verb in VERBS.items()]
  return "\n".join(
    ["usage: s02 VERB [ARGUMENTS]", "", *lines, "", "s02 VERB --help says more"]
  )


def main() -> None:
  """Entry point of the console command."""
  verb, argv = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
  if verb in ("-h", "--help", "help"):
    print(usage())
    sys.exit(0)
  if verb not in VERBS:
    problem = f"{verb!r} is not a verb" if verb else "a verb is missing"
    print(f"s02: {problem}; see `s02 --help`.", file=sys.stderr)
    sys.exit(2)
  sys.exit(run(module(verb).main, argv))
