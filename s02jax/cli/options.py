"""Argument parsers of the verbs: an example, and the default of every option.

A verb's module docstring is its help text. It begins with what the verb does
and holds an example that works.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from s02jax.core.errors import UserError
from s02jax.synthesis.request import DEFAULTS, Settings


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
  """Help text that keeps line breaks and ends an option with its default."""

  def _get_help_string(self, action: argparse.Action) -> str | None:
    text, default = action.help, action.default
    hidden = default is None or default is False
    hidden |= default in (argparse.SUPPRESS, "") or default == []
    if hidden or not text or not action.option_strings:
      return text
    return text if "default: " in text else f"{text} (default: %(default)s)"


def parser(verb: str, doc: str | None, **more: Any) -> argparse.ArgumentParser:
  """Argument parser of one verb.

  Args:
    verb: its name, as it is typed after `s02`.
    doc: docstring of its module, the help text.
    **more: arguments of `argparse.ArgumentParser`.
  """
  return argparse.ArgumentParser(
    prog=f"s02 {verb}",
    description=doc,
    formatter_class=HelpFormatter,
    **more,
  )


def add_settings(parser: argparse.ArgumentParser) -> None:
  """Adds options of synthesis, all but the seed, that `settings` reads."""
  for name, kind, text in (
    ("steps", int, "steps of the solver"),
    ("guidance", float, "towards the condition; 1: none"),
    ("temperature", float, "0: the likeliest token"),
    ("top-k", int, "tokens to choose from; 0: all"),
    ("top-p", float, "probability to choose from"),
    ("repetition-penalty", float, "above 1: less of it"),
    ("repetition-window", int, "last tokens that repetitions are counted in"),
    (
      "repetition-share",
      float,
      "of them, above which a token is drawn again from all; 1: never",
    ),
    ("shortest", float, "share of a text's average length to speak at least"),
  ):
    field = name.replace("-", "_")
    parser.add_argument(
      f"--{name}", type=kind, default=getattr(DEFAULTS, field), help=text
    )


def settings(args: argparse.Namespace) -> Settings:
  """Settings of synthesis that the command line gives; raises UserError."""
  fields = {field.name for field in dataclasses.fields(Settings)}
  made = Settings(**{k: v for k, v in vars(args).items() if k in fields})
  made.check()
  return made


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
