"""Write tokens and latents beside a corpus, by two trained stages.

  s02 extract --corpus DIR --audio_tokenizer WORKDIR --flow_vae WORKDIR \\
    [--speaker_vectors] [--shard 2/4]
  s02 extract --corpus DIR --teacher faster-whisper:base

They go to CORPUS/features; the AR model and flow matching train on them. The
second form writes the states of a frozen encoder, before any training, for an
audio tokenizer with `--config.loss.distillation` above 0.
On several hosts each extracts its part with `--shard`, from 1/4 to 4/4; the
command without it then puts the parts together. A command that was cut short
goes on where it was.
"""

import argparse

from data_pipelines import extract, teacher
from s02jax.cli import options
from s02jax.core import startup
from s02jax.core.errors import UserError
from s02jax.core.shard import Shard


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("extract", __doc__)
  add = parser.add_argument
  add("--corpus", required=True, help="folder of `s02 corpus`")
  add("--audio_tokenizer", help="workdir of `s02 train`, or a bundle")
  add("--flow_vae", help="workdir of `s02 train`, or a bundle")
  add("--teacher", help="frozen encoder, such as faster-whisper:base")
  add("--shard", metavar="I/N", help="extract one of N parts, as 2/4")
  add(
    "--speaker_vectors",
    action="store_true",
    help="also GE2E vectors, for --config.model.speaker.kind=embedding",
  )
  return parser


def main(argv: list[str]) -> None:
  """Extracts the features of a corpus."""
  args = _parser().parse_args(argv)
  stages = (args.audio_tokenizer, args.flow_vae)
  if None in stages and (any(stages) or args.teacher is None):
    raise UserError(
      "give both --audio_tokenizer and --flow_vae, or --teacher alone."
    )
  startup.set_up()
  if args.teacher is not None:
    teacher.extract_teacher(args.corpus, args.teacher)
  if None in stages:
    return
  shard = Shard.parse(args.shard) if args.shard else None
  extract.extract(args.corpus, *stages, shard)
  if shard is not None:
    print(f"Extracted part {shard}; run it without --shard after all parts.")
    return
  if args.speaker_vectors:
    extract.extract_speaker_vectors(args.corpus)
