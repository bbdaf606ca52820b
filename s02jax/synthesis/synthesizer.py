"""A bundle that speaks, and whose models can be asked one by one.

Shape letters: n samples, s tokens.
"""

from collections.abc import Sequence

import numpy as np

from s02jax.bundle import Bundle
from s02jax.synthesis.decode.generator import Recorded, TokenGenerator
from s02jax.synthesis.pipeline import Parts, Speaker, row_seed
from s02jax.synthesis.render.codecs import TokenizerCodec, VaeCodec
from s02jax.synthesis.render.flow import FlowDecoder
from s02jax.synthesis.render.streams import Models, Sounding, advance
from s02jax.synthesis.voice import check_reference


class Synthesizer(Speaker):
  """The four models of a bundle, together."""

  def __init__(self, bundle: Bundle):
    """Takes a bundle in memory."""
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
      flow=self.flow.solver,
      vocoder=self.vae.vocoder,
      mean=np.asarray(latents["mean"], np.float32),
      std=np.asarray(latents["std"], np.float32),
    )
    super().__init__(
      Parts(
        rate=bundle.rate,
        languages=tuple(bundle.card["data"]["languages"]),
        fingerprint=bundle.fingerprint,
        end=self.generator.config.end,
        drafter=self.generator.drafter,
        decoding=self.generator.decoding,
        sound=self._models,
        ar_vectors=self.generator.speakers,
        flow_vectors=self.flow.speakers,
        tokens=self.tokenizer.encode,
        posterior=self.vae.posterior,
      )
    )

  @classmethod
  def load(cls, path) -> "Synthesizer":
    """Reads the bundle at `path`; raises UserError as `Bundle.load` does."""
    return cls(Bundle.load(path))

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
