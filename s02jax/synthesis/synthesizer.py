"""A bundle that speaks.

  text, voice ─► AR Transformer ─► tokens ─► flow matching ─► latents
    ─► Flow-VAE's decoder ─► waveform

Every request is computed as if it were alone: seeds are its own, padding is
masked. Requests of like length share a batch, so that few shapes compile.

Shape letters: n samples, s tokens, l latents, c latent channels.
"""

import zlib
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from s02jax import languages
from s02jax.bundle import Bundle
from s02jax.errors import UserError
from s02jax.synthesis.codec import TOKENS_PER_SECOND, TokenizerCodec, VaeCodec
from s02jax.synthesis.flow import FlowDecoder, Line
from s02jax.synthesis.request import (
  Request,
  Utterance,
  check_speaker,
  check_text,
)
from s02jax.synthesis.sampling import Sampling
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
    self._mean = np.asarray(latents["mean"], np.float32)
    self._std = np.asarray(latents["std"], np.float32)

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
        text=text, tokens=tokens, latents=(mean - self._mean) / self._std
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

  def synthesize(
    self,
    requests: Sequence[Request],
    *,
    seed: int = 0,
    steps: int = 16,
    guidance: float = 1.5,
    temperature: float = 0.7,
    top_k: int = 0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
  ) -> list[Utterance]:
    """Speaks every request; none depends on the others.

    Args:
      requests: what to say, in whose voice.
      seed: the same seed and request give the same samples.
      steps: of the Euler solver.
      guidance: of flow matching; 1 is none.
      temperature: of the AR model; 0 always takes the likeliest token.
      top_k: likeliest tokens to choose from; 0 is all.
      top_p: probability mass to choose from.
      repetition_penalty: above 1, tokens just said become less likely.

    Raises:
      UserError: a request or setting that makes no sense, in one sentence.
    """
    check_settings(
      steps, guidance, temperature, top_k, top_p, repetition_penalty
    )
    texts = [check_text(r.text, r.language) for r in requests]
    transcripts = [
      None
      if r.reference_text is None
      else check_text(r.reference_text, r.language, "reference's transcript")
      for r in requests
    ]
    codes = [languages.resolve(r.language).code for r in requests]
    voices = self._speakers(requests, transcripts)
    spoken = self.generator(
      [
        Script(
          text=text,
          language=code,
          voice=voice,
          seed=row_seed(seed, "tokens", code, text),
        )
        for text, code, voice in zip(texts, codes, voices, strict=True)
      ],
      Sampling(
        temperature=jnp.float32(temperature),
        top_k=jnp.int32(top_k),
        top_p=jnp.float32(top_p),
        repetition_penalty=jnp.float32(repetition_penalty),
      ),
    )
    waves = self._sound(
      [
        Line(
          tokens=tokens,
          voice=voice,
          seed=row_seed(seed, "latents", code, text),
        )
        for (tokens, _), text, code, voice in zip(
          spoken, texts, codes, voices, strict=True
        )
      ],
      steps=steps,
      guidance=guidance,
    )
    return [
      Utterance(wave=wave, tokens=tokens, ended=ended)
      for wave, (tokens, ended) in zip(waves, spoken, strict=True)
    ]

  def _sound(
    self, lines: Sequence[Line], *, steps: int, guidance: float
  ) -> list[np.ndarray]:
    """Waves float32 [n] of the lines, prompts cut off."""
    latents = self.flow(lines, steps=steps, guidance=guidance)
    waves = self.vae.decode([x * self._std + self._mean for x in latents])
    samples = self.rate // TOKENS_PER_SECOND
    return [
      wave[len(wave) - len(line.tokens) * samples :]
      for wave, line in zip(waves, lines, strict=True)
    ]

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
    lines = [
      Line(
        tokens=row,
        voice=voice,
        seed=row_seed(seed, np.asarray(row, np.int32).tobytes()),
      )
      for row, voice in zip(tokens, voices, strict=True)
    ]
    return self._sound(lines, steps=steps, guidance=guidance)

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
    return self.vae.decode([mean for mean, _ in self.vae.posterior(waves)])

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


def check_settings(
  steps: int,
  guidance: float,
  temperature: float,
  top_k: int,
  top_p: float,
  repetition_penalty: float,
) -> None:
  """Raises UserError for a setting out of range, by its name."""
  for name, value, good, want in (
    ("steps", steps, steps >= 1, "at least 1"),
    ("guidance", guidance, 0 <= guidance < np.inf, "0 or more"),
    ("temperature", temperature, 0 <= temperature < np.inf, "0 or more"),
    ("top_k", top_k, top_k >= 0, "0 or more"),
    ("top_p", top_p, 0 < top_p <= 1, "above 0, at most 1"),
    (
      "repetition_penalty",
      repetition_penalty,
      0 < repetition_penalty < np.inf,
      "above 0",
    ),
  ):
    if not good:
      raise UserError(f"{name} is {value}; it must be {want}.")
