"""Named voices of a bundle: one file each in its folder voices/.

A file is written by `Voice.save` with two more entries in its header: the
seconds of speech it was made of, and when.
"""

import dataclasses
import datetime
import functools
import logging
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np
import safetensors
import safetensors.numpy

from s02jax.audio import recording
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.pretrained import silero
from s02jax.pretrained.doubts import doubts
from s02jax.synthesis.pipeline import Pipeline
from s02jax.synthesis.voice import (
  MOST_MIXED,
  Transcript,
  Voice,
  average,
  mix,
)
from s02jax.text import pace

# Most seconds of a recording that are decoded. What a voice is made of begins
# behind the silence at its start.
DECODED = 120.0
SUFFIX = ".safetensors"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def names(bundle) -> list[str]:
  """Names of all voices of the bundle at `bundle`, sorted."""
  paths = folder(bundle).glob(f"*{SUFFIX}")
  return sorted(p.stem for p in paths if _NAME.fullmatch(p.stem))


def folder(bundle) -> pathlib.Path:
  """Folder of the voices of the bundle at `bundle`; it need not exist.

  Raises:
    UserError: `bundle` is no bundle.
  """
  path = pathlib.Path(bundle)
  is_export = (path / "programs").is_dir()
  if not (is_export or (path / "config.json").is_file()):
    raise UserError(
      f"{bundle}: not a bundle; give the folder that `s02 bundle` wrote."
    )
  return pathlib.Path(bundle) / "voices"


def path(bundle, name: str) -> pathlib.Path:
  """Path of a voice's file, which need not exist.

  Raises:
    UserError: `name` is no name for a voice.
  """
  if not _NAME.fullmatch(name):
    raise UserError(
      f"{name!r} is no name for a voice: use at most 64 letters a-z, digits,"
      " - and _."
    )
  return folder(bundle) / f"{name}{SUFFIX}"


def existing(bundle, name: str) -> pathlib.Path:
  """Path of an existing voice's file; raises UserError if there is none."""
  file = path(bundle, name)
  if not file.is_file():
    known = ", ".join(names(bundle)) or "none yet: `s02 voice add` makes one"
    raise UserError(f"{bundle} has no voice {name!r}; it has {known}.")
  return file


# --------------------------------------------------------------------- making


def recorded(
  synthesizer: Pipeline,
  recordings: Sequence,
  transcript: Transcript | None,
) -> tuple[Voice, float]:
  """Makes a voice of a speaker's recordings; returns it and their seconds.

  Args:
    synthesizer: that is to speak with the voice.
    recordings: of one speaker, at least one: paths, bytes or (samples, rate).
    transcript: of the first one, for one-shot cloning; or None.

  Raises:
    UserError: a file from which no voice can be made.
  """
  transcripts = [transcript, *[None] * (len(recordings) - 1)]
  waves = [
    reference(file, synthesizer.rate, None if said is None else said.text)
    for file, said in zip(recordings, transcripts, strict=True)
  ]
  voice = average(synthesizer.voices(waves, transcripts))
  return voice, sum(map(len, waves)) / synthesizer.rate


def reference(file, rate: int, transcript: str | None = None) -> np.ndarray:
  """Reads a reference as float32 [n], trimmed and levelled as in a corpus.

  A warning says where nobody speaks in it, or not what its transcript says.

  Args:
    file: recording, as `audio.recording` takes it.
    rate: of the result, Hz.
    transcript: of the recording; or None.

  Raises:
    UserError: a file from which no voice can be made.
  """
  whole = transcript is not None
  named = isinstance(file, str | os.PathLike)
  name = str(file) if named else "the recording"
  wave = recording.speech(file, rate, longest=DECODED, whole=whole)
  if transcript is not None:
    seconds = len(wave) / rate
    if reason := pace.impossible(transcript, seconds):
      raise UserError(f"{name}: {reason}; give its own transcript.")
  if not silero.is_installed():
    _say_unchecked()
  for reason in doubts(wave, rate, transcript):
    logging.warning("%s: %s", name, reason)
  return wave


@functools.cache
def _say_unchecked() -> None:
  """Says once in a process that the detector of speech is missing."""
  logging.info("%s", silero.MISSING)


def check_free(bundle, name: str, replace: bool) -> pathlib.Path:
  """Path to write a voice to; raises UserError if the name is taken."""
  file = path(bundle, name)
  if file.exists() and not replace:
    raise UserError(
      f"{bundle} has a voice {name!r} already; give --replace or another name."
    )
  return file


def add(
  bundle, name: str, voice: Voice, seconds: float, replace: bool = False
) -> pathlib.Path:
  """Adds a voice to a bundle; returns its file.

  Args:
    bundle: folder of the bundle.
    name: of the voice.
    voice: made with this bundle.
    seconds: of speech that it was made of.
    replace: overwrite a voice of this name.

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


def remove(bundle, name: str) -> None:
  """Removes a voice from a bundle; raises UserError if there is none."""
  file = existing(bundle, name)
  with files.explain_errors(file, "the folder of voices"):
    file.unlink()


# -------------------------------------------------------------------- reading


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
  """Description of a stored voice, from its file's header."""

  name: str  # stem of the file
  kind: str  # "zero-shot" or "one-shot"
  seconds: float | None  # of speech that it was made of
  made: str | None  # ISO 8601, UTC
  prompt: str | None  # transcript of its prompt; None: zero-shot
  bundle: str | None  # fingerprint of the models that it is for


def entry(bundle, name: str) -> Entry:
  """Describes a voice.

  Raises:
    UserError: there is no such voice, or its file is damaged.
  """
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
  """Header of a voice's file; raises UserError if it is damaged."""
  try:
    with safetensors.safe_open(file, "np") as opened:
      return opened.metadata() or {}
  except (OSError, safetensors.SafetensorError) as e:
    raise UserError(
      f"{file}: the voice is damaged ({e}); add it again with --replace."
    ) from e


def parse_mixture(items: Sequence[str]) -> dict[str, float]:
  """Parses a mixture of `NAME` or `NAME:WEIGHT`; returns name -> weight.

  Raises:
    UserError: too many, one twice, or a weight that is not above 0.
  """
  if len(items) > MOST_MIXED:
    raise UserError(
      f"--voice is given {len(items)} times; mix at most {MOST_MIXED}."
    )
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


def mixed(synthesizer: Pipeline, bundle, weights: dict[str, float]) -> Voice:
  """Loads voices of a bundle and mixes them by their weights.

  Raises:
    UserError: a voice that is not there or is of other models.
  """
  voices = [
    Voice.load(existing(bundle, name), synthesizer.fingerprint)
    for name in weights
  ]
  if len(voices) == 1:
    return voices[0]
  return mix(voices, list(weights.values()))
