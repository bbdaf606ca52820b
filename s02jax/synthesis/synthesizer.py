"""A bundle that speaks.

  text, voice ─► AR Transformer ─► tokens ─► flow matching ─► latents
    ─► Flow-VAE's decoder ─► waveform

Speech is made by an `Engine`, whole or streamed: every request is computed as
if it were alone, chunk by chunk, beside others.

Shape letters: n samples, s tokens, l latents, c latent channels.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from s02jax import languages
from s02jax.bundle import Bundle
from s02jax.errors import UserError
from s02jax.synthesis.codec import TokenizerCodec, VaeCodec
from s02jax.synthesis.engine import Engine, Plan, Spoken
from s02jax.synthesis.flow import FlowDecoder
from s02jax.synthesis.request import (
  Request,
  Settings,
  Utterance,
  check_speaker,
  check_text,
  check_words,
)
from s02jax.synthesis.sampling import Sampling
from s02jax.synthesis.sounding import Models, Sounding, advance
from s02jax.synthesis.tokens import Recorded, Script, TokenGenerator
from s02jax.synthesis.voice import Prompt, Voice, check_reference


def row_seed(seed: int, *parts: bytes | str) -> int:
  """32 bits from a seed and what it is for: the same in any batch."""
  value = zlib.crc32(str(seed).encode())
  for part in parts:
    data = part.encode() if isinstance(part, str) else part
    value = zlib.crc32(data, zlib.crc32(b"\0", value))
  return value


class Synthesizer:
  """The four models of a bundle, together.

  Attributes:
    rate: Hz of every waveform in and out.
    languages: codes that the models have heard.
    fingerprint: of the bundle, without whose like its voices are of no use.
  """

  def __init__(self, bundle: Bundle):
    self.rate = bundle.rate
    self.languages = tuple(bundle.card["data"]["languages"])
    self.fingerprint = bundle.fingerprint
    self.text = bundle.text
    configs, params = bundle.configs, bundle.params
    self.tokenizer = TokenizerCodec(
      configs["audio_tokenizer"], params["audio_tokenizer"]
    )
    self.vae = VaeCodec(configs["flow_vae"], params["flow_vae"])
    self.generator = TokenGenerator(configs["ar"], params["ar"], bundle.text)
    self.flow = FlowDecoder(configs["flow_matching"], params["flow_matching"])
    latents = configs["flow_matching"]["latents"]
    self._models = Models(
      flow=self.flow,
      vae=self.vae,
      mean=np.asarray(latents["mean"], np.float32),
      std=np.asarray(latents["std"], np.float32),
    )

  @classmethod
  def load(cls, path) -> "Synthesizer":
    """Reads the bundle at `path`; raises UserError as `Bundle.load` does."""
    return cls(Bundle.load(path))

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
    told = {i: text for i, text in enumerate(transcripts) if text is not None}
    spoken = [waves[i] for i in told]
    prompts = {
      i: Prompt(
        text=text,
        tokens=tokens,
        latents=(mean - self._models.mean) / self._models.std,
      )
      for (i, text), tokens, (mean, _) in zip(
        told.items(),
        self.tokenizer.encode(spoken),
        self.vae.posterior(spoken),
        strict=True,
      )
    }
    vectors = zip(
      self.generator.speakers(waves), self.flow.speakers(waves), strict=True
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
      self.generator.slots(),
      self._models,
      self.generator.config.end,
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
      draft=self.generator.draft(script),
      sounding=Sounding(
        self._models,
        voice,
        seed=seed("latents"),
        steps=settings.steps,
        guidance=settings.guidance,
      ),
      second_seed=seed("tokens again"),
    )

  def from_tokens(
    self,
    tokens: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    *,
    seed: int = 0,
    steps: int = 16,
    guidance: float = 1.5,
  ) -> list[np.ndarray]:
    """Waves of given tokens in the references' voices, zero-shot."""
    voices = self.voices(references, [None] * len(references))
    soundings = []
    for row, voice in zip(tokens, voices, strict=True):
      row = np.asarray(row, np.int32)
      sounding = Sounding(
        self._models,
        voice,
        seed=row_seed(seed, row.tobytes()),
        steps=steps,
        guidance=guidance,
      )
      sounding.append(row)
      sounding.finish()
      soundings.append(sounding)
    waves: dict[Sounding, list[np.ndarray]] = {s: [] for s in soundings}
    while not all(sounding.exhausted for sounding in soundings):
      for heard in advance(self._models, soundings):
        waves[heard.owner].append(heard.wave)
    return [np.concatenate(parts) for parts in waves.values()]

  # ------------------------------------------------------------ measurements

  def tokenize(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Audio tokens int32 [s] of waves."""
    return self.tokenizer.encode(waves)

  def tokenizer_reconstruction(
    self, waves: Sequence[np.ndarray]
  ) -> list[np.ndarray]:
    """Waves through the audio tokenizer alone: codes, mel, Griffin-Lim."""
    return self.tokenizer.decode(self.tokenize(waves))

  def resynthesize(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Waves through the Flow-VAE alone, by the mean of z."""
    return self.vae.copy(waves)

  def ctc_transcribe(self, waves: Sequence[np.ndarray]) -> list[str]:
    """What the audio tokenizer's CTC head hears in the codes of waves."""
    heard = self.tokenizer.text_ids(self.tokenize(waves))
    return [self.text.decode(ids) for ids in heard]

  def codes_in_use(self, waves: Sequence[np.ndarray]) -> float:
    """Share of the codebook that occurs in the waves."""
    found = np.unique(np.concatenate(self.tokenize(waves)))
    return len(found) / self.tokenizer.num_codes

  def ar_cost(
    self, items: Sequence[tuple[str, str, np.ndarray, np.ndarray]]
  ) -> float:
    """Mean nats per target token over (text, language, reference, target).

    Reference and target are waves float [n]; what a wrong text or a wrong
    reference adds tells how much the AR model listens to them.
    """
    texts, codes, references, targets = zip(*items, strict=True)
    waves = [check_reference(wave, self.rate) for wave in references]
    recordings = [
      Recorded(text=text, language=code, vector=vector, tokens=tokens)
      for text, code, vector, tokens in zip(
        texts,
        codes,
        self.generator.speakers(waves),
        self.tokenize(targets),
        strict=True,
      )
    ]
    return self.generator.cost(recordings)
