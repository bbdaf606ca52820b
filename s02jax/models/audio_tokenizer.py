"""Audio tokenizer: log-mel → encoder → one code per 40 ms → decoder, with CTC.

Report §3.1: an Encoder–VQ–Decoder over log-mel, 25 tokens/s, one code stream,
under CTC supervision. CTC reads the quantised sequence, so that the codes must
carry what is said; who says it is left to the speaker vector.

  (1)  e_t = normalise(encoder(mel))_t                 unit norm
  (2)  code_t = argmax_k  e_t · c_k                    cosine, |c_k| = 1
  (3)  q_t = e_t + stop_gradient(c_code − e_t)         straight-through

Shape letters: b batch, t mel frames, s tokens, r mel frames per token, m mel
bins, d width, c code dimensions, k codes, v text vocabulary.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from s02jax.models.layers.convnext import (
  ConvStack,
  keep_valid,
  merge_time,
  split_time,
)
from s02jax.models.layers.linear import Dense


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioTokenizerConfig:
  """Sizes of the audio tokenizer."""

  mel_bins: int = 80
  frames_per_token: int = 2  # r: mel frames per token (mel rate / 25)
  width: int = 192
  mel_blocks: int = 1  # at the mel rate, of the encoder and of the decoder
  encoder_blocks: int = 4  # at the token rate
  decoder_blocks: int = 2  # at the token rate
  ctc_blocks: int = 2  # between the codes and the CTC head
  num_codes: int = 512
  code_dim: int = 16
  vocab_size: int = 512  # text ids; the CTC blank is one more
  dtype: str = "float32"  # of matrix products; parameters are float32


def normalise(x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
  """Scales to unit norm in float32; zero keeps a finite gradient."""
  x = x.astype(jnp.float32)
  return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-6)


def nearest(
  vectors: Float[Array, "b s c"], codes: Float[Array, "k c"]
) -> Int[Array, "b s"]:
  """Codes int32 [b, s] nearest to unit vectors (equation 2)."""
  similarity = jnp.einsum(
    "bsc,kc->bsk", vectors, codes, precision=jax.lax.Precision.HIGHEST
  )
  return jnp.argmax(similarity, axis=-1).astype(jnp.int32)


class AudioTokenizer(nn.Module):
  """Audio tokenizer; methods `encode`, `decode` and `ctc_logits`."""

  config: AudioTokenizerConfig

  def setup(self):
    c = self.config
    dtype = jnp.dtype(c.dtype)

    def stack(blocks):
      return ConvStack(c.width, (3,) * blocks, dtype=dtype)

    self.encoder = stack(c.mel_blocks)
    self.token_encoder = stack(c.encoder_blocks)
    self.to_code = Dense(c.code_dim, dtype=jnp.float32)
    self.token_decoder = stack(c.decoder_blocks)
    self.to_frames = Dense(c.width * c.frames_per_token, dtype=dtype)
    self.decoder = stack(c.mel_blocks)
    self.to_mel = Dense(c.mel_bins, dtype=jnp.float32)
    self.ctc = stack(c.ctc_blocks)
    self.to_text = Dense(c.vocab_size + 1, dtype=jnp.float32)
    # The stage moves the codes by averages, not by gradients.
    self.codes = self.variable(
      "codebook",
      "codes",
      lambda: normalise(
        jax.random.normal(
          self.make_rng("params"), (c.num_codes, c.code_dim), jnp.float32
        )
      ),
    )

  def vectors(
    self, mel: Float[Array, "b t m"], mask: Bool[Array, "b t"]
  ) -> Float[Array, "b s c"]:
    """Unit vectors of tokens (equation 1); t is a multiple of r."""
    r = self.config.frames_per_token
    x = merge_time(self.encoder(mel, mask), r)
    x = self.token_encoder(x, mask[:, ::r])
    return keep_valid(normalise(self.to_code(x)), mask[:, ::r])

  def encode(
    self, mel: Float[Array, "b t m"], mask: Bool[Array, "b t"]
  ) -> Int[Array, "b s"]:
    """Codes of a log-mel spectrogram; those of masked frames are arbitrary."""
    return nearest(self.vectors(mel, mask), self.codes.value)

  def _reconstruct(self, q, mask):
    r = self.config.frames_per_token
    x = self.token_decoder(q, mask)
    x = split_time(self.to_frames(x), r)
    return self.to_mel(self.decoder(x, jnp.repeat(mask, r, axis=1)))

  def _text_logits(self, q, mask):
    return self.to_text(self.ctc(q, mask))

  def decode(
    self, codes: Int[Array, "b s"], mask: Bool[Array, "b s"]
  ) -> Float[Array, "b t m"]:
    """Log-mel spectrogram of a code sequence, t = s · r."""
    return self._reconstruct(self.codes.value[codes], mask)

  def ctc_logits(
    self, codes: Int[Array, "b s"], mask: Bool[Array, "b s"]
  ) -> Float[Array, "b s v+1"]:
    """Logits of text ids for CTC; the last is the blank."""
    return self._text_logits(self.codes.value[codes], mask)

  def __call__(
    self, mel: Float[Array, "b t m"], mask: Bool[Array, "b t"]
  ) -> dict[str, Array]:
    """Runs encoder, quantiser, decoder and CTC head, for training.

    Returns:
      vectors [b, s, c] of equation 1, codes int32 [b, s], mel [b, t, m] and
      text [b, s, v + 1] logits from the quantised sequence of equation 3.
    """
    token_mask = mask[:, :: self.config.frames_per_token]
    vectors = self.vectors(mel, mask)
    codes = nearest(jax.lax.stop_gradient(vectors), self.codes.value)
    chosen = keep_valid(self.codes.value[codes], token_mask)
    q = vectors + jax.lax.stop_gradient(chosen - vectors)
    return {
      "vectors": vectors,
      "codes": codes,
      "mel": self._reconstruct(q, token_mask),
      "text": self._text_logits(q, token_mask),
    }
