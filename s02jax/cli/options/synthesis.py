"""Settings of synthesis as options of a verb."""

import argparse
import dataclasses

from s02jax.synthesis.request import DEFAULTS, Settings


def add_settings(parser: argparse.ArgumentParser) -> None:
  """Adds options of synthesis, all but the seed, that `settings` reads."""
  for name, kind, text in (
    ("steps", int, "of the solver (default: the model's own, 16 or a few)"),
    (
      "guidance",
      float,
      "towards the condition; 1: none (default: the model's own, 1.5 or none)",
    ),
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
