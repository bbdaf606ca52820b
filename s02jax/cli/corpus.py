"""`s02 corpus espeak|manifest`: builds a corpus."""

import argparse
import dataclasses
import os
import pathlib

from s02jax.core.errors import UserError


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
  _add_manifest(commands.add_parser("manifest", help="your own recordings"))
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


def _add_manifest(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "manifest",
    type=pathlib.Path,
    help="JSON Lines with path (from the file's folder), text, language,"
    " speaker; and if known id, emotion, description",
  )
  _add_common(parser)
  add = parser.add_argument
  add("--min_seconds", type=float, default=0.3, help="after trimming")
  add("--max_seconds", type=float, default=30.0)
  add(
    "--unseen_speakers",
    type=float,
    default=0.1,
    help="share of the speakers who are never in train (%(default)s)",
  )
  add(
    "--unseen_budget",
    type=float,
    default=0.15,
    help="largest share of the clips this may cost train (%(default)s)",
  )
  add(
    "--held_out_texts",
    type=float,
    default=0.05,
    help="share of the texts kept for seen speakers (%(default)s)",
  )
  add(
    "--allow_empty_text",
    action="store_true",
    help="keep clips without transcript, for the audio models",
  )
  add("--seed", type=int, default=0)


def _build_manifest(arguments: argparse.Namespace) -> None:
  from data_pipelines import manifest

  manifest.build(
    arguments.manifest,
    _select(manifest.ManifestArguments, arguments),
    arguments.out,
    arguments.processes,
  )


def _select(cls: type, arguments: argparse.Namespace):
  """The dataclass of those arguments that are its fields."""
  names = {field.name for field in dataclasses.fields(cls)}
  chosen = vars(arguments).items()
  return cls(**{name: value for name, value in chosen if name in names})


def _build_espeak(arguments: argparse.Namespace) -> None:
  from data_pipelines import espeak

  espeak.build(
    _select(espeak.EspeakArguments, arguments),
    arguments.out,
    arguments.processes,
  )


def main(argv: list[str]) -> None:
  """Parses the command line and builds. Raises UserError."""
  arguments = _parser().parse_args(argv)
  if arguments.processes < 1:
    raise UserError("--processes must be at least 1")
  _BUILDERS[arguments.command](arguments)


_BUILDERS = {"espeak": _build_espeak, "manifest": _build_manifest}
