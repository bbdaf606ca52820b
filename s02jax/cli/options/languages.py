"""Option that makes a user's own language known."""

import argparse
import pathlib

from s02jax.core import languages


def add_language_file(parser: argparse.ArgumentParser) -> None:
  """Adds --language-file to a verb that reads recordings."""
  parser.add_argument(
    "--language-file",
    type=pathlib.Path,
    help="TOML file of languages that are not in the table, see"
    " docs/new_language.md",
  )


def read_language_file(args: argparse.Namespace) -> None:
  """Makes the languages of the file known; raises UserError."""
  if args.language_file is not None:
    languages.add(languages.read_file(args.language_file))
