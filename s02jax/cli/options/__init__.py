"""Options of the verbs: help, flags of a config, settings of synthesis."""

from s02jax.cli.options.config import config_fields, describe_config
from s02jax.cli.options.languages import (
  add_language_file,
  read_language_file,
)
from s02jax.cli.options.parsers import HelpFormatter, commands, names, parser
from s02jax.cli.options.synthesis import add_settings, settings

__all__ = [
  "HelpFormatter",
  "add_language_file",
  "add_settings",
  "commands",
  "config_fields",
  "describe_config",
  "names",
  "parser",
  "read_language_file",
  "settings",
]
