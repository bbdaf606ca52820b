"""Options of the verbs: their parsers' help, and the flags of a config."""

from s02jax.cli.options.config import config_fields, describe_config
from s02jax.cli.options.parsers import HelpFormatter, names, parser

__all__ = [
  "HelpFormatter",
  "config_fields",
  "describe_config",
  "names",
  "parser",
]
