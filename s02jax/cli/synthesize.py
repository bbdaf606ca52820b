"""Speak a text of any length in somebody's voice.

  s02 synthesize --bundle DIR --text "Good morning." --language en \\
    --reference ref.wav [--reference-text "What ref.wav says."] --out out.wav
  s02 synthesize --bundle DIR --text-file book.txt --voice anna:0.7 \\
    --voice ben:0.3 --speed 1.1 --out book.opus

Without a transcript a reference's voice is cloned zero-shot; with one,
one-shot: the speech continues the recording. `<#1.5#>` in the text is a pause
of 1.5 seconds. The same command gives the same bytes (in .ogg and .opus but
for the number of the stream).
"""

import argparse
import logging
import pathlib

from s02jax.audio import effects, writer
from s02jax.bundle import Bundle
from s02jax.cli import options
from s02jax.core import languages, startup
from s02jax.core.errors import UserError
from s02jax.synthesis import long_text, voice_store
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.voice import Transcript
from s02jax.text.checks import check_words
from s02jax.text.pronunciation import Pronunciation

AUTO = "auto"


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("synthesize", __doc__)
  add = parser.add_argument
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--text", help="text to say; <#1.5#> is a pause of 1.5 s")
  source.add_argument("--text-file", help="file with the text to say, UTF-8")
  add("--bundle", required=True, help="folder of `s02 bundle`")
  add("--language", default=AUTO, help="code, such as en")
  who = parser.add_mutually_exclusive_group(required=True)
  who.add_argument("--reference", nargs="+", help="recordings of one voice")
  who.add_argument(
    "--voice",
    action="append",
    metavar="NAME[:WEIGHT]",
    help="voice of `s02 voice add`; several are mixed, at most four",
  )
  add("--reference-text", help="words of the first reference: one-shot")
  add("--reference-language", help="code of their language, if not the text's")
  add("--out", required=True, help="file: " + ", ".join(writer.FORMATS))
  add("--pronunciation", help=".tsv or .json of words and respellings")
  add("--speed", type=float, default=1.0, help="0.5 to 2, at the same pitch")
  add("--pitch", type=float, default=0.0, help="semitones, -12 to 12")
  add("--volume", type=float, default=1.0, help="factor, up to 10")
  add("--rate", type=int, help="Hz of the file, if not the bundle's")
  parser.add_argument("--seed", type=int, default=0, help="seed of every draw")
  options.add_settings(parser)
  return parser


def _text(args: argparse.Namespace) -> str:
  """Text that the command line gives or names; raises UserError."""
  if args.text is not None:
    return args.text
  try:
    return pathlib.Path(args.text_file).read_text("utf-8-sig")
  except (OSError, UnicodeDecodeError) as e:
    raise UserError(
      f"{args.text_file}: cannot be read ({e}); give a text file in UTF-8."
    ) from e


def _checked_text(args: argparse.Namespace) -> long_text.LongText:
  """Text to be spoken, respelt and checked; raises UserError."""
  pronunciation = None
  if args.pronunciation is not None:
    pronunciation = Pronunciation.load(args.pronunciation)
  language = None if args.language.lower() == AUTO else args.language
  return long_text.read(_text(args), language, pronunciation)


def _transcript(args: argparse.Namespace, language: str) -> Transcript | None:
  """Transcript of the first reference, in `language` where none is given.

  Raises:
    UserError: it has no words, its language is unknown, or it has no reference.
  """
  if args.reference_text is None:
    return None
  if args.voice:
    raise UserError("--reference-text belongs to --reference, not to --voice.")
  return Transcript(
    text=check_words(args.reference_text, "reference's transcript"),
    language=languages.resolve(args.reference_language or language).code,
  )


def main(argv: list[str]) -> None:
  """Speaks a text into a file."""
  args = _parser().parse_args(argv)
  startup.set_up()
  # What can be wrong without the models is said before they are loaded.
  settings = options.settings(args)
  changes = effects.Changes(
    speed=args.speed, pitch=args.pitch, volume=args.volume, rate=args.rate
  )
  writer.check_out(args.out, args.rate)
  text = _checked_text(args)
  transcript = _transcript(args, text.language)
  weights = voice_store.parse_mixture(args.voice or [])

  bundle = Bundle.load(args.bundle)
  synthesizer = Synthesizer(bundle)
  language = languages.BY_CODE[text.language]
  if language.code not in synthesizer.languages:
    logging.warning(
      "this bundle never heard %s; it knows %s",
      language.name,
      ", ".join(synthesizer.languages),
    )
  if args.voice:
    voice = voice_store.mixed(synthesizer, args.bundle, weights)
  else:
    voice, _ = voice_store.recorded(synthesizer, args.reference, transcript)
  logging.info(
    "speaking %d characters of %s in the voice of %s",
    len(text.text),
    language.name,
    ", ".join(args.voice or args.reference),
  )
  blocks = long_text.speak(
    synthesizer,
    text.parts(long_text.trained_context(bundle)),
    voice=voice,
    settings=settings,
    changes=changes,
  )
  with writer.Writer(args.out, args.rate or synthesizer.rate) as out:
    for block in blocks:
      out.write(block)
  print(f"Wrote {args.out}: {out.seconds:.2f} s.")
