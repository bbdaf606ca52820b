"""Pipeline from requests to speech, independent of what computes the models.

  text, voice ─► AR Transformer ─► tokens ─► flow matching ─► latents
    ─► Flow-VAE's decoder ─► waveform

Speech is made by an `Engine`, whole or streamed: every request is computed as
if it were alone, beside others. Streamed, flow matching sees short windows;
whole, it sees an utterance and its prompt at once. The models behind it are
those of a bundle (`synthesis/synthesizer.py`) or exported functions
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
from s02jax.synthesis.decode.prompts import PromptBuilder
from s02jax.synthesis.decode.slots import DecodeFunctions, SlotDecoder
from s02jax.synthesis.emotion import strengths
from s02jax.synthesis.engine import Engine
from s02jax.synthesis.job import Spoken, UtteranceJob
from s02jax.synthesis.render.streams import Renderer, RenderStream
from s02jax.synthesis.request import Request, Settings, Utterance, check_speaker
from s02jax.synthesis.voice import (
  Prompt,
  Transcript,
  Voice,
  check_reference,
)
from s02jax.text.checks import check_text, check_words
from s02jax.text.clean import clean

Waves = Sequence[np.ndarray]  # float32 [n] each


def derive_seed(seed: int, *parts: bytes | str) -> int:
  """32-bit seed of one draw: a checksum of a user's seed and the draw's parts.

  Args:
    seed: of the user.
    *parts: purpose of the draw and the request's content, so that a request
      has the same seed in any batch.
  """
  value = zlib.crc32(str(seed).encode())
  for part in parts:
    data = part.encode() if isinstance(part, str) else part
    value = zlib.crc32(data, zlib.crc32(b"\0", value))
  return value


def as_written(text: str, language: str) -> str:
  """Cleans a text, where nothing is at hand that writes numbers in words."""
  del language
  return clean(text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
  """Functions and constants of the models that a pipeline is assembled from."""

  rate: int  # Hz of every waveform in and out
  languages: tuple[str, ...]  # codes of the languages in the training data
  fingerprint: str  # of the bundle
  end: int  # the class END of the AR model
  prompt_builder: PromptBuilder  # of the AR model
  decode_functions: DecodeFunctions  # of the AR model
  renderer: Renderer  # flow matching and vocoder
  # Speaker vectors float32 [e] of waves: the AR model's and flow matching's.
  ar_vectors: Callable[[Waves], list[np.ndarray]]
  flow_vectors: Callable[[Waves], list[np.ndarray]]
  # Audio tokens int32 [s] of waves.
  tokens: Callable[[Waves], list[np.ndarray]]
  # Mean and deviation of the Flow-VAE's z, float32 [l, c] each.
  posterior: Callable[[Waves], list[tuple[np.ndarray, np.ndarray]]]
  # Words of a text in a language, such as `s02jax.text.front.words`.
  words: Callable[[str, str], str] = as_written
  emotions: tuple[str, ...] = ()  # names of the adapters, in their order


class Pipeline:
  """Synthesis by given models: makes voices and speaks requests.

  Attributes:
    rate: Hz of every waveform in and out.
    languages: codes of the languages in the training data.
    fingerprint: of the bundle; voices of another one are refused.
    renderer: flow matching and vocoder.
    emotions: names of the adapters that requests may mix.
  """

  def __init__(self, parts: Parts):
    """Stores the models' functions."""
    self.emotions = parts.emotions
    self.rate = parts.rate
    self.languages = parts.languages
    self.fingerprint = parts.fingerprint
    self.renderer = parts.renderer
    self._parts = parts

  # ------------------------------------------------------------------ voices

  def voices(
    self,
    references: Sequence[np.ndarray],
    transcripts: Sequence[Transcript | None],
  ) -> list[Voice]:
    """Voices of reference waves float [n]; with a transcript, one-shot.

    Raises:
      UserError: a reference from which no voice can be made.
    """
    waves = [
      check_reference(wave, self.rate, transcript)
      for wave, transcript in zip(references, transcripts, strict=True)
    ]
    parts, renderer = self._parts, self.renderer
    told = {i: said for i, said in enumerate(transcripts) if said is not None}
    spoken = [waves[i] for i in told]
    prompts = {
      i: Prompt(
        text=said.text,
        language=languages.resolve(said.language).code,
        tokens=tokens,
        latents=(mean - renderer.mean) / renderer.std,
      )
      for (i, said), tokens, (mean, _) in zip(
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

  def _voices_of(
    self,
    requests: Sequence[Request],
    transcripts: Sequence[Transcript | None],
  ) -> list[Voice]:
    """Voice of each request; references are encoded together."""
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

  def engine(self, *, whole: bool = False) -> Engine:
    """Engine without requests; several may be in use.

    Args:
      whole: each request is heard when all of it is spoken, and better;
        otherwise as soon as it can be.
    """
    return Engine(
      SlotDecoder(self._parts.decode_functions),
      self.renderer,
      lambda request, settings: self.jobs([request], settings, whole)[0],
    )

  def transcript_fit(self, text: str, tokens: np.ndarray) -> float | None:
    """Fit of a transcript to the tokens int32 [s] of its recording.

    It is about 0 where the text is what is heard, else lower, and None where
    these models cannot say: those of an export are not asked.
    """
    del text, tokens
    return None

  def synthesize(
    self, requests: Sequence[Request], **settings: Any
  ) -> list[Utterance]:
    """Speaks all requests together; none depends on the others.

    Args:
      requests: texts, each with a voice or a reference.
      **settings: fields of `Settings`.

    Raises:
      UserError: a request or setting that makes no sense, in one sentence.
    """
    engine = self.engine(whole=True)
    jobs = self.jobs(requests, Settings.of(settings), whole=True)
    tickets = [engine.add(job) for job in jobs]
    waves: dict[int, list[np.ndarray]] = {ticket: [] for ticket in tickets}
    spoken: dict[int, Spoken] = {}
    while engine.busy:
      for piece in engine.step():
        waves[piece.ticket].append(piece.wave)
        if piece.spoken is not None:
          spoken[piece.ticket] = piece.spoken
    return [
      Utterance(wave=np.concatenate(waves[ticket]), **vars(spoken[ticket]))
      for ticket in tickets
    ]

  def stream(self, request: Request, **settings: Any) -> Iterator[np.ndarray]:
    """Speaks a request; waves float32 [n] as soon as they can be heard.

    The words are those of `synthesize`, the sound is a little worse. Arguments
    and errors are those of `synthesize`.
    """
    engine = self.engine()
    engine.submit(request, Settings.of(settings))
    return self._pieces(engine)

  def _pieces(self, engine: Engine) -> Iterator[np.ndarray]:
    """Waves of an engine's one request, but for empty ones."""
    while engine.busy:
      yield from (p.wave for p in engine.step() if len(p.wave))

  def jobs(
    self,
    requests: Sequence[Request],
    settings: Settings,
    whole: bool = False,
  ) -> list[UtteranceJob]:
    """Checks requests and makes a fresh job of each; raises UserError."""
    settings.check()
    words = self._parts.words
    texts = [
      r.text
      if r.in_words
      else check_text(words(r.text, r.language), r.language)
      for r in requests
    ]
    transcripts = [self._transcript(r) for r in requests]
    codes = [languages.resolve(r.language).code for r in requests]
    mixed = [strengths(r.emotion, self.emotions) for r in requests]
    voices = self._voices_of(requests, transcripts)
    return [
      self._job(text, code, voice, emotion, settings, whole)
      for text, code, voice, emotion in zip(
        texts, codes, voices, mixed, strict=True
      )
    ]

  def _transcript(self, request: Request) -> Transcript | None:
    """Checked transcript of a request's reference, None for zero-shot."""
    if request.reference_text is None:
      return None
    language = request.reference_language or request.language
    text = self._parts.words(request.reference_text, language)
    return Transcript(
      text=check_words(text, "reference's transcript"), language=language
    )

  def _job(
    self,
    text: str,
    code: str,
    voice: Voice,
    emotion: np.ndarray,
    settings: Settings,
    whole: bool,
  ) -> UtteranceJob:
    """Job of a checked text; its seeds depend on the text and the language."""

    def seed(purpose: str) -> int:
      return derive_seed(settings.seed, purpose, code, text)

    sampling = Sampling(
      temperature=settings.temperature,
      top_k=settings.top_k,
      top_p=settings.top_p,
      repetition_penalty=settings.repetition_penalty,
      repetition_window=settings.repetition_window,
      repetition_share=settings.repetition_share,
    )
    return UtteranceJob(
      self._parts.prompt_builder(
        text,
        code,
        voice,
        seed=seed("tokens"),
        sampling=sampling,
        shortest=settings.shortest,
        strengths=emotion,
      ),
      RenderStream(
        self.renderer,
        voice,
        seed=seed("latents"),
        steps=settings.steps,
        guidance=settings.guidance,
        whole=whole,
        strengths=emotion,
      ),
      redraw_seed=seed("tokens again"),
      end=self._parts.end,
    )
