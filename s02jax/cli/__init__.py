"""`s02 <verb> …`: one verb, one module, one line per verb below."""

import importlib
import sys
from collections.abc import Callable

from s02jax.core import errors

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


def run(
  main: Callable[[list[str]], int | None], argv: list[str] | None = None
) -> int:
  """Runs a verb; a UserError becomes one line on stderr and exit code 2.

  Args:
    main: of the verb's module.
    argv: without the program and the verb; the command line's where absent.

  Returns:
    The exit code.
  """
  try:
    return main(sys.argv[1:] if argv is None else argv) or 0
  except errors.UserError as error:
    print(f"s02: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("s02: stopped by the keyboard.", file=sys.stderr)
    return 130


def usage() -> str:
  """The help text of `s02` alone."""
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
    what = f"{verb!r} is not a verb" if verb else "a verb is missing"
    print(f"s02: {what}; see `s02 --help`.", file=sys.stderr)
    sys.exit(2)
  module = importlib.import_module(f"s02jax.cli.{verb.replace('-', '_')}")
  sys.exit(run(module.main, argv))
