"""Audio tokenizer: log-mel → encoder → one code per 40 ms → decoder, with CTC.

Report §3.1: an Encoder–VQ–Decoder over log-mel, 25 tokens/s, one code stream,
under CTC supervision. CTC reads the quantised sequence, so that the codes must
carry what is said. Who says it the decoder is told by a vector of few features,
learnt from other speech of the speaker, so that the codes need not carry it.

  (1)  e_t = normalise(encoder(mel))_t                 unit norm
  (2)  code_t = argmax_k  e_t · c_k                    cosine, |c_k| = 1
  (3)  q_t = e_t + stop_gradient(c_code − e_t)         straight-through
  (4)  mel̂ = decoder(q, speaker(reference))

Convolutions see about a second to each side, attention in front of the
quantiser the whole utterance. Utterances that are packed into one row, segments
1, 2, … of it, do not see each other; segment 0 is padding.

Shape letters: b batch, t mel frames, s tokens, r mel frames per token, m mel
bins, d width, c code dimensions, k codes, v text vocabulary, p segments of a
row, o features of a speaker vector, n mel frames of a reference.
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
from s02jax.models.layers.transformer import Stack, TransformerConfig
from s02jax.models.speaker_encoder import SpeakerEncoder
from s02jax.sharding import shard


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioTokenizerConfig:
  """Sizes of the audio tokenizer."""

  mel_bins: int = 80
  frames_per_token: int = 2  # r: mel frames per token (mel rate / 25)
  width: int = 192
  mel_blocks: int = 1  # at the mel rate, of the encoder and of the decoder
  encoder_blocks: int = 4  # at the token rate
  attention_layers: int = 1  # behind them, in front of the quantiser
  heads: int = 4  # of the attention
  remat: str = "none"  # recomputation of the attention, see TransformerConfig
  decoder_blocks: int = 2  # at the token rate
  ctc_blocks: int = 2  # between the codes and the CTC head
  num_codes: int = 512
  code_dim: int = 16
  vocab_size: int = 512  # text ids; the CTC blank is one more
  speaker_width: int = 64  # channels of the speaker encoder's blocks
  speaker_layers: int = 2  # blocks of the speaker encoder
  speaker_dim: int = 8  # features of the speaker vector
  dtype: str = "float32"  # of matrix products; parameters are float32

  @property
  def attention(self) -> TransformerConfig:
    """Attention layers; one has the weights of about 1.7 ConvNeXt blocks."""
    return TransformerConfig(
      width=self.width,
      layers=self.attention_layers,
      heads=self.heads,
      kv_heads=self.heads,
      hidden=2 * self.width,
      remat=self.remat,
    )


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
  """Audio tokenizer; methods `encode`, `speaker`, `decode`, `ctc_logits`."""

  config: AudioTokenizerConfig

  def setup(self):
    c = self.config
    dtype = jnp.dtype(c.dtype)

    def stack(blocks):
      return ConvStack(c.width, (3,) * blocks, dtype=dtype)

    self.encoder = stack(c.mel_blocks)
    self.token_encoder = stack(c.encoder_blocks)
    self.attention = Stack(c.attention, dtype)
    self.to_code = Dense(c.code_dim, dtype=jnp.float32)
    self.speaker_encoder = SpeakerEncoder(
      c.speaker_width, c.speaker_layers, c.speaker_dim, dtype=dtype
    )
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
    self, mel: Float[Array, "b t m"], segment: Int[Array, "b s"]
  ) -> Float[Array, "b s c"]:
    """Unit vectors of tokens (equation 1); t = s · r."""
    r = self.config.frames_per_token
    mask = segment > 0
    x = merge_time(self.encoder(mel, jnp.repeat(mask, r, axis=1)), r)
    x = self.token_encoder(x, mask)
    place = jnp.arange(segment.shape[1])[None]
    place = jnp.broadcast_to(place, segment.shape)
    x = self.attention(x, segment, place, None)
    return keep_valid(normalise(self.to_code(x)), mask)

  def encode(
    self, mel: Float[Array, "b t m"], segment: Int[Array, "b s"]
  ) -> Int[Array, "b s"]:
    """Codes of a log-mel spectrogram; those of padding are arbitrary."""
    return nearest(self.vectors(mel, segment), self.codes.value)

  def speaker(
    self, mel: Float[Array, "b n m"], mask: Bool[Array, "b n"]
  ) -> Float[Array, "b o"]:
    """Encodes references to speaker vectors, float32; zeros where masked."""
    return self.speaker_encoder(mel, mask)

  def _reconstruct(self, q, segment, speakers):
    r = self.config.frames_per_token
    mask = segment > 0
    # Zeros where the segment is padding.
    own = jax.nn.one_hot(segment - 1, speakers.shape[1])
    speakers = shard(speakers, "batch", None, None)
    voice = jnp.einsum("bsp,bpo->bso", own, speakers)

    def told(x, voice):
      x = jnp.concatenate([x, voice.astype(x.dtype)], axis=-1)
      return shard(x, "batch", "time", "embed")

    x = self.token_decoder(told(q, voice), mask)
    x = split_time(self.to_frames(x), r)
    mask, voice = (jnp.repeat(y, r, axis=1) for y in (mask, voice))
    return self.to_mel(self.decoder(told(x, voice), mask))

  def _text_logits(self, q, segment):
    return self.to_text(self.ctc(q, segment > 0))

  def decode(
    self,
    codes: Int[Array, "b s"],
    segment: Int[Array, "b s"],
    speakers: Float[Array, "b p o"],
  ) -> Float[Array, "b t m"]:
    """Log-mel spectrogram of codes in the voice of each segment, t = s · r.

    Args:
      codes: code sequence.
      segment: number of each token's segment, 0 is padding.
      speakers: vectors of segments 1, 2, …; zeros for a voice that the codes
        alone tell.
    """
    return self._reconstruct(self.codes.value[codes], segment, speakers)

  def ctc_logits(
    self, codes: Int[Array, "b s"], segment: Int[Array, "b s"]
  ) -> Float[Array, "b s v+1"]:
    """Logits of text ids for CTC; the last is the blank."""
    return self._text_logits(self.codes.value[codes], segment)

  def __call__(
    self,
    mel: Float[Array, "b t m"],
    segment: Int[Array, "b s"],
    speakers: Float[Array, "b p o"],
  ) -> dict[str, Array]:
    """Runs encoder, quantiser, decoder and CTC head, for training.

    Returns:
      vectors [b, s, c] of equation 1, codes int32 [b, s], mel [b, t, m] and
      text [b, s, v + 1] logits from the quantised sequence of equation 3.
    """
    vectors = self.vectors(mel, segment)
    codes = nearest(jax.lax.stop_gradient(vectors), self.codes.value)
    chosen = keep_valid(self.codes.value[codes], segment > 0)
    q = vectors + jax.lax.stop_gradient(chosen - vectors)
    return {
      "vectors": vectors,
      "codes": codes,
      "mel": self._reconstruct(q, segment, speakers),
      "text": self._text_logits(q, segment),
    }


def init(model: AudioTokenizer, key) -> dict:
  """Random variables of a model, those of its speaker encoder included."""
  c = model.config
  mel = jnp.zeros((1, 2 * c.frames_per_token, c.mel_bins))

  def run(module, mel):
    speakers = module.speaker(mel, jnp.ones(mel.shape[:2], bool))
    return module(mel, jnp.ones((1, 2), jnp.int32), speakers[:, None])

  return model.init(key, mel, method=run)
