"""Voices: speaker vectors and a prompt, made of recordings and stored.

A stored voice is one .safetensors file: its vectors, the prompt's tokens and
latents where it has one, and in the header the format's version, the prompt's
text and language and the fingerprint of the bundle that made it.

Shape letters: n samples, s tokens, l latents, c latent channels, e vector.
"""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from s02jax.audio.loudness import SILENCE
from s02jax.core import files
from s02jax.core.errors import UserError

SHORTEST = 0.5  # least seconds of a reference
LONGEST = 20.0  # most seconds of a reference; more adds nothing to a voice
MOST_MIXED = 4  # voices of a mixture
LEAST_POWER = 0.02  # of a mean vector, as a share of its vectors'
FORMAT_VERSION = "2"  # of a voice's file


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transcript:
  """Words of a recording, and their language."""

  text: str
  language: str  # code or alias


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt:
  """Recording that one-shot cloning continues, as text, tokens and latents."""

  text: str  # transcript
  language: str  # its code
  tokens: np.ndarray  # int32 [s], of the audio tokenizer
  latents: np.ndarray  # float32 [l, c], standardised


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voice:
  """Speaker vectors for both models, and a prompt for one-shot cloning."""

  ar_vector: np.ndarray  # float32 [e], for the AR model
  flow_vector: np.ndarray  # float32 [e], for flow matching
  prompt: Prompt | None  # None: zero-shot
  fingerprint: str  # of the bundle whose encoders made the vectors

  def save(self, path, notes: Mapping[str, str] = MappingProxyType({})) -> None:
    """Writes the voice to a .safetensors file, atomically.

    Args:
      path: file, in a folder that exists.
      notes: further entries of the file's header.

    Raises:
      UserError: another suffix, or the file cannot be written.
    """
    import safetensors.numpy  # exports speak without it

    path = pathlib.Path(path)
    if path.suffix != ".safetensors":
      raise UserError(f"{path}: a voice's file must end in .safetensors.")
    arrays = {"ar_vector": self.ar_vector, "flow_vector": self.flow_vector}
    header = {"voice_version": FORMAT_VERSION, "bundle": self.fingerprint}
    if self.prompt is not None:
      arrays |= {
        "prompt_tokens": np.asarray(self.prompt.tokens, np.int32),
        "prompt_latents": self.prompt.latents,
      }
      header["prompt_text"] = self.prompt.text
      header["prompt_language"] = self.prompt.language
    arrays = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    with files.explain_errors(path, "the voice"), files.atomic(path) as part:
      part.write_bytes(safetensors.numpy.save(arrays, header | dict(notes)))

  @classmethod
  def load(cls, path, fingerprint: str) -> "Voice":
    """Loads a voice that `save` wrote.

    Args:
      path: the file.
      fingerprint: `Synthesizer.fingerprint` of the bundle that is to speak.

    Raises:
      UserError: no such file, no voice, a damaged one, or another bundle's.
    """
    import safetensors

    path = pathlib.Path(path)
    try:
      with safetensors.safe_open(path, "np") as file:
        header = file.metadata() or {}
        names = file.keys()
        arrays = {name: file.get_tensor(name) for name in names}
    except OSError as e:
      raise UserError(
        f"{path}: the voice cannot be read ({e}); give a file that"
        " `Voice.save` wrote."
      ) from e
    except safetensors.SafetensorError as e:
      raise UserError(
        f"{path}: the voice is damaged ({e}); save it again."
      ) from e
    return cls.from_arrays(path, header, arrays, fingerprint)

  @classmethod
  def from_arrays(
    cls,
    path,
    header: Mapping[str, str],
    arrays: Mapping[str, np.ndarray],
    fingerprint: str,
  ) -> "Voice":
    """Voice of a file's header and arrays.

    Args:
      path: of the file, for messages.
      header: the file's metadata.
      arrays: by name.
      fingerprint: of the bundle that is to speak.

    Raises:
      UserError: no voice of this version, a damaged one, or another bundle's.
    """
    if header.get("voice_version") != FORMAT_VERSION:
      raise UserError(
        f"{path}: not a voice of this version; save it again from its"
        " recordings."
      )
    if header.get("bundle") != fingerprint:
      raise UserError(
        f"{path}: the voice belongs to another bundle; save it again from its"
        " recordings with this one."
      )
    try:
      prompt = None
      if "prompt_text" in header:
        prompt = Prompt(
          text=header["prompt_text"],
          language=header["prompt_language"],
          tokens=arrays["prompt_tokens"],
          latents=arrays["prompt_latents"],
        )
      voice = cls(
        ar_vector=arrays["ar_vector"],
        flow_vector=arrays["flow_vector"],
        prompt=prompt,
        fingerprint=header["bundle"],
      )
    except KeyError as e:
      raise UserError(
        f"{path}: the voice is damaged (no {e}); save it again."
      ) from e
    if not all(np.isfinite(x).all() for x in arrays.values()):
      raise UserError(
        f"{path}: the voice holds values that are not numbers; save it again."
      )
    return voice


def mix(voices: Sequence[Voice], weights: Sequence[float]) -> Voice:
  """Mixes one to four voices by their weighted mean, which has no prompt.

  Its vectors have the power of the voices', which a mean alone lacks: models
  hear only vectors of that power.

  Args:
    voices: made with one bundle.
    weights: one a voice, none below 0, not all 0; only ratios matter.

  Raises:
    UserError: another number of voices, of weights, or voices of two bundles;
      voices whose vectors cancel each other out.
  """
  if not 1 <= len(voices) <= MOST_MIXED:
    raise UserError(
      f"{len(voices)} voices cannot be mixed; give 1 to {MOST_MIXED} of them."
    )
  return _mean(voices, weights)


def average(voices: Sequence[Voice]) -> Voice:
  """Averages the voices of one speaker's recordings.

  The result keeps the first prompt there is.

  Raises:
    UserError: no voice, or voices of two bundles; voices whose vectors cancel
      each other out.
  """
  if not voices:
    raise UserError("there is no voice to average; give at least one.")
  prompts = (voice.prompt for voice in voices)
  prompt = next((p for p in prompts if p is not None), None)
  return dataclasses.replace(_mean(voices, [1.0] * len(voices)), prompt=prompt)


def _mean(voices: Sequence[Voice], weights: Sequence[float]) -> Voice:
  """Voice of the vectors' weighted means at the power of the vectors."""
  if len(weights) != len(voices):
    raise UserError(
      f"there are {len(voices)} voices and {len(weights)} weights; give each"
      " voice one."
    )
  share = np.asarray(weights, np.float64)
  if not (np.isfinite(share).all() and (share >= 0).all() and share.sum() > 0):
    raise UserError(
      f"the weights {', '.join(map(str, weights))} make no mixture; give"
      " numbers of 0 or more, at least one above 0."
    )
  if len({voice.fingerprint for voice in voices}) > 1:
    raise UserError(
      "the voices belong to different bundles; save them again with one."
    )
  share = (share / share.sum()).astype(np.float32)
  return Voice(
    ar_vector=_mean_vector([voice.ar_vector for voice in voices], share),
    flow_vector=_mean_vector([voice.flow_vector for voice in voices], share),
    prompt=None,
    fingerprint=voices[0].fingerprint,
  )


def _mean_vector(vectors: list[np.ndarray], share: np.ndarray) -> np.ndarray:
  """Weighted mean float32 [e], scaled to the weighted mean square of vectors.

  Raises:
    UserError: the mean has almost no power, and its direction means nothing.
  """
  stacked = np.stack(vectors).astype(np.float32)
  if not stacked.size:
    return stacked[0]
  mean = share @ stacked
  power = np.mean(mean**2) / max(share @ np.mean(stacked**2, axis=1), 1e-12)
  if power < LEAST_POWER:
    raise UserError(
      f"the voices are too unlike: {power:.0%} of their power is left in the"
      " mixture; give one of them more weight, or mix others."
    )
  return (mean / np.sqrt(power)).astype(np.float32)


def check_reference(
  wave: np.ndarray, rate: int, transcript: Transcript | None = None
) -> np.ndarray:
  """Checks a reference; returns it as float32 [n], cropped where too long.

  Args:
    wave: float [n] in -1..1.
    rate: of `wave`, Hz.
    transcript: of the wave, None for zero-shot.

  Raises:
    UserError: of several channels, too short, silent or not finite; too long
      for its transcript.
  """
  if isinstance(wave, str | bytes | tuple | os.PathLike):
    raise UserError(
      "a reference here is an array of samples at the bundle's rate; paths,"
      " bytes and (samples, rate) are read by `s02jax.load(bundle).voice`."
    )
  wave = np.asarray(wave, np.float32)
  if wave.ndim != 1:
    raise UserError(
      f"the reference has the shape {wave.shape}; give the samples of one"
      " channel."
    )
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
  if np.abs(wave - wave.mean()).max() < SILENCE:
    raise UserError(
      "the reference is silence; give a recording in which somebody speaks."
    )
  return wave
