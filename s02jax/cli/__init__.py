"""Command line of s02jax: `s02 VERB …`, one module for each verb."""

import importlib
import importlib.metadata
import platform
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

from s02jax.core.errors import UserError, run
from s02jax.core.inputs import hint
from s02jax.core.version import VERSION


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
  "distill": Verb(
    "distill", "solve rows by a bundle, for flow matching in a few steps"
  ),
  "bundle": Verb("bundle", "gather trained stages into one folder"),
  "export": Verb(
    "export", "write a folder that speaks where s02jax is not installed"
  ),
  "voice": Verb("voice", "keep voices in a bundle, by name"),
  "adapt": Verb(
    "adapters.adapt",
    "teach a bundle an `emotion`, fit a `speaker`, tune a `voice`, add a"
    " `language`",
  ),
  "adapter": Verb(
    "adapters.adapter", "list, show, remove or merge what a bundle has learnt"
  ),
  "synthesize": Verb(
    "synthesize", "speak a text in the voice of a reference, or a kept one"
  ),
  "serve": Verb("serve", "speak over HTTP, for many at once, with a page"),
  "compile-check": Verb(
    "compile_check", "compile a train step for TPUs or GPUs that are not here"
  ),
  "bench": Verb("bench", "measure steps and data on this machine"),
  "evaluate": Verb(
    "evaluate", "score any system's speech on the public benchmarks"
  ),
  "report": Verb("report", "measure a bundle and write a page about it"),
  "page": Verb("page", "write a page of clips and their texts to listen to"),
  "completion": Verb(
    "completion", "print a script that completes s02 in bash, zsh or fish"
  ),
}


def tell(line: str) -> None:
  """Prints a line for people at once, into a pipe as well."""
  print(line, flush=True)


def columns(rows: Sequence[Sequence[str]]) -> str:
  """Lines of a table whose columns are as wide as their longest cells."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = (
    "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))
    for row in rows
  )
  return "\n".join(line.rstrip() for line in lines)


def module(verb: str) -> ModuleType:
  """Imports the module of one of VERBS; its `main(argv)` runs the verb."""
  return importlib.import_module(f"s02jax.cli.{VERBS[verb].module}")


def usage() -> str:
  """Help text of `s02` alone."""
  width = max(map(len, VERBS))
  lines = [f"  {name:<{width}}  {verb.line}" for name, verb in VERBS.items()]
  return "\n".join(
    [
      "usage: s02 VERB [ARGUMENTS]",
      "",
      *lines,
      "",
      "s02 VERB --help says more, s02 --version which s02jax this is",
    ]
  )


def version() -> str:
  """Versions of s02jax, and of what speed and numbers depend on."""
  jax = importlib.metadata.version("jax")
  python = platform.python_version()
  return f"s02jax {VERSION} (jax {jax}, Python {python})"


def main() -> None:
  """Entry point of the console command."""
  verb, argv = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
  told = {"-h": usage, "--help": usage, "help": usage}
  told |= {"-V": version, "--version": version}
  if verb in told:
    print(told[verb]())
    sys.exit(0)
  sys.exit(run(lambda words: _verb(verb)(words), argv))


def _verb(name: str) -> Callable[[list[str]], int | None]:
  """Imports a verb and returns its main function; raises UserError."""
  if name not in VERBS:
    problem = f"{name!r} is not a verb" if name else "a verb is missing"
    raise UserError(f"{problem}{hint(name, VERBS)}; see `s02 --help`.")
  return module(name).main
