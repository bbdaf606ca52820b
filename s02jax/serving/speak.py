"""Command line of an export: speaks a text from the folder of this file.

  python speak.py --text "The light is on." --language en --voice anna \
    --out out.wav
  python speak.py --text … --language en --reference clip.wav --out out.wav

A reference is a WAV file of 16 bits, one channel and the models' rate.
"""

import argparse
import dataclasses
import pathlib
import sys
import time
import wave

import numpy as np

from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.serving.runtime import Runtime
from s02jax.synthesis.request import Request, Settings, setting_kinds
from s02jax.synthesis.voice import Transcript, Voice


def main(argv: list[str], folder: pathlib.Path) -> None:
  """Speaks one text into a WAV file.

  Args:
    argv: the command line's arguments.
    folder: of the export.
  """
  parser = argparse.ArgumentParser(description="Speak a text.")
  add = parser.add_argument
  add("--text", required=True, help="to be said")
  add("--language", required=True, help="its code, such as en")
  add("--voice", help="a stored one")
  add("--emotion", help="such as sad, sad:0.6, or sad:0.5,happy:0.3")
  add("--reference", help="a WAV file of a speaker")
  add("--reference-text", help="what is said there, for one-shot cloning")
  add("--reference-language", help="its code, if not the text's")
  add("--out", required=True, type=pathlib.Path, help="a WAV file to write")
  defaults = dataclasses.asdict(Settings())
  for name, kind in setting_kinds().items():
    option = "--" + name.replace("_", "-")
    add(option, type=kind, default=defaults[name], help="(%(default)s)")
  args = parser.parse_args(argv)
  if (args.voice is None) == (args.reference is None):
    raise UserError("give either --voice or --reference.")
  began = time.perf_counter()
  runtime = Runtime.load(folder)
  loaded = time.perf_counter()
  request = Request(
    text=args.text,
    language=args.language,
    voice=_voice(runtime, args),
    emotion=args.emotion,
  )
  settings = {name: getattr(args, name) for name in defaults}
  pieces, first = [], None
  for piece in runtime.stream(request, **settings):
    first = first or time.perf_counter()
    pieces.append(piece)
  write(args.out, np.concatenate(pieces or [np.zeros(0)]), runtime.rate)
  print(
    f"Wrote {args.out}. Loaded in {loaded - began:.1f} s, first sound"
    f" {(first or time.perf_counter()) - loaded:.1f} s after it."
  )


def _voice(runtime: Runtime, args: argparse.Namespace) -> Voice:
  """Voice that the command line names, stored or of a reference."""
  if args.voice is not None:
    return runtime.stored(args.voice)
  reference = read(args.reference, runtime.rate)
  said = None
  if args.reference_text is not None:
    said = Transcript(
      text=args.reference_text,
      language=args.reference_language or args.language,
    )
  (voice,) = runtime.voices([reference], [said])
  return voice


def read(path: str, rate: int) -> np.ndarray:
  """Reads the samples float32 [n] of a WAV file.

  Raises:
    UserError: not 16 bits, one channel and this rate.
  """
  try:
    with wave.open(path) as file:
      found = file.getsampwidth(), file.getnchannels(), file.getframerate()
      data = file.readframes(file.getnframes())
  except (OSError, wave.Error, EOFError) as error:
    raise UserError(f"{path} is no WAV file that can be read: {error}.") from (
      error
    )
  if found != (2, 1, rate):
    raise UserError(
      f"{path} has {8 * found[0]} bits, {found[1]} channels and {found[2]} Hz;"
      f" give 16 bits, one channel and {rate} Hz."
    )
  return np.frombuffer(data, "<i2").astype(np.float32) / 2**15


def write(path: pathlib.Path, samples: np.ndarray, rate: int) -> None:
  """Writes samples float [n] to a WAV file of 16 bits and one channel."""
  whole = np.round(np.clip(samples, -1, 1) * (2**15 - 1)).astype("<i2")
  with (
    files.explain_errors(path, "the speech"),
    files.atomic(path) as part,
    wave.open(str(part), "wb") as file,
  ):
    file.setparams((1, 2, rate, 0, "NONE", ""))
    file.writeframes(whole.tobytes())


if __name__ == "__main__":
  try:
    main(sys.argv[1:], pathlib.Path(__file__).parent)
  except UserError as fault:
    sys.exit(f"speak: {fault}")
