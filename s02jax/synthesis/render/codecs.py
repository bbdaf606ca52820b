"""Audio tokenizer and Flow-VAE at inference: waves to codes or latents, back.

Lists of waves of any length go in and out; inside they are padded to few
static shapes, and the models' masks keep the padding out of every result.

Shape letters: b batch, n samples, t mel frames, s tokens, l latent frames,
c latent channels.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s02jax.audio import spectra
from s02jax.core.config import build
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.models.audio_tokenizer import AudioTokenizer, AudioTokenizerConfig
from s02jax.models.flow_vae import FlowVAE, FlowVAEConfig
from s02jax.models.layers.convnext import lengths_to_mask
from s02jax.synthesis.batching import (
  BUDGET,
  UNIT,
  Batch,
  map_batches,
  map_waves,
  stack,
)
from s02jax.synthesis.render.chunks import ChunkVocoder
from s02jax.synthesis.speaker_vectors import SpeakerVectors

# Jitted functions are module-level, with the model as a static argument: two
# bundles of one architecture share the compiled code.


@functools.partial(jax.jit, static_argnames=("model", "mel"))
def encode(
  model: AudioTokenizer,
  mel: spectra.LogMel,
  variables,
  wave: Float[Array, "b n"],
  samples: Int[Array, "b"],
) -> Int[Array, "b s"]:
  """Codes of waves whose first `samples` exist; behind them anything."""
  frames = spectra.log_mel(wave, mel)
  r = model.config.frames_per_token
  segment = lengths_to_mask(samples // (mel.hop * r), frames.shape[1] // r)
  return model.apply(
    variables, frames, segment.astype(jnp.int32), method="encode"
  )


@functools.partial(jax.jit, static_argnames=("model",))
def _transcribe(model: AudioTokenizer, variables, codes, mask):
  """Best CTC path [b, s] of codes [b, s]."""
  segment = mask.astype(jnp.int32)
  logits = model.apply(variables, codes, segment, method="ctc_logits")
  return jnp.argmax(logits, axis=-1)


@functools.partial(jax.jit, static_argnames=("model",))
def ctc_log_probs(
  model: AudioTokenizer,
  variables,
  codes: Int[Array, "b s"],
  mask: Bool[Array, "b s"],
) -> Float[Array, "b s v+1"]:
  """Log-probabilities of text ids for codes; the last is the blank."""
  logits = model.apply(variables, codes, mask, method="ctc_logits")
  return jax.nn.log_softmax(logits.astype(jnp.float32))


@functools.partial(jax.jit, static_argnames=("model", "mel"))
def _reconstruct(
  model: AudioTokenizer, mel: spectra.LogMel, variables, codes, mask, speaker
):
  """Waves [b, n] of codes [b, s] and speaker vectors [b, o]; Griffin-Lim."""
  segment, speakers = mask.astype(jnp.int32), speaker[:, None]
  frames = model.apply(variables, codes, segment, speakers, method="decode")
  valid = jnp.repeat(mask, model.config.frames_per_token, axis=1)
  # Padding becomes silence, so that it adds nothing to Griffin-Lim's phases.
  silence = np.log(mel.floor)
  return spectra.griffin_lim(jnp.where(valid[..., None], frames, silence), mel)


@functools.partial(jax.jit, static_argnames=("model",))
def posterior(
  model: FlowVAE, variables, wave: Float[Array, "b n"], samples: Int[Array, "b"]
) -> tuple[Float[Array, "b l c"], Float[Array, "b l c"]]:
  """Mean μ and deviation σ of z, of waves whose first `samples` exist."""
  hop = model.config.hop
  mask = lengths_to_mask(samples // hop, wave.shape[1] // hop)
  mu, log_sigma = model.apply(variables, wave, mask, method="encode")
  return mu, jnp.exp(log_sigma)


@functools.partial(jax.jit, static_argnames=("model",))
def _vocode(model: FlowVAE, variables, z, mask):
  """Waves [b, n] of latents [b, l, c]."""
  return model.apply(variables, z, mask, method="decode")


@functools.partial(jax.jit, static_argnames=("model",))
def vocode_chunk(
  model: FlowVAE,
  variables,
  z: Float[Array, "b l c"],
  mask: Bool[Array, "b l"],
) -> Float[Array, "b n"]:
  """Sound of the middle of a window, as if the whole had been decoded.

  Args:
    model: whose `config.decoder_reach` is (left, right).
    variables: of the model.
    z: latents, `left` in front of and `right` behind those that become sound.
    mask: latents that exist.
  """
  left, right = model.config.decoder_reach
  wave = model.apply(variables, z, mask, method="decode")
  hop = model.config.hop
  return wave[:, left * hop : wave.shape[1] - right * hop]


class TokenizerCodec:
  """Audio tokenizer of a bundle or of a stage's workdir."""

  def __init__(self, config: Mapping[str, Any], variables: Mapping[str, Any]):
    """Builds the model.

    Args:
      config: resolved, of the stage.
      variables: inference parameters of the stage.
    """
    self.config = build(AudioTokenizerConfig, config["model"], "model")
    self.mel = build(spectra.LogMel, config["mel"], "mel")
    self.rate = self.mel.rate
    self.num_codes = self.config.num_codes
    self.variables = jax.device_put(variables)
    self.model = AudioTokenizer(self.config)
    self.speakers = SpeakerVectors(self.model, self.variables, config["mel"])

  def encode(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Codes int32 [s] of each wave float32 [n], s = n // (rate // 25)."""
    return map_waves(self.encode_batch, waves, self.rate)

  def encode_batch(self, batch: Batch) -> list[np.ndarray]:
    """Codes int32 [s] of each wave of a padded batch."""
    codes = encode(
      self.model, self.mel, self.variables, batch.values, batch.lengths
    )
    counts = batch.lengths * TOKENS_PER_SECOND // self.rate
    return [row[:s] for row, s in zip(np.array(codes), counts, strict=True)]

  def decode(
    self, codes: Sequence[np.ndarray], references: Sequence[np.ndarray]
  ) -> list[np.ndarray]:
    """Waves float32 [s · rate / 25], by the decoder and Griffin-Lim.

    Args:
      codes: int32 [s] of each utterance.
      references: wave float32 [n] of each utterance's speaker.
    """
    samples = self.rate // TOKENS_PER_SECOND
    vectors = self.speakers(references)

    def run(batch: Batch):
      waves = _reconstruct(
        self.model,
        self.mel,
        self.variables,
        batch.values,
        batch.mask,
        stack([vectors[i] for i in batch.indices], len(batch.values)),
      )
      return [
        row[: s * samples]
        for row, s in zip(np.array(waves), batch.lengths, strict=True)
      ]

    return map_batches(run, codes, unit=UNIT, budget=BUDGET)

  def log_probs(self, codes: np.ndarray) -> np.ndarray:
    """Log-probabilities float32 [s, v + 1] of text ids for codes int32 [s]."""

    def run(batch: Batch):
      found = ctc_log_probs(
        self.model, self.variables, batch.values, batch.mask
      )
      return [
        row[:s] for row, s in zip(np.array(found), batch.lengths, strict=True)
      ]

    (found,) = map_batches(run, [codes], unit=UNIT, budget=BUDGET)
    return found

  def text_ids(self, codes: Sequence[np.ndarray]) -> list[list[int]]:
    """Text ids that the CTC head hears, by its best path."""
    blank = self.config.vocab_size

    def run(batch: Batch):
      best = _transcribe(self.model, self.variables, batch.values, batch.mask)
      return [
        collapse(row[:s], blank)
        for row, s in zip(np.array(best), batch.lengths, strict=True)
      ]

    return map_batches(run, codes, unit=UNIT, budget=BUDGET)


def collapse(path: np.ndarray, blank: int) -> list[int]:
  """Labels of a CTC path [s]: repeats merged, blanks dropped."""
  fresh = np.ones(len(path), bool)
  fresh[1:] = path[1:] != path[:-1]
  return [int(x) for x in path[fresh] if x != blank]


class VaeCodec:
  """Flow-VAE of a bundle or of a stage's workdir; z is not normalised."""

  def __init__(self, config: Mapping[str, Any], variables: Mapping[str, Any]):
    """Builds the model.

    Args:
      config: resolved, of the stage.
      variables: inference parameters of the stage.
    """
    self.config = build(FlowVAEConfig, config["model"], "model")
    self.rate = config["rate"]
    self.latents_per_token = self.rate // TOKENS_PER_SECOND // self.config.hop
    self.variables = jax.device_put(variables)
    self.model = FlowVAE(self.config)

  def posterior(
    self, waves: Sequence[np.ndarray]
  ) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and standard deviation, float32 [l, c], of each wave's z."""
    return map_waves(self.posterior_batch, waves, self.rate)

  def posterior_batch(
    self, batch: Batch
  ) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and deviation float32 [l, c] of each wave of a padded batch."""
    mu, sigma = posterior(
      self.model, self.variables, batch.values, batch.lengths
    )
    frames = batch.lengths // self.config.hop
    return [
      (m[:t], s[:t])
      for m, s, t in zip(np.array(mu), np.array(sigma), frames, strict=True)
    ]

  @property
  def vocoder(self) -> ChunkVocoder:
    """Decoder of chunks of latents."""
    return ChunkVocoder(
      reach=self.config.decoder_reach,
      hop=self.config.hop,
      channels=self.config.channels,
      run=functools.partial(vocode_chunk, self.model, self.variables),
    )

  def decode(self, latents: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Waves float32 [l · hop] of latents float32 [l, c]."""
    hop, r = self.config.hop, self.latents_per_token

    def run(batch: Batch):
      waves = _vocode(self.model, self.variables, batch.values, batch.mask)
      return [
        row[: t * hop]
        for row, t in zip(np.array(waves), batch.lengths, strict=True)
      ]

    return map_batches(run, latents, unit=UNIT * r, budget=BUDGET * r)

  def reconstruct(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Waves float32 [n] coded and decoded, by the mean of z."""
    return self.decode([mean for mean, _ in self.posterior(waves)])
