"""Accuracy of the times of words, on clips whose words have known times.

  s02 bench alignment --bundle DIR --corpus DIR [--split unseen] [--json FILE]

The clips are those of a corpus of `s02 corpus espeak`, spoken anew: espeak-ng
says when it begins each word. They are tokenised, their texts aligned, and the
begins compared: median and 90th percentile of the distance, by language. The
exit status is 1 above 60 ms in the median or 150 ms at the 90th percentile.
"""

import pathlib
from collections.abc import Iterator

from data_pipelines import espeak
from s02jax.bench import alignment
from s02jax.cli import bench
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.data.records import SPLITS, CorpusFiles
from s02jax.synthesis.synthesizer import Synthesizer


def main(argv: list[str]) -> int:
  """Measures and prints the accuracy; 1 where it is not what it should be."""
  parser = bench.parser("alignment", __doc__)
  add = parser.add_argument
  add("--bundle", required=True, help="folder of `s02 bundle`")
  add("--corpus", required=True, help="folder of `s02 corpus espeak`")
  add("--split", choices=SPLITS, default="unseen", help="of the corpus")
  args = parser.parse_args(argv)
  arguments = _arguments(args.corpus)
  synthesizer = Synthesizer.load(args.bundle)
  if synthesizer.rate != arguments.rate:
    raise UserError(
      f"{args.corpus} has {arguments.rate} Hz and the bundle"
      f" {synthesizer.rate} Hz; give the corpus that it was trained on."
    )
  found = alignment.measure(synthesizer, _clips(arguments, args.split))
  print(alignment.describe(found))
  if args.json:
    files.write_json(args.json, found)
  return int(not alignment.reached(found))


def _arguments(corpus: str) -> espeak.EspeakArguments:
  """Arguments that a corpus was made by; raises UserError for another kind."""
  builder = files.read_json(
    CorpusFiles(pathlib.Path(corpus)).card, "s02 corpus"
  )["builder"]
  given = dict(builder["arguments"])
  if builder["name"] != "espeak" or given.get("sentences"):
    raise UserError(
      f"{corpus} is not made by `s02 corpus espeak` of its own words; nobody"
      " knows when the words of its clips begin."
    )
  for name in ("languages", "sentence_words", "emotions"):
    given[name] = tuple(given.get(name, ()))
  return espeak.EspeakArguments(**given)


def _clips(
  arguments: espeak.EspeakArguments, split: str
) -> Iterator[alignment.Clip]:
  """Clips of a split, spoken anew."""
  for task in espeak.tasks(arguments, split):
    wave, begins = espeak.timed(task)
    yield alignment.Clip(
      wave=wave,
      text=task.text,
      language=task.speaker.language,
      begins=begins,
    )
