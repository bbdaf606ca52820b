"""Speech from requests, by whatever computes it.

  text, voice ─► AR Transformer ─► tokens ─► flow matching ─► latents
    ─► Flow-VAE's decoder ─► waveform

Speech is made by an `Engine`, whole or streamed: every request is computed as
if it were alone, chunk by chunk, beside others. The models behind it are those
of a bundle (`synthesis/synthesizer.py`) or programs out of an export
(`serving/runtime.py`).

Shape letters: n samples, s tokens, l latents, c latent channels, e vector.
"""

import dataclasses
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.synthesis.decode.cache import Sampling
from s02jax.synthesis.decode.prompts import Drafter, Script
from s02jax.synthesis.decode.slots import Programs, SlotDecoder
from s02jax.synthesis.engine import Engine, Plan, Spoken
from s02jax.synthesis.render.streams import Models, Sounding
from s02jax.synthesis.request import Request, Settings, Utterance, check_speaker
from s02jax.synthesis.voice import Prompt, Voice, check_reference
from s02jax.text.checks import check_text, check_words

Waves = Sequence[np.ndarray]  # float32 [n] each


def row_seed(seed: int, *parts: bytes | str) -> int:
  """32 bits from a seed and what it is for: the same in any batch."""
  value = zlib.crc32(str(seed).encode())
  for part in parts:
    data = part.encode() if isinstance(part, str) else part
    value = zlib.crc32(data, zlib.crc32(b"\0", value))
  return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
  """All that speech is made with."""

  rate: int  # Hz of every waveform in and out
  languages: tuple[str, ...]  # codes that the models have heard
  fingerprint: str  # of the bundle
  end: int  # the class that ends an utterance
  drafter: Drafter
  decoding: Programs
  sound: Models
  ar_vectors: Callable[[Waves], list[np.ndarray]]  # float32 [e] of each wave
  flow_vectors: Callable[[Waves], list[np.ndarray]]
  tokens: Callable[[Waves], list[np.ndarray]]  # int32 [s]
  # Mean and deviation of the Flow-VAE's z, float32 [l, c] each.
  posterior: Callable[[Waves], list[tuple[np.ndarray, np.ndarray]]]


class Speaker:
  """Speaks requests.

  Attributes:
    rate: Hz of every waveform in and out.
    languages: codes that the models have heard.
    fingerprint: of the bundle, without whose like its voices are of no use.
  """

  def __init__(self, parts: Parts):
    """Takes the models."""
    self.rate = parts.rate
    self.languages = parts.languages
    self.fingerprint = parts.fingerprint
    self._parts = parts

  # ------------------------------------------------------------------ voices

  def voices(
    self,
    references: Sequence[np.ndarray],
    transcripts: Sequence[str | None],
  ) -> list[Voice]:
    """Voices of reference waves float [n]; with a transcript, one-shot.

    Raises:
      UserError: a reference from which no voice can be made.
    """
    waves = [
      check_reference(wave, self.rate, transcript)
      for wave, transcript in zip(references, transcripts, strict=True)
    ]
    parts, sound = self._parts, self._parts.sound
    told = {i: text for i, text in enumerate(transcripts) if text is not None}
    spoken = [waves[i] for i in told]
    prompts = {
      i: Prompt(
        text=text,
        tokens=tokens,
        latents=(mean - sound.mean) / sound.std,
      )
      for (i, text), tokens, (mean, _) in zip(
        told.items(),
        parts.tokens(spoken),
        parts.posterior(spoken),
        strict=True,
      )
    }
    vectors = zip(
      parts.ar_vectors(waves), parts.flow_vectors(waves), strict=True
    )
    return [
      Voice(
        ar_vector=ar,
        flow_vector=flow,
        prompt=prompts.get(i),
        fingerprint=self.fingerprint,
      )
      for i, (ar, flow) in enumerate(vectors)
    ]

  def _speakers(
    self,
    requests: Sequence[Request],
    transcripts: Sequence[str | None],
  ) -> list[Voice]:
    """The voice of each request; references are encoded together."""
    for request in requests:
      check_speaker(request)
      if request.voice and request.voice.fingerprint != self.fingerprint:
        raise UserError(
          "the voice belongs to another bundle; make it again with this one."
        )
    given = {
      i: r.reference for i, r in enumerate(requests) if r.reference is not None
    }
    made = self.voices(list(given.values()), [transcripts[i] for i in given])
    heard = dict(zip(given, made, strict=True))
    return [r.voice or heard[i] for i, r in enumerate(requests)]

  # ------------------------------------------------------------------ speech

  def engine(self) -> Engine:
    """An engine without requests; several may be in use."""
    return Engine(
      SlotDecoder(self._parts.decoding),
      self._parts.sound,
      self._parts.end,
      lambda request, settings: self._plans([request], settings)[0],
    )

  def synthesize(
    self, requests: Sequence[Request], **settings: Any
  ) -> list[Utterance]:
    """Speaks every request; none depends on the others.

    Args:
      requests: what to say, in whose voice.
      **settings: fields of `Settings`.

    Raises:
      UserError: a request or setting that makes no sense, in one sentence.
    """
    engine = self.engine()
    plans = self._plans(requests, Settings(**settings))
    tickets = [engine.add(plan) for plan in plans]
    waves: dict[int, list[np.ndarray]] = {ticket: [] for ticket in tickets}
    spoken: dict[int, Spoken] = {}
    while engine.busy:
      for piece in engine.step():
        waves[piece.ticket].append(piece.wave)
        if piece.spoken is not None:
          spoken[piece.ticket] = piece.spoken
    return [
      Utterance(
        wave=np.concatenate(waves[ticket]),
        tokens=spoken[ticket].tokens,
        ended=spoken[ticket].ended,
        redrawn=spoken[ticket].redrawn,
      )
      for ticket in tickets
    ]

  def stream(self, request: Request, **settings: Any) -> Iterator[np.ndarray]:
    """Speaks a request; waves float32 [n] as soon as they can be heard.

    Together they are what `synthesize` gives, up to rounding. Arguments and
    errors are those of `synthesize`.
    """
    engine = self.engine()
    engine.submit(request, Settings(**settings))
    return self._pieces(engine)

  def _pieces(self, engine: Engine) -> Iterator[np.ndarray]:
    while engine.busy:
      yield from (p.wave for p in engine.step() if len(p.wave))

  def _plans(
    self, requests: Sequence[Request], settings: Settings
  ) -> list[Plan]:
    """Checks requests; raises UserError."""
    settings.check()
    texts = [check_text(r.text, r.language) for r in requests]
    transcripts = [
      None
      if r.reference_text is None
      else check_words(r.reference_text, "reference's transcript")
      for r in requests
    ]
    codes = [languages.resolve(r.language).code for r in requests]
    voices = self._speakers(requests, transcripts)
    return [
      self._plan(text, code, voice, settings)
      for text, code, voice in zip(texts, codes, voices, strict=True)
    ]

  def _plan(
    self, text: str, code: str, voice: Voice, settings: Settings
  ) -> Plan:
    def seed(what: str) -> int:
      return row_seed(settings.seed, what, code, text)

    script = Script(
      text=text,
      language=code,
      voice=voice,
      seed=seed("tokens"),
      sampling=Sampling(
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        repetition_penalty=settings.repetition_penalty,
      ),
    )
    return Plan(
      draft=self._parts.drafter(script),
      sounding=Sounding(
        self._parts.sound,
        voice,
        seed=seed("latents"),
        steps=settings.steps,
        guidance=settings.guidance,
      ),
      second_seed=seed("tokens again"),
    )
