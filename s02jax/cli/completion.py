"""Print a script that completes verbs, options and files in a shell.

  s02 completion bash > ~/.local/share/bash-completion/completions/s02
  s02 completion zsh > ~/.zfunc/_s02     # with ~/.zfunc in fpath
  s02 completion fish > ~/.config/fish/completions/s02.fish

The script is static: completing starts no Python. Print it again where an
update of s02jax has brought new options.
"""

import argparse

from s02jax import cli
from s02jax.cli import options
from s02jax.cli.terminal import completions


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("completion", __doc__)
  parser.add_argument(
    "shell", choices=completions.SHELLS, help="shell that is to read it"
  )
  return parser


def main(argv: list[str]) -> None:
  """Prints the script of a shell."""
  args = _parser().parse_args(argv)
  cli.tell(completions.script(args.shell, completions.commands()))
