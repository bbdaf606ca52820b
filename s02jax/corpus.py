"""`s02 corpus espeak|manifest`: builds a corpus."""

import argparse
import dataclasses
import os
import pathlib
import sys

from s02jax.errors import UserError


def _codes(text: str) -> tuple[str, ...]:
  return tuple(code.strip() for code in text.split(",") if code.strip())


def _pair(text: str) -> tuple[int, int]:
  fewest, comma, most = text.partition(",")
  return int(fewest), int(most if comma else fewest)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="s02 corpus", description="Build a corpus of speech."
  )
  commands = parser.add_subparsers(dest="command", required=True)
  _add_espeak(commands.add_parser("espeak", help="synthetic speakers"))
  return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--out", type=pathlib.Path, required=True, help="folder to write"
  )
  parser.add_argument(
    "--rate", type=int, default=16_000, help="Hz of the corpus (%(default)s)"
  )
  parser.add_argument(
    "--processes",
    type=int,
    default=os.cpu_count(),
    help="processes that make clips (%(default)s)",
  )


def _add_espeak(parser: argparse.ArgumentParser) -> None:
  _add_common(parser)
  add = parser.add_argument
  add("--languages", type=_codes, default=("en", "es", "de"), help="codes")
  add("--speakers", type=int, default=240, help="of train (%(default)s)")
  add("--clips_per_speaker", type=int, default=8, help="in train")
  add("--seen_speakers", type=int, default=40, help="train speakers in seen")
  add("--seen_clips", type=int, default=2, help="of each of them")
  add("--unseen_speakers", type=int, default=24, help="never in train")
  add("--unseen_clips", type=int, default=6, help="of each of them")
  add("--words", type=int, default=40, help="words per language to use")
  add("--sentence_words", type=_pair, default=(3, 6), help="fewest,most")
  add("--seed", type=int, default=0)
  add("--sentences", default="", help="file of language|text lines to speak")


def _build_espeak(arguments: argparse.Namespace) -> None:
  from data_pipelines import espeak

  names = {field.name for field in dataclasses.fields(espeak.EspeakArguments)}
  chosen = {
    name: value for name, value in vars(arguments).items() if name in names
  }
  espeak.build(
    espeak.EspeakArguments(**chosen), arguments.out, arguments.processes
  )


def main(argv: list[str]) -> None:
  """Parses the command line and builds. Raises UserError."""
  arguments = _parser().parse_args(argv)
  if arguments.processes < 1:
    raise UserError("--processes must be at least 1")
  _BUILDERS[arguments.command](arguments)


_BUILDERS = {"espeak": _build_espeak}

if __name__ == "__main__":
  from s02jax.cli import run

  sys.exit(run(main))
