"""Show how a text is read; train the text model of a corpus.

  s02 text --show "Am 3. Mai um 14:30 Uhr" --language de
  s02 text --show "# HOW TO START" --markup markdown --language en
  s02 text --corpus corpus --vocab_size 512
  s02 text --corpus corpus --checkpoint Qwen3-0.6B

The first two print the text in spoken words, how each step of the front end
changed it, and which part was read as what; with --bundle, as the models of a
bundle get it. The third writes text.model into the corpus, and the number of
ids of every text into its index. The fourth makes it of the tokens of a Qwen3
checkpoint, for an AR model with the same config.init_from.
"""

import argparse
import pathlib

from data_pipelines import text_model
from s02jax.bundle import load_audience
from s02jax.cli import options
from s02jax.core.errors import UserError
from s02jax.pretrained.language_models.qwen3 import Checkpoint
from s02jax.text import front
from s02jax.text.markup import reader
from s02jax.text.tokenizer import model_of_tokens


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("text", __doc__)
  add = parser.add_argument
  what = parser.add_mutually_exclusive_group(required=True)
  what.add_argument(
    "--corpus", type=pathlib.Path, help="folder of `s02 corpus`"
  )
  what.add_argument("--show", metavar="TEXT", help="text to read out in print")
  add("--language", help="code of the text's language, such as en")
  add("--markup", choices=reader.KINDS, help="marks in the text")
  add("--bundle", help="folder of `s02 bundle`: its languages and characters")
  add("--vocab_size", type=int, default=512, help="ids of the text model")
  add("--checkpoint", type=pathlib.Path, help="its tokens, and none are learnt")
  options.add_language_file(parser)
  add("--overwrite", action="store_true", help="replace another text model")
  return parser


def main(argv: list[str]) -> None:
  """Prints how a text is read, or writes the text model of a corpus."""
  args = _parser().parse_args(argv)
  options.read_language_file(args)
  if args.show is not None:
    _show(args)
    return
  for name in ("language", "markup", "bundle"):
    if getattr(args, name) is not None:
      raise UserError(f"--{name} belongs to --show, not to --corpus.")
  data = None
  if args.checkpoint is not None:
    tokens = Checkpoint(args.checkpoint).tokens()
    data = model_of_tokens(sorted(tokens, key=tokens.__getitem__))
  model = text_model.build(args.corpus, args.vocab_size, args.overwrite, data)
  print(f"Wrote {args.corpus / 'text.model'}: {model.size} ids.")


def _show(args: argparse.Namespace) -> None:
  """Prints a text in spoken words, and a line for each step and part."""
  if args.language is None and args.bundle is None:
    raise UserError("--show needs --language, such as --language en.")
  audience = load_audience(args.bundle) if args.bundle else front.ANYBODY
  found = front.read(
    args.show,
    args.language,
    audience=audience,
    markup=args.markup or "none",
  )
  print(found.text)
  for name, after in found.steps:
    if name != "words":
      print(f"  {name}: {after!r}")
  for warning in found.warnings:
    print(f"  warning: {warning}")
  for token in found.tokens:
    words = token.spoken.strip() or "(not spoken)"
    print(
      f"  {token.start}-{token.end} {token.kind}: {token.written} -> {words}"
    )
