"""Synthesizer espeak-ng as one pure function from text and voice to samples.

The library and its data ship inside the `espeakng-loader` wheel, so no system
package is needed. espeak-ng keeps global state (two random generators, the
phase of its pitch flutter, its Klatt filters) that initialising it again does
not reset, so every call opens the library afresh, seeds it, and closes it: the
same arguments always give the same samples, whatever was said before. That
costs about 5 ms a call. A lock serialises the calls of one process.
"""

import _ctypes
import ctypes
import functools
import pathlib
import threading
from collections.abc import Iterator

import numpy as np

from s02jax.core.errors import UserError

RATE = 22050

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples come through a callback
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report faults, never abort
_UTF8 = 1  # espeakCHARS_UTF8
_CHARACTERS = 1  # POS_CHARACTER
_PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}
_LOCK = threading.Lock()


class _Event(ctypes.Structure):
  """Event of espeak-ng: `espeak_EVENT` of its speak_lib.h."""

  _fields_ = [
    ("type", ctypes.c_int),
    ("unique_identifier", ctypes.c_uint),
    ("text_position", ctypes.c_int),  # first character, from 1
    ("length", ctypes.c_int),  # characters
    ("audio_position", ctypes.c_int),  # ms
    ("sample", ctypes.c_int),
    ("user_data", ctypes.c_void_p),
    ("id", ctypes.c_char * 8),
  ]


_LAST, _WORD = 0, 1  # types of events
_CALLBACK = ctypes.CFUNCTYPE(
  ctypes.c_int,
  ctypes.POINTER(ctypes.c_short),
  ctypes.c_int,
  ctypes.POINTER(_Event),
)


def render(
  text: str,
  voice: str,
  *,
  variant: str | None = None,
  rate: int = 175,
  pitch: int = 50,
  pitch_range: int = 50,
) -> tuple[np.ndarray, int]:
  """Speaks `text` by espeak-ng, deterministically; safe to use from threads.

  Args:
    text: to be spoken.
    voice: an espeak-ng voice, such as "en-us", "cmn" or "de".
    variant: a voice variant, such as "klatt2" or "f3".
    rate: words per minute, 80 to 450.
    pitch: base pitch, 0 to 99.
    pitch_range: liveliness of the intonation, 0 to 99.

  Returns:
    (wave float32 [n] in -1..1, rate 22050). Where nothing is speakable, n is a
    few hundred or zero, and all samples are silent.

  Raises:
    UserError: the wheel is missing or broken, or voice or variant unknown.
  """
  settings = {"rate": rate, "pitch": pitch, "range": pitch_range}
  return _render(text, voice, variant, settings, []), RATE


def word_times(
  text: str, voice: str, variant: str | None = None, rate: int = 175
) -> list[tuple[int, int, float]]:
  """Times at which espeak-ng begins the words of a text.

  Arguments and errors are those of `render`, at its default pitch.

  Returns:
    (first character, number of characters, seconds) of each word.
  """
  words: list[tuple[int, int, float]] = []
  _render(text, voice, variant, {"rate": rate}, words)
  return words


def _render(text, voice, variant, settings, words) -> np.ndarray:
  """Speaks a text; samples float32 [n]. Appends times of words to `words`."""
  name = f"{voice}+{variant}" if variant else voice
  if variant and variant not in variants():
    raise UserError(
      f"espeak-ng has no voice variant {variant!r}; valid ones are "
      f"{', '.join(variants())}."
    )
  with _LOCK:
    return _speak(text, name, settings, words)


@functools.cache
def variants() -> tuple[str, ...]:
  """Names of espeak-ng's voice variants, sorted."""
  folder = pathlib.Path(_loader().get_data_path(), "voices", "!v")
  return tuple(sorted(path.name for path in folder.iterdir()))


def _speak(
  text: str,
  name: str,
  settings: dict[str, int],
  words: list[tuple[int, int, float]],
) -> np.ndarray:
  """Speaks with a freshly opened library; samples float32 [n]."""
  library = _open_library()
  blocks: list[np.ndarray] = []

  @_CALLBACK
  def collect(samples, count, events) -> int:
    if samples and count > 0:
      block = np.ctypeslib.as_array(samples, shape=(count,))
      blocks.append(block.astype(np.float32))
    words.extend(_words(events))
    return 0

  data = _loader().get_data_path().encode()
  if library.espeak_Initialize(_SYNCHRONOUS, 0, data, _DONT_EXIT) != RATE:
    raise UserError(
      f"espeak-ng could not read its data in {data.decode()}; reinstall the "
      "package espeakng-loader."
    )
  try:
    library.espeak_SetSynthCallback(collect)
    if library.espeak_SetVoiceByName(name.encode()):
      raise UserError(f"espeak-ng has no voice named {name!r}.")
    for key, value in settings.items():
      library.espeak_SetParameter(_PARAMETERS[key], value, 0)
    library.espeak_ng_SetRandSeed(1)
    _libc().srand(1)
    raw = text.encode() + b"\0"
    library.espeak_Synth(raw, len(raw), 0, _CHARACTERS, 0, _UTF8, None, None)
    library.espeak_Synchronize()
  finally:
    library.espeak_Terminate()
    _ctypes.dlclose(library._handle)
  if not blocks:
    return np.zeros(0, np.float32)
  return np.concatenate(blocks) / np.float32(32768)


def _words(events) -> Iterator[tuple[int, int, float]]:
  """Words among the events of a callback, which end with one of type _LAST."""
  i = 0
  while events and events[i].type != _LAST:
    if events[i].type == _WORD:
      at = events[i]
      yield at.text_position - 1, at.length, at.audio_position / 1000
    i += 1


@functools.cache
def _loader():
  """Module `espeakng_loader`; raises UserError if it is not installed."""
  try:
    import espeakng_loader
  except ImportError as error:
    raise UserError(
      "espeak-ng is not installed; run: pip install espeakng-loader"
    ) from error
  return espeakng_loader


def _open_library() -> ctypes.CDLL:
  """Opens the library; unloading it later resets its static variables."""
  library = ctypes.CDLL(_loader().get_library_path())
  library.espeak_Initialize.argtypes = [
    ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int
  ]  # fmt: skip
  library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
  library.espeak_SetSynthCallback.argtypes = [_CALLBACK]
  library.espeak_SetSynthCallback.restype = None
  library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
  library.espeak_Synth.argtypes = [
    ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
    ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
  ]  # fmt: skip
  return library


@functools.cache
def _libc() -> ctypes.CDLL:
  """The C library of this process."""
  return ctypes.CDLL(None)
