"""Build a corpus of speech.

  s02 corpus espeak --out corpus
  s02 corpus natural --languages en --hours 17 --out corpus
  s02 corpus manifest clips.jsonl --out corpus --rate 16000
  s02 corpus build recordings --out corpus --config configs/corpora/wheels.py

`espeak` makes synthetic speakers who say random sentences; `natural` makes
natural ones who say everyday sentences and WordNet's; `manifest` reads clips of
your own; `build` cuts long recordings, hears and checks them, on one machine or
many. `s02 corpus espeak --help` shows the options of the first.
"""

import argparse
import dataclasses
import logging
import os
import pathlib

from s02jax import cli
from s02jax.cli import options
from s02jax.core.errors import UserError
from s02jax.core.shard import Shard


def _codes(text: str) -> tuple[str, ...]:
  return tuple(code.strip() for code in text.split(",") if code.strip())


def _pair(text: str) -> tuple[int, int]:
  fewest, comma, most = text.partition(",")
  return int(fewest), int(most if comma else fewest)


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("corpus", __doc__)
  commands = parser.add_subparsers(dest="command", required=True)
  for name, line, add in (
    ("espeak", "synthetic speakers", _add_espeak),
    ("natural", "natural voices", _add_natural),
    ("manifest", "your own recordings", _add_manifest),
    ("build", "long or unchecked recordings", _add_build),
  ):
    add(
      commands.add_parser(
        name,
        help=line,
        description=f"Build a corpus of {line}.",
        formatter_class=options.HelpFormatter,
      )
    )
  return parser


def _add_common(parser: argparse.ArgumentParser, rate: int = 16_000) -> None:
  add = parser.add_argument
  add("--out", type=pathlib.Path, required=True, help="folder to write")
  add("--rate", type=int, default=rate, help="Hz of the corpus")
  add(
    "--processes",
    type=int,
    default=os.cpu_count(),
    help="processes that make clips",
  )
  add("--seed", type=int, default=0, help="seed of every choice")


def _add_espeak(parser: argparse.ArgumentParser) -> None:
  _add_common(parser)
  add = parser.add_argument
  add(
    "--languages",
    type=_codes,
    default=("en", "es", "de"),
    help="their codes (default: en,es,de)",
  )
  add("--speakers", type=int, default=240, help="speakers in train")
  add("--clips_per_speaker", type=int, default=8, help="their clips in train")
  add("--seen_speakers", type=int, default=40, help="train speakers in seen")
  add("--seen_clips", type=int, default=2, help="clips of each in seen")
  add("--unseen_speakers", type=int, default=24, help="speakers not in train")
  add("--unseen_clips", type=int, default=6, help="clips of each in unseen")
  add("--words", type=int, default=40, help="words per language to use")
  add(
    "--sentence_words",
    type=_pair,
    default=(3, 6),
    help="fewest,most words of a sentence (default: 3,6)",
  )
  add("--sentences", default="", help="file of language|text lines to speak")
  add(
    "--emotions",
    type=_codes,
    default=[],
    help="prosodies in which every sentence is said, such as neutral,sad,happy",
  )


def _add_natural(parser: argparse.ArgumentParser) -> None:
  _add_common(parser, rate=24_000)
  add = parser.add_argument
  add(
    "--languages",
    type=_codes,
    default=("en",),
    help="their codes (default: en)",
  )
  add("--hours", type=float, default=17.0, help="of speech in train, about")
  add("--speakers", type=int, default=640, help="speakers in train, about")
  add(
    "--kokoro_share",
    type=float,
    default=0.25,
    help="share of the speakers whom the slower engine speaks, in mixtures of"
    " its styles; the rest are one voice changed",
  )
  add("--seen_speakers", type=int, default=60, help="train speakers in seen")
  add("--seen_clips", type=int, default=2, help="clips of each in seen")
  add("--unseen_speakers", type=int, default=42, help="speakers not in train")
  add("--unseen_clips", type=int, default=5, help="clips of each in unseen")
  add(
    "--wordnet",
    type=pathlib.Path,
    help="folder with WordNet's data files (default: Debian's place)",
  )
  add(
    "--exclude",
    type=pathlib.Path,
    action="append",
    default=[],
    help="file or folder of texts that nobody may say, such as a benchmark's;"
    " may be given again",
  )
  add(
    "--with",
    dest="people",
    type=pathlib.Path,
    help="manifest of recordings that join, if their `licence` permits any use",
  )
  add(
    "--clips",
    type=pathlib.Path,
    help="folder that keeps what the engines spoke, for another corpus"
    " (default: beside --out until that is finished)",
  )


def _add_manifest(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "manifest",
    type=pathlib.Path,
    help="JSON Lines with path (from the file's folder), text, language,"
    " speaker; and if known id, emotion, description",
  )
  _add_common(parser)
  options.add_language_file(parser)
  add = parser.add_argument
  add("--min_seconds", type=float, default=0.3, help="shortest, after trimming")
  add("--max_seconds", type=float, default=30.0, help="longest, after trimming")
  add(
    "--unseen_speakers",
    type=float,
    default=0.1,
    help="share of the speakers who are never in train",
  )
  add(
    "--unseen_budget",
    type=float,
    default=0.15,
    help="largest share of the clips this may cost train",
  )
  add(
    "--held_out_texts",
    type=float,
    default=0.05,
    help="share of the texts kept for seen speakers",
  )
  add(
    "--sounds",
    type=float,
    default=0.0,
    help="share of the Chinese and English words in train that are written as"
    " pinyin and ARPAbet, so that such words can be spoken; 0.15, say",
  )
  add(
    "--allow_empty_text",
    action="store_true",
    help="keep clips without transcript, for the audio models",
  )


def _add_build(parser: argparse.ArgumentParser) -> None:
  add = parser.add_argument
  add(
    "source",
    help="folder, pattern, .tar, or JSON Lines with path and if known text,"
    " segments, language, speaker",
  )
  add("--out", type=pathlib.Path, required=True, help="folder to write")
  add(
    "--config",
    default="",
    help="file of configs/corpora/; --config.FIELD=VALUE sets a field, such as"
    " --config.rate=24000 or --config.without=quality,duplicates",
  )
  add(
    "--runner",
    default="DirectRunner",
    help="of Apache Beam: DirectRunner on this machine, FlinkRunner,"
    " SparkRunner, DataflowRunner; its own options, such as"
    " --flink_master=HOST:PORT, are handed on",
  )
  add("--processes", type=int, default=1, help="workers of DirectRunner")
  add(
    "--shard",
    default="1/1",
    help="part of the shards to hear, as 2/4",
  )


def _build_recordings(
  arguments: argparse.Namespace, fields: list[str], others: list[str]
) -> None:
  # Beam warns of every service that it was installed without.
  logging.disable(logging.WARNING)
  try:
    from data_pipelines.recordings import build, settings
  except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "apache_beam":
      raise
    raise UserError(
      "corpora of recordings are built by Apache Beam, which is not installed:"
      " pip install 's02jax[beam]'"
    ) from error
  if arguments.runner not in build.RUNNERS:
    known = ", ".join(build.RUNNERS)
    raise UserError(f"--runner {arguments.runner} is not one of {known}")
  values = (field.removeprefix("--config.").partition("=") for field in fields)
  build.build(
    arguments.source,
    settings.read(arguments.config, {name: value for name, _, value in values}),
    arguments.out,
    build.Engine(
      runner=arguments.runner,
      workers=arguments.processes,
      options=tuple(others),
    ),
    cli.tell,
    Shard.parse(arguments.shard),
  )


def _build_manifest(arguments: argparse.Namespace) -> None:
  from data_pipelines import manifest

  options.read_language_file(arguments)
  manifest.build(
    arguments.manifest,
    _select(manifest.ManifestArguments, arguments),
    arguments.out,
    arguments.processes,
    cli.tell,
  )


def _select(cls: type, arguments: argparse.Namespace):
  """Makes a dataclass of the arguments that are its fields."""
  names = {field.name for field in dataclasses.fields(cls)}
  chosen = vars(arguments).items()
  return cls(**{name: value for name, value in chosen if name in names})


def _build_espeak(arguments: argparse.Namespace) -> None:
  from data_pipelines import espeak

  espeak.build(
    _select(espeak.EspeakArguments, arguments),
    arguments.out,
    arguments.processes,
    cli.tell,
  )


def _build_natural(arguments: argparse.Namespace) -> None:
  from data_pipelines.natural import builder

  builder.build(
    _select(builder.NaturalArguments, arguments),
    builder.Sources(
      wordnet=arguments.wordnet,
      exclude=tuple(arguments.exclude),
      people=arguments.people,
      clips=arguments.clips,
    ),
    arguments.out,
    arguments.processes,
    cli.tell,
  )


def main(argv: list[str]) -> None:
  """Builds a corpus."""
  fields, words = options.config_fields(argv)
  parser = _parser()
  arguments, others = parser.parse_known_args(words)
  is_local = getattr(arguments, "runner", "DirectRunner") == "DirectRunner"
  if (others and is_local) or (fields and arguments.command != "build"):
    parser.error(f"unrecognized arguments: {' '.join(others or fields)}")
  if arguments.processes < 1:
    raise UserError("--processes must be at least 1")
  if arguments.command == "build":
    _build_recordings(arguments, fields, others)
  else:
    _BUILDERS[arguments.command](arguments)


_BUILDERS = {
  "espeak": _build_espeak,
  "natural": _build_natural,
  "manifest": _build_manifest,
}
