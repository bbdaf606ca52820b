"""Voices: what synthesis knows about a speaker, and where it comes from.

Shape letters: n samples, s tokens, l latents, c latent channels, e vector.
"""

import dataclasses
import logging

import numpy as np

from s02jax.errors import UserError

SHORTEST = 0.5  # seconds of a reference
LONGEST = 20.0  # seconds; what is longer adds nothing to a voice
SILENT = 1e-3  # peak below which a reference is silence, -60 dBFS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt:
  """What the voice said in the reference: one-shot cloning continues it."""

  text: str
  tokens: np.ndarray  # int32 [s]
  latents: np.ndarray  # float32 [l, c], standardised


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voice:
  """A speaker, for the AR model and for flow matching."""

  ar_vector: np.ndarray  # float32 [e]
  flow_vector: np.ndarray  # float32 [e]
  prompt: Prompt | None  # None: zero-shot


def check_reference(
  wave: np.ndarray, rate: int, transcript: str | None = None
) -> np.ndarray:
  """A reference that can make a voice, float32 [n]; cropped where too long.

  Args:
    wave: float [n] in -1..1.
    rate: of `wave`, Hz.
    transcript: what is said in it, None for zero-shot.

  Raises:
    UserError: too short, silent or not finite; too long for its transcript.
  """
  wave = np.asarray(wave, np.float32)
  seconds = len(wave) / rate
  if seconds < SHORTEST:
    raise UserError(
      f"the reference has {seconds:.2f} s of sound; give at least"
      f" {SHORTEST} s, better 3 to 10."
    )
  if not np.isfinite(wave).all():
    raise UserError(
      "the reference holds samples that are not numbers; export it again as a"
      " WAV or FLAC file."
    )
  if seconds > LONGEST and transcript is not None:
    raise UserError(
      f"the reference has {seconds:.1f} s; with a transcript give at most"
      f" {LONGEST:.0f} s, and the transcript of just these."
    )
  if seconds > LONGEST:
    logging.info(
      "the reference has %.1f s; its first %.0f s are used", seconds, LONGEST
    )
    wave = wave[: int(LONGEST * rate)]
  if np.abs(wave - wave.mean()).max() < SILENT:
    raise UserError(
      "the reference is silence; give a recording in which somebody speaks."
    )
  return wave
