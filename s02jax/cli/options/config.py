"""Fields of a config on a verb's command line, `--config.field=value`."""

import argparse
from collections.abc import Sequence

from s02jax.core.errors import UserError


def config_fields(argv: Sequence[str]) -> tuple[list[str], list[str]]:
  """Splits a command line into `--config.field=value` words and the others.

  Raises:
    UserError: a field without a value.
  """
  fields = [word for word in argv if word.startswith("--config.")]
  for field in fields:
    if "=" not in field:
      raise UserError(f"{field}: give it as {field}=VALUE.")
  return fields, [word for word in argv if word not in fields]


def describe_config(parser: argparse.ArgumentParser) -> None:
  """Adds to the help what `training.arguments` reads, not the parser."""
  parser.add_argument_group(
    "config (required)",
    "--config FILE:SIZE      a file of configs/ and one of its sizes\n"
    "  --config.FIELD=VALUE    any field of it, such as"
    " --config.model.dtype=float32",
  )
