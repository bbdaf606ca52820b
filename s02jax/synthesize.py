"""`s02 synthesize`: speaks a text in the voice of a reference recording.

  s02 synthesize --bundle DIR --text "Good morning." --language en \\
    --reference ref.wav [--reference-text "What ref.wav says."] --out out.wav

Without a transcript the voice is cloned zero-shot; with one, one-shot: the
speech continues the recording. The same command gives the same bytes (in .ogg
but for the number of the stream).
"""

import argparse
import dataclasses
import logging
import pathlib
import sys

from s02jax import audio, console, languages
from s02jax.cli import run
from s02jax.errors import UserError
from s02jax.synthesis.request import Request, Settings, check_text
from s02jax.synthesis.synthesizer import Synthesizer

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="s02 synthesize",
    description="Speak a text in the voice of a reference recording.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  what = parser.add_mutually_exclusive_group(required=True)
  what.add_argument("--text", help="what to say")
  what.add_argument("--text-file", help="file with what to say, UTF-8")
  parser.add_argument("--bundle", required=True, help="folder of `s02 bundle`")
  parser.add_argument("--language", required=True, help="code, such as en")
  parser.add_argument("--reference", required=True, help="recording of a voice")
  parser.add_argument("--reference-text", help="what the reference says")
  parser.add_argument(
    "--out", required=True, help="file to write: " + ", ".join(SUFFIXES)
  )
  parser.add_argument("--seed", type=int, default=0, help="of every draw")
  parser.add_argument("--steps", type=int, default=16, help="of the solver")
  parser.add_argument(
    "--guidance", type=float, default=1.5, help="towards the condition; 1: none"
  )
  parser.add_argument(
    "--temperature", type=float, default=0.7, help="0: the likeliest token"
  )
  parser.add_argument(
    "--top-k", type=int, default=0, help="tokens to choose from; 0: all"
  )
  parser.add_argument(
    "--top-p", type=float, default=1.0, help="probability to choose from"
  )
  parser.add_argument(
    "--repetition-penalty", type=float, default=1.0, help="above 1: less of it"
  )
  return parser


def _text(args: argparse.Namespace) -> str:
  if args.text is not None:
    return args.text
  try:
    return " ".join(pathlib.Path(args.text_file).read_text("utf-8").split())
  except (OSError, UnicodeDecodeError) as e:
    raise UserError(
      f"{args.text_file}: cannot be read ({e}); give a text file in UTF-8."
    ) from e


def _check_out(out: str) -> None:
  """Raises UserError before any work where the result could not be written."""
  path = pathlib.Path(out)
  if path.suffix.lower() not in SUFFIXES:
    raise UserError(f"{out}: the suffix must be one of {', '.join(SUFFIXES)}.")
  if not path.parent.is_dir():
    raise UserError(f"{out}: there is no folder {path.parent}; make it first.")


def main(argv: list[str]) -> None:
  """The verb."""
  args = _parser().parse_args(argv)
  console.set_up()
  settings = Settings(
    seed=args.seed,
    steps=args.steps,
    guidance=args.guidance,
    temperature=args.temperature,
    top_k=args.top_k,
    top_p=args.top_p,
    repetition_penalty=args.repetition_penalty,
  )
  settings.check()
  _check_out(args.out)
  text = check_text(_text(args), args.language)
  wave, rate = audio.read(args.reference)
  synthesizer = Synthesizer.load(args.bundle)
  language = languages.resolve(args.language)
  if language.code not in synthesizer.languages:
    logging.warning(
      "this bundle never heard %s; it knows %s",
      language.name,
      ", ".join(synthesizer.languages),
    )
  request = Request(
    text=text,
    language=language.code,
    reference=audio.resample(wave, rate, synthesizer.rate),
    reference_text=args.reference_text,
  )
  logging.info(
    "speaking %d characters of %s in the voice of %s",
    len(text),
    language.name,
    args.reference,
  )
  (spoken,) = synthesizer.synthesize([request], **dataclasses.asdict(settings))
  seconds = len(spoken.wave) / synthesizer.rate
  if spoken.redrawn:
    logging.info("a loop or a long silence was drawn anew")
  if not spoken.ended:
    logging.warning(
      "stopped after %.1f s without an end: try another --seed, or a shorter"
      " text",
      seconds,
    )
  audio.write(args.out, spoken.wave, synthesizer.rate)
  print(f"Wrote {args.out}: {seconds:.2f} s.")


if __name__ == "__main__":
  sys.exit(run(main))
