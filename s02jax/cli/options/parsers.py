"""Argument parsers of the verbs: an example, and the default of every option.

A verb's module docstring is its help text. It begins with what the verb does
and holds an example that works.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from s02jax.core import inputs
from s02jax.core.errors import UserError


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
  """Help text that keeps line breaks and ends an option with its default."""

  def _get_help_string(self, action: argparse.Action) -> str | None:
    text, default = action.help, action.default
    hidden = default is None or default is False
    hidden |= default in (argparse.SUPPRESS, "") or default == []
    if hidden or not text or not action.option_strings:
      return text
    return text if "default: " in text else f"{text} (default: %(default)s)"


class Parser(argparse.ArgumentParser):
  """Argument parser that suggests what a misspelt option was meant to be."""

  # argparse declares overloads for a namespace of one's own, which none has.
  def parse_args(self, args=None, namespace=None):  # type: ignore[override]
    """Parses as argparse does; raises UserError for a misspelt option."""
    self._check_spelling(sys.argv[1:] if args is None else args)
    return super().parse_args(args, namespace)

  def _check_spelling(self, words: Sequence[str]) -> None:
    """Raises UserError for a word that is almost an option, but none.

    argparse would first say which options are missing: the one meant, too.
    """
    known = names(self)
    for word in words:
      if word == "--":
        return
      name = word.partition("=")[0]
      if not name.startswith("--") or " " in name:
        continue
      if any(option.startswith(name) for option in known):
        continue  # argparse takes abbreviations
      if inputs.nearest(name, known) is not None:
        raise UserError(
          f"{name} is not an option of `{self.prog}`{inputs.hint(name, known)}."
        )


def commands(
  parser: argparse.ArgumentParser, dest: str, lines: Mapping[str, str]
) -> dict[str, argparse.ArgumentParser]:
  """Adds the commands of a verb, of which one must be given.

  Args:
    parser: of the verb.
    dest: attribute that will name the command.
    lines: what each command does, in a few words, by its name.

  Returns:
    Parsers of the commands by name.
  """
  added = parser.add_subparsers(dest=dest, required=True)
  return {
    name: added.add_parser(
      name,
      help=line,
      description=f"{line.capitalize()}.",
      formatter_class=HelpFormatter,
    )
    for name, line in lines.items()
  }


def names(parser: argparse.ArgumentParser) -> list[str]:
  """Options of a parser and of its sub-commands, the long ones."""
  found = []
  for action in parser._actions:  # argparse lists them nowhere else
    found += [name for name in action.option_strings if name[:2] == "--"]
    if isinstance(action, argparse._SubParsersAction):
      for part in action.choices.values():
        found += names(part)
  return list(dict.fromkeys(found))


def parser(verb: str, doc: str | None, **more: Any) -> argparse.ArgumentParser:
  """Argument parser of one verb.

  Args:
    verb: its name, as it is typed after `s02`.
    doc: docstring of its module, the help text.
    **more: arguments of `argparse.ArgumentParser`.
  """
  return Parser(
    prog=f"s02 {verb}",
    description=doc,
    formatter_class=HelpFormatter,
    **more,
  )
