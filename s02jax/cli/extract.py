"""`s02 extract`: tokens and latents of a corpus, by two trained stages.

s02 extract --corpus DIR --audio_tokenizer WORKDIR --flow_vae WORKDIR
  [--speaker_vectors]
"""

import argparse

from data_pipelines import extract
from s02jax.core import startup


def main(argv: list[str]) -> None:
  """The verb."""
  parser = argparse.ArgumentParser(
    prog="s02 extract", description="Write tokens and latents beside a corpus."
  )
  parser.add_argument("--corpus", required=True, help="folder of `s02 corpus`")
  parser.add_argument(
    "--audio_tokenizer", required=True, help="workdir of `s02 train`"
  )
  parser.add_argument(
    "--flow_vae", required=True, help="workdir of `s02 train`"
  )
  parser.add_argument(
    "--speaker_vectors",
    action="store_true",
    help="also GE2E vectors, for --config.model.speaker.kind=embedding",
  )
  args = parser.parse_args(argv)
  startup.set_up()
  extract.extract(args.corpus, args.audio_tokenizer, args.flow_vae)
  if args.speaker_vectors:
    extract.extract_speaker_vectors(args.corpus)
