"""Studio without models: beeps, quickly, or as slowly as a test wants."""

import re
import threading
import time

import numpy as np

from s02jax.core.errors import UserError
from s02jax.serving.server.refusals import Refusal
from s02jax.synthesis.alignment import Word
from s02jax.synthesis.shared_engine import Late, Stopped
from s02jax.text import front

RATE = 16000
BLOCK = 1600


class FakeSession:
  """Session that can be stopped."""

  def __init__(self, studio, deadline):
    self.studio, self.deadline = studio, deadline
    self.stopped = threading.Event()

  def stop(self):
    self.stopped.set()


class FakeStudio:
  """Studio that gives a block of a tone a word.

  Attributes:
    held: speech waits after its first block until it is set.
    sessions: all that there were.
  """

  block = BLOCK  # samples of a word
  languages = ("en", "es")
  rate = RATE
  tells_times = True
  emotions = ("happy", "sad")
  designs = True

  def __init__(self):
    self.kept = {"anna": {"name": "anna"}, "ben": {"name": "ben"}}
    self.held = threading.Event()
    self.held.set()
    self.sessions, self.orders = [], []
    self.slots_in_use, self.closed, self.fail_after = 0, False, None

  def voices(self):
    return list(self.kept.values())

  def session(self, deadline):
    self.sessions.append(FakeSession(self, deadline))
    return self.sessions[-1]

  def speak(self, order, session):
    for name in order.voices:
      if name not in self.kept:
        raise Refusal("voice_not_found", f"there is no voice {name[:64]!r}.")
    read = front.read(
      order.text,
      order.language,
      audience=front.Audience(languages=self.languages),
      pronunciation=order.pronunciation,
      markup=order.markup,
    )
    self.orders.append(order)
    return self._blocks(read.text.split(), order, session)

  def _blocks(self, words, order, session):
    self.slots_in_use += 1
    rate = order.changes.rate or RATE
    try:
      for i, word in enumerate(words):
        if i == 1:
          self._wait(session)
        if i == self.fail_after:
          raise RuntimeError("a fault that nobody expected")
        t = (i * self.block + np.arange(self.block)) / rate
        yield (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
        if order.timestamps:
          seconds = self.block / rate
          yield [Word(text=word, begin=i * seconds, end=(i + 1) * seconds)]
    finally:
      self.slots_in_use -= 1

  def _wait(self, session):
    while not self.held.wait(0.002):
      if session.stopped.is_set():
        raise Stopped("the session was stopped.")
      if time.monotonic() > session.deadline:
        raise Late("the deadline has passed.")

  def design(self, order, session):
    if not order.description.strip():
      raise UserError("the description '' has no words.")
    if order.keep in self.kept and not order.replace:
      raise Refusal("voice_exists", f"there is a voice {order.keep!r} already.")
    self.orders.append(order)
    return self._designed(order)

  def _designed(self, order):
    for seed in range(order.seed, order.seed + order.candidates):
      yield seed
      for _ in order.text.split():
        level = 0.01 * (1 + seed % 50)
        yield np.full(self.block, level, np.float32)
    if order.keep is not None:
      self.kept[order.keep] = {"name": order.keep}

  def clone(self, name, recordings, transcript, *, replace):
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
      raise UserError(f"{name[:64]!r} is no name for a voice.")
    if name in self.kept and not replace:
      raise Refusal("voice_exists", f"there is a voice {name!r} already.")
    seconds = sum(len(wave) / rate for wave, rate in recordings)
    kind = "one-shot" if transcript else "zero-shot"
    self.kept[name] = {"name": name, "kind": kind, "seconds": seconds}
    return self.kept[name]

  def remove(self, name):
    if name not in self.kept:
      raise Refusal("voice_not_found", f"there is no voice {name[:64]!r}.")
    del self.kept[name]

  def warm(self, users):
    pass

  def close(self):
    self.closed = True


def decode(data, longest):
  """Decodes WAV files of 16 bits in the tests' own process."""
  from s02jax.audio import recording

  try:
    return recording.read(data, longest=longest, whole=False)
  except recording.Refused as error:
    raise Refusal("invalid_request", f"the recording: {error}") from error
