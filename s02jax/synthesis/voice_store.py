"""The named voices of a bundle: one file each in its folder voices/.

A file is what `Voice.save` writes, with two more lines in its header: the
seconds of speech it was made of, and when.
"""

import dataclasses
import datetime
import pathlib
import re
from collections.abc import Sequence

import safetensors
import safetensors.numpy

from s02jax.audio import loudness, spectra
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.synthesis import voice as voice_lib
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.voice import MOST, Voice

SUFFIX = ".safetensors"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def names(bundle) -> list[str]:
  """Of all voices of the bundle at `bundle`, in order."""
  files = folder(bundle).glob(f"*{SUFFIX}")
  return sorted(p.stem for p in files if _NAME.fullmatch(p.stem))


def folder(bundle) -> pathlib.Path:
  """Where the voices of the bundle at `bundle` lie; it need not exist."""
  if not (pathlib.Path(bundle) / "config.json").is_file():
    raise UserError(
      f"{bundle}: not a bundle; give the folder that `s02 bundle` wrote."
    )
  return pathlib.Path(bundle) / "voices"


def path(bundle, name: str) -> pathlib.Path:
  """The file of a voice, which need not exist. Raises UserError for a name."""
  if not _NAME.fullmatch(name):
    raise UserError(
      f"{name!r} is no name for a voice: use at most 64 letters a-z, digits,"
      " - and _."
    )
  return folder(bundle) / f"{name}{SUFFIX}"


def existing(bundle, name: str) -> pathlib.Path:
  """The file of a voice. Raises UserError if there is none."""
  file = path(bundle, name)
  if not file.is_file():
    known = ", ".join(names(bundle)) or "none yet: `s02 voice add` makes one"
    raise UserError(f"{bundle} has no voice {name!r}; it has {known}.")
  return file


# --------------------------------------------------------------------- making


def recorded(
  synthesizer: Synthesizer, files: Sequence, transcript: str | None
) -> tuple[Voice, float]:
  """The voice of a speaker's recordings, and their seconds.

  They are trimmed and levelled as those of a corpus are.

  Args:
    synthesizer: whose models hear them.
    files: of one speaker, at least one.
    transcript: what the first one says, for one-shot cloning; or None.

  Raises:
    UserError: a file from which no voice can be made.
  """
  waves = []
  for file in files:
    wave, rate = spectra.read(file)
    waves.append(loudness.condition(wave, rate, synthesizer.rate))
  transcripts = [transcript, *[None] * (len(waves) - 1)]
  voice = voice_lib.average(synthesizer.voices(waves, transcripts))
  return voice, sum(map(len, waves)) / synthesizer.rate


def check_free(bundle, name: str, replace: bool) -> pathlib.Path:
  """The file to write a voice to. Raises UserError if it is another's."""
  file = path(bundle, name)
  if file.exists() and not replace:
    raise UserError(
      f"{bundle} has a voice {name!r} already; give --replace or another name."
    )
  return file


def add(
  bundle, name: str, voice: Voice, seconds: float, replace: bool = False
) -> pathlib.Path:
  """Writes a voice of so many seconds of speech; returns its file.

  Raises:
    UserError: it exists and is not to be replaced, or cannot be written.
  """
  file = check_free(bundle, name, replace)
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  notes = {"seconds": f"{seconds:.2f}", "made": now}
  with files.explain_errors(file, "the voice"):
    file.parent.mkdir(exist_ok=True)
  voice.save(file, notes)
  return file


# -------------------------------------------------------------------- reading


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
  """What a voice's file says of itself."""

  name: str
  kind: str  # "zero-shot" or "one-shot"
  seconds: float | None  # of speech that it was made of
  made: str | None  # ISO 8601, UTC
  prompt: str | None  # what the first recording says, of one-shot
  bundle: str | None  # fingerprint of the models that it is for


def entry(bundle, name: str) -> Entry:
  """Raises UserError if there is no such voice, or its file is damaged."""
  file = existing(bundle, name)
  header = _header(file)
  prompt = header.get("prompt_text")
  seconds = header.get("seconds")
  return Entry(
    name=name,
    kind="zero-shot" if prompt is None else "one-shot",
    seconds=None if seconds is None else float(seconds),
    made=header.get("made"),
    prompt=prompt,
    bundle=header.get("bundle"),
  )


def _header(file: pathlib.Path) -> dict[str, str]:
  try:
    with safetensors.safe_open(file, "np") as opened:
      return opened.metadata() or {}
  except (OSError, safetensors.SafetensorError) as e:
    raise UserError(
      f"{file}: the voice is damaged ({e}); add it again with --replace."
    ) from e


def parse_mixture(items: Sequence[str]) -> dict[str, float]:
  """Name -> weight of `NAME` or `NAME:WEIGHT`, at most MOST of them.

  Raises:
    UserError: too many, one twice, or a weight that is not above 0.
  """
  if len(items) > MOST:
    raise UserError(f"--voice is given {len(items)} times; mix at most {MOST}.")
  weights: dict[str, float] = {}
  for item in items:
    name, _, weight = item.partition(":")
    try:
      value = float(weight or 1)
    except ValueError:
      value = float("nan")
    if not 0 < value < float("inf"):
      raise UserError(
        f"--voice {item}: the weight must be a number above 0, as in"
        f" {name}:0.7."
      )
    if name in weights:
      raise UserError(f"--voice {name} is given twice; give it once.")
    weights[name] = value
  return weights


def mixed(synthesizer: Synthesizer, bundle, weights: dict[str, float]) -> Voice:
  """The voice of a bundle's voices, mixed.

  Raises:
    UserError: a voice that is not there or is of other models.
  """
  voices = [
    Voice.load(existing(bundle, name), synthesizer.fingerprint)
    for name in weights
  ]
  if len(voices) == 1:
    return voices[0]
  return voice_lib.mix(voices, list(weights.values()))
