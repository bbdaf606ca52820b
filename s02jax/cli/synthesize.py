"""Speak a text of any length in somebody's voice.

  s02 synthesize --bundle DIR --text "happy children" --language en \\
    --reference ref.wav [--reference-text "What ref.wav says."] --out out.wav
  s02 synthesize --bundle DIR --text-file book.txt --voice anna:0.7 \\
    --voice ben:0.3 --speed 1.1 --out book.opus
  s02 synthesize --bundle DIR --text-file - --voice anna --out - | play -

Without a transcript a reference's voice is cloned zero-shot; with one,
one-shot: the speech continues the recording. `<#1.5#>` in the text is a pause
of 1.5 seconds. A file's suffix tells its marks: .md, .ssml, .srt; any other
text is read without, but for `<break time="1s"/>`. What is not spoken is named
on stderr, once. --subtitles also writes which word is heard when. The same
command gives the same bytes (in .ogg and .opus but for the number of the
stream).
"""

import argparse
import logging
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterable

import numpy as np

from s02jax import cli
from s02jax.audio import effects, writer
from s02jax.bundle import load_audience
from s02jax.cli import options
from s02jax.cli.terminal.progress import Progress
from s02jax.core import languages, startup
from s02jax.core.errors import UserError
from s02jax.synthesis import long_text, voice_store
from s02jax.synthesis.alignment import Word
from s02jax.synthesis.voice_system import VoiceSystem
from s02jax.text.checks import check_words
from s02jax.text.markup import captions, reader
from s02jax.text.pronunciation import Pronunciation

AUTO = "auto"
STANDARD = "-"  # in place of a file: stdin or stdout


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("synthesize", __doc__)
  add = parser.add_argument
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--text", help="text to say; <#1.5#> is a pause of 1.5 s")
  source.add_argument("--text-file", help="file of the text, UTF-8; -: stdin")
  add("--bundle", required=True, help="folder of `s02 bundle`")
  add("--language", default=AUTO, help="code, such as en")
  add(
    "--markup",
    choices=reader.KINDS,
    help="marks in the text, if the suffix does not tell",
  )
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
  add(
    "--out",
    required=True,
    help="file: " + ", ".join(writer.FORMATS) + "; -: WAV to stdout",
  )
  add("--subtitles", help="file: .srt, .vtt or .json, words with their times")
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
    if args.text_file == STANDARD:
      return sys.stdin.buffer.read().decode("utf-8-sig")
    return pathlib.Path(args.text_file).read_text("utf-8-sig")
  except (OSError, UnicodeDecodeError) as e:
    raise UserError(
      f"{args.text_file}: cannot be read ({e}); give a text file in UTF-8."
    ) from e


def _checked_text(args: argparse.Namespace) -> long_text.LongText:
  """Text to be spoken, in words and checked; raises UserError."""
  pronunciation = None
  if args.pronunciation is not None:
    pronunciation = Pronunciation.load(args.pronunciation)
  language = None if args.language.lower() == AUTO else args.language
  return long_text.read(
    _text(args),
    language,
    pronunciation,
    audience=load_audience(args.bundle),
    markup=args.markup or reader.kind_of(args.text_file or ""),
  )


def main(argv: list[str]) -> None:
  """Speaks a text into a file."""
  args = _parser().parse_args(argv)
  startup.set_up()
  # What can be wrong without the models is said before they are loaded.
  settings = options.settings(args)
  if args.out != STANDARD:
    writer.check_out(args.out, args.rate)
  elif sys.stdout.isatty():
    raise UserError("--out - writes sound: send stdout to a file or a program.")
  if args.subtitles is not None:
    captions.check_out(args.subtitles)
  changes = effects.Changes(
    speed=args.speed, pitch=args.pitch, volume=args.volume, rate=args.rate
  )
  if args.reference_text is not None:
    if args.voice:
      raise UserError(
        "--reference-text belongs to --reference, not to --voice."
      )
    check_words(args.reference_text, "reference's transcript")
  text = _checked_text(args)
  weights = voice_store.parse_mixture(args.voice or [])
  with Progress() as progress:
    system = VoiceSystem.load(args.bundle)
    voice = system.voice(
      weights or args.reference,
      reference_text=args.reference_text,
      reference_language=args.reference_language,
      language=text.language,
    )
    logging.info(
      "speaking %d characters of %s in the voice of %s",
      len(text.text),
      languages.BY_CODE[text.language].name,
      ", ".join(args.voice or args.reference),
    )
    words: list[Word] = []
    blocks = system.speak(
      text,
      voice,
      settings=settings,
      changes=changes,
      timed=None if args.subtitles is None else words.extend,
    )
    rate = args.rate or system.rate
    heard = progress.count(blocks, rate)
    if args.out == STANDARD:
      _write_to_stdout(heard, rate)
    else:
      seconds = _write(heard, args.out, rate)
      cli.tell(f"Wrote {args.out}: {seconds:.2f} s.")
  if args.subtitles is not None:
    separator = languages.BY_CODE[text.language].separator
    captions.write(args.subtitles, words, separator)


def _write(blocks: Iterable[np.ndarray], path, rate: int) -> float:
  """Writes blocks of sound into a file; returns its seconds."""
  with writer.SoundWriter(path, rate) as out:
    for block in blocks:
      out.write(block)
  return out.seconds


def _write_to_stdout(blocks: Iterable[np.ndarray], rate: int) -> None:
  """Writes blocks of sound to stdout as WAV, by way of a file.

  The header of a WAV file has its length: all is made before it is written.

  Raises:
    UserError: nobody reads stdout any more.
  """
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "out.wav"
    seconds = _write(blocks, path, rate)
    try:
      with open(path, "rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
      sys.stdout.buffer.flush()
    except BrokenPipeError as error:
      raise UserError("stdout was closed before all sound was read.") from error
  logging.info("wrote %.2f s to stdout", seconds)
