"""Command line of s02jax: `s02 VERB …`, one module for each verb."""

import importlib
import sys

from s02jax.core.errors import run

VERBS = {
  "corpus": "make a corpus: `espeak`, or your own recordings by a `manifest`",
  "text": "train the text model on a corpus",
  "train": "train one stage",
  "sweep": "train many variants of a config, and compare them",
  "ablate": "train the variants of an ablation, and print the paper's table",
  "extract": "write tokens and latents beside a corpus",
  "bundle": "gather trained stages into one folder",
  "export": "write a folder that speaks where s02jax is not installed",
  "voice": "keep voices in a bundle, by name",
  "synthesize": "speak a text in the voice of a reference, or a kept one",
  "compile-check": "compile a train step for TPUs that are not here",
  "bench": "measure steps and data on this machine",
  "evaluate": "score any system's speech on the public benchmarks",
  "report": "measure a bundle and write a page about it",
}


def tell(line: str) -> None:
  """Prints a line for people at once, into a pipe as well."""
  print(line, flush=True)


def usage() -> str:
  """Help text of `s02` alone."""
  width = max(map(len, VERBS))
  lines = [f"  {verb:<{width}}  {line}" for verb, line in VERBS.items()]
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
  module = importlib.import_module(f"s02jax.cli.{verb.replace('-', '_')}")
  sys.exit(run(module.main, argv))
