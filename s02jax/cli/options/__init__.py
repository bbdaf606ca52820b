"""Options of the verbs: help, flags of a config, settings of synthesis."""

from s02jax.cli.options.config import config_fields, describe_config
from s02jax.cli.options.parsers import HelpFormatter, commands, names, parser
from s02jax.cli.options.synthesis import add_settings, settings

__all__ = [
  "HelpFormatter",
  "add_settings",
  "commands",
  "config_fields",
  "describe_config",
  "names",
  "parser",
  "settings",
]
