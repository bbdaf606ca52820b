"""Write tokens and latents beside a corpus, by two trained stages.

  s02 extract --corpus DIR --audio_tokenizer WORKDIR --flow_vae WORKDIR \\
    [--speaker_vectors]

They go to CORPUS/features; the AR model and flow matching train on them.
"""

import argparse

from data_pipelines import extract
from s02jax.cli import options
from s02jax.core import startup


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("extract", __doc__)
  add = parser.add_argument
  add("--corpus", required=True, help="folder of `s02 corpus`")
  add("--audio_tokenizer", required=True, help="workdir of `s02 train`")
  add("--flow_vae", required=True, help="workdir of `s02 train`")
  add(
    "--speaker_vectors",
    action="store_true",
    help="also GE2E vectors, for --config.model.speaker.kind=embedding",
  )
  return parser


def main(argv: list[str]) -> None:
  """Extracts the features of a corpus."""
  args = _parser().parse_args(argv)
  startup.set_up()
  extract.extract(args.corpus, args.audio_tokenizer, args.flow_vae)
  if args.speaker_vectors:
    extract.extract_speaker_vectors(args.corpus)
