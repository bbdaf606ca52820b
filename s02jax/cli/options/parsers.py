"""Argument parsers of the verbs: an example, and the default of every option.

A verb's module docstring is its help text. It begins with what the verb does
and holds an example that works.
"""

import argparse
from typing import Any


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
