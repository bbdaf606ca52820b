"""Synthesizer of a bundle: speaks, and measures its models one by one.

Shape letters: n samples, s tokens.
"""

import functools
from collections.abc import Sequence

import numpy as np

from s02jax.bundle import Bundle
from s02jax.synthesis import transcripts
from s02jax.synthesis.alignment import Aligner
from s02jax.synthesis.decode.generator import Recorded, TokenGenerator
from s02jax.synthesis.pipeline import Parts, Pipeline, derive_seed
from s02jax.synthesis.render.codecs import TokenizerCodec, VaeCodec
from s02jax.synthesis.render.flow import FlowDecoder
from s02jax.synthesis.render.streams import Renderer, RenderStream
from s02jax.synthesis.store import adapter_store
from s02jax.synthesis.store.adapter_store import Adapter
from s02jax.synthesis.voice import check_reference
from s02jax.text import front


class Synthesizer(Pipeline):
  """Pipeline with the four models of a bundle.

  Attributes:
    text: the text model.
    audience: the models, as the front end of texts knows them.
  """

  def __init__(self, bundle: Bundle, adapters: Sequence[Adapter] = ()):
    """Builds the models of a bundle in memory.

    Args:
      bundle: with the models.
      adapters: of the kind `lora`, which requests name as emotions.
    """
    self.text, self.audience = bundle.text, bundle.audience
    configs, params = bundle.configs, bundle.params
    self.tokenizer = TokenizerCodec(
      configs["audio_tokenizer"], params["audio_tokenizer"]
    )
    self.vae = VaeCodec(configs["flow_vae"], params["flow_vae"])
    self.generator = TokenGenerator(
      configs["ar"],
      params["ar"],
      bundle.text,
      [adapter.change("ar") for adapter in adapters],
    )
    self.flow = FlowDecoder(
      configs["flow_matching"],
      params["flow_matching"],
      [adapter.change("flow_matching") for adapter in adapters],
    )
    latents = configs["flow_matching"]["latents"]
    renderer = Renderer(
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
        prompt_builder=self.generator.prompt_builder,
        decode_functions=self.generator.decode_functions,
        renderer=renderer,
        ar_vectors=self.generator.speakers,
        flow_vectors=self.flow.speakers,
        tokens=self.tokenizer.encode,
        posterior=self.vae.posterior,
        words=functools.partial(
          front.words,
          folds=bundle.audience.folds,
          sounds=bundle.audience.sounds,
        ),
        emotions=tuple(adapter.name for adapter in adapters),
      )
    )

  @classmethod
  def load(cls, path) -> "Synthesizer":
    """Loads a bundle with its adapters.

    Raises:
      UserError: as `Bundle.load` and `adapter_store.load`.
    """
    bundle = Bundle.load(path)
    return cls(bundle, adapter_store.load_all(path, bundle.fingerprint))

  def from_tokens(
    self,
    tokens: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    *,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
  ) -> list[np.ndarray]:
    """Renders given tokens in the references' voices, zero-shot.

    Args:
      tokens: int32 [s] of each utterance.
      references: wave float [n] of each speaker.
      seed: of the noise.
      steps: of the Euler solver; None is what the model is made for.
      guidance: of flow matching; 1 is none, None what the model is made for.

    Returns:
      Waves float32 [n].
    """
    voices = self.voices(references, [None] * len(references))
    streams: dict[int, RenderStream] = {}
    for i, (row, voice) in enumerate(zip(tokens, voices, strict=True)):
      row = np.asarray(row, np.int32)
      streams[i] = RenderStream(
        self.renderer,
        voice,
        seed=derive_seed(seed, row.tobytes()),
        steps=steps,
        guidance=guidance,
        whole=True,
      )
      streams[i].append(row)
      streams[i].finish()
    waves: dict[int, list[np.ndarray]] = {i: [] for i in streams}
    while not all(stream.exhausted for stream in streams.values()):
      for i, wave in self.renderer.advance(streams).items():
        waves[i].append(wave)
    return [np.concatenate(parts) for parts in waves.values()]

  # ------------------------------------------------------------ measurements

  @property
  def aligner(self) -> Aligner:
    """Aligner of texts with the audio tokens that say them."""
    return Aligner(
      self.text, lambda codes: self.tokenizer.text_log_probs([codes])[0]
    )

  def tokenize(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Audio tokens int32 [s] of waves."""
    return self.tokenizer.encode(waves)

  def tokenizer_reconstruction(
    self, waves: Sequence[np.ndarray], references: Sequence[np.ndarray]
  ) -> list[np.ndarray]:
    """Waves coded and decoded by the audio tokenizer alone, by Griffin-Lim.

    Args:
      waves: float [n] each.
      references: other speech of each wave's speaker, float [n].
    """
    return self.tokenizer.decode(self.tokenize(waves), references)

  def resynthesize(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Waves coded and decoded by the Flow-VAE alone, by the mean of z."""
    return self.vae.reconstruct(waves)

  def ctc_transcribe(self, waves: Sequence[np.ndarray]) -> list[str]:
    """Texts that the audio tokenizer's CTC head hears in the codes of waves."""
    heard = self.tokenizer.text_ids(self.tokenize(waves))
    return [self.text.decode(ids) for ids in heard]

  def transcript_fit(self, text: str, tokens: np.ndarray) -> float | None:
    """Fit of a transcript to the tokens int32 [s] of its recording.

    It is about 0 where the text is what is heard, else lower, and None where
    the audio tokenizer cannot say; see `synthesis.transcripts`.
    """
    (log_probs,) = self.tokenizer.text_log_probs([tokens])
    return transcripts.fit(log_probs, self.text.pieces(text))

  def codes_in_use(self, codes: Sequence[np.ndarray]) -> float:
    """Share of the codebook that occurs in the codes of some waves."""
    found = np.unique(np.concatenate(codes))
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
