"""Write tokens and latents beside a corpus, by two trained stages.

  s02 extract --corpus DIR --audio_tokenizer WORKDIR --flow_vae WORKDIR \\
    [--speaker_vectors] [--shard 2/4]
  s02 extract --corpus DIR --bundle BUNDLE [--shard 2/4]
  s02 extract --corpus DIR --teacher faster-whisper:base

They go to CORPUS/features; the AR model and flow matching train on them. The
second form is for what trains on a bundle, such as configs/distillation.py: it
keeps the bundle's statistics of the latents. The third writes the states of a
frozen encoder, before any training, for an audio tokenizer with
`--config.loss.distillation` above 0.
On several hosts each extracts its part with `--shard`, from 1/4 to 4/4; the
command without it then puts the parts together. A command that was cut short
goes on where it was.
"""

import argparse

from data_pipelines import extract, teacher
from s02jax.bundle import Bundle
from s02jax.cli import options
from s02jax.core import startup
from s02jax.core.errors import UserError
from s02jax.core.shard import WHOLE, Shard


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("extract", __doc__)
  add = parser.add_argument
  add("--corpus", required=True, help="folder of `s02 corpus`")
  add("--audio_tokenizer", help="workdir of `s02 train`, or a bundle")
  add("--flow_vae", help="workdir of `s02 train`, or a bundle")
  add("--bundle", help="of `s02 bundle`, in place of both")
  add("--teacher", help="frozen encoder, such as faster-whisper:base")
  add("--shard", default="1/1", help="part of the work, as 2/4")
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
  if args.bundle is not None:
    wrong = any(stages)
  else:
    wrong = None in stages and (any(stages) or args.teacher is None)
  if wrong:
    raise UserError(
      "give both --audio_tokenizer and --flow_vae, or --bundle or --teacher"
      " alone."
    )
  shard = Shard.parse(args.shard)
  if shard != WHOLE and args.teacher is not None:
    raise UserError(
      "--teacher takes no --shard: one command writes its states."
    )
  startup.set_up()
  if args.bundle is not None:
    extract.extract_by(args.corpus, Bundle.load(args.bundle), shard)
  if args.teacher is not None:
    teacher.extract_teacher(args.corpus, args.teacher)
  if None not in stages:
    extract.extract(args.corpus, *stages, shard)
  if shard != WHOLE:
    print(f"Extracted part {shard}; run it without --shard after all parts.")
    return
  if args.speaker_vectors:
    extract.extract_speaker_vectors(args.corpus)
