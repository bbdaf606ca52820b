"""AR Transformer: text and a speaker's voice to audio tokens (report, 3.2).

One causal row holds one or more segments, laid out as `s02jax.text.sequence`
says, over joint ids: those of the text model, then text_size + code for audio
tokens. At a [speaker] position the speaker encoder's vector, projected, takes
the place of an embedding. The head predicts the next code or END (num_codes).
The speaker encoder is part of the model and learns with it. For an ablation
(report, table 4) the vector comes from outside, or is left out: see
`SpeakerConfig.kind`.

Shape letters:
  b batch    s positions    r references of a row    d width    o speaker vector
  t log-mel frames    m mel bins    c codes and END
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from s02jax.models.layers.linear import Dense, Logits, look_up
from s02jax.models.layers.transformer import Stack, TransformerConfig
from s02jax.models.speaker_encoder import SpeakerEncoder
from s02jax.sharding import shard

FIXED_FEATURES = 256  # of a fixed speaker vector, GE2E's: pretrained/ge2e.py


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeakerConfig:
  """Sizes of the speaker encoder, and where speaker vectors come from."""

  # "encoder" computes them here and learns with the model; "embedding" takes
  # fixed vectors of a network trained for speaker verification; with "none"
  # there are none, and [speaker] is a token like others.
  kind: Literal["encoder", "embedding", "none"] = "encoder"
  width: int = 128  # channels of the encoder's blocks
  layers: int = 3  # blocks of the encoder
  out: int = 128  # features of the encoder's vector
  join: int = 2  # log-mel frames of one position

  @property
  def features(self) -> int:
    """Features o of the speaker vectors that the model takes."""
    sizes = {"encoder": self.out, "embedding": FIXED_FEATURES, "none": 0}
    return sizes[self.kind]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ARConfig:
  """Sizes of the AR Transformer."""

  text_size: int  # ids of the text model
  num_codes: int  # codes of the audio tokenizer
  speaker_id: int  # text id whose embedding the speaker vector replaces
  text_rate: float  # text pieces of one audio token, see `s02jax.text.sequence`
  mel_bins: int  # of a reference's log-mel
  transformer: TransformerConfig
  speaker: SpeakerConfig
  text_rates: tuple[tuple[str, float], ...] = ()  # (language, text_rate)
  # Places that the rotary pairs turn by: half of them by each, or all by the
  # position alone, as those of a language model that it began from.
  rotary: Literal["both", "position"] = "both"
  dtype: str = "float32"  # of matrix products; parameters are float32

  def axes(self, position: Array, cursor: Array) -> tuple[Array, ...]:
    """Axes of positions that the rotary pairs turn by."""
    return (position, cursor) if self.rotary == "both" else (position,)

  @property
  def end(self) -> int:
    """Class of the head that ends the speech."""
    return self.num_codes

  def rate(self, language: str) -> float:
    """Text pieces of one audio token; `text_rate` of an unknown language."""
    return dict(self.text_rates).get(language, self.text_rate)


class ARTransformer(nn.Module):
  """AR Transformer; methods `speaker`, `inputs`, `hidden`, `logits`."""

  config: ARConfig

  def setup(self):
    cfg, dtype = self.config, jnp.dtype(self.config.dtype)
    width = cfg.transformer.width
    self.embed = nn.Embed(
      cfg.text_size + cfg.num_codes,
      width,
      dtype=dtype,
      # A token must outweigh what the first layers add to the residual.
      embedding_init=nn.initializers.normal(1.0),
    )
    if cfg.speaker.kind == "encoder":
      self.speaker_encoder = SpeakerEncoder(
        cfg.speaker.width,
        cfg.speaker.layers,
        cfg.speaker.out,
        cfg.speaker.join,
        dtype=dtype,
      )
    if cfg.speaker.features:
      self.speaker_in = Dense(width, use_bias=False, dtype=dtype)
    self.stack = Stack(cfg.transformer, dtype)
    self.head = Logits(cfg.num_codes + 1, dtype)

  def speaker(
    self, mel: Float[Array, "b t m"], mask: Bool[Array, "b t"]
  ) -> Float[Array, "b o"]:
    """Encodes references to speaker vectors, float32; kind "encoder" only."""
    return self.speaker_encoder(mel, mask)

  def look_up(self, ids: Int[Array, "b s"]) -> Float[Array, "b s d"]:
    """Embeddings of joint ids; those of [speaker] are not used."""
    return look_up(self.embed.embedding.astype(self.config.dtype), ids)

  def _inputs(self, ids, segment, speakers) -> Float[Array, "b s d"]:
    """Embeddings of joint ids, and at [speaker] the segment's vector."""
    x = self.look_up(jnp.where(segment > 0, ids, 0))
    if not self.config.speaker.features:
      return shard(x, "batch", "time", "embed")
    number = jnp.arange(1, speakers.shape[1] + 1)[None, None]
    here = (ids == self.config.speaker_id)[:, :, None]
    here &= segment[:, :, None] == number  # [b, s, r]
    used = here.any(1)[:, :, None]
    # Without these the partitioner may split the segments over axes of the
    # batch, and then loses a part of their gradient.
    speakers = shard(jnp.where(used, speakers, 0), "batch", None, None)
    vectors = shard(self.speaker_in(speakers), "batch", None, "embed")
    voice = jnp.einsum("bsr,brd->bsd", here.astype(vectors.dtype), vectors)
    x = jnp.where(here.any(2)[:, :, None], voice, x)
    return shard(x, "batch", "time", "embed")

  def logits(self, x: Float[Array, "b s d"]) -> Float[Array, "b s c"]:
    """Maps the result of `hidden` to float32 logits."""
    return shard(self.head(x), "batch", "time", "vocab")

  def __call__(
    self,
    ids: Int[Array, "b s"],
    segment: Int[Array, "b s"],
    position: Int[Array, "b s"],
    cursor: Float[Array, "b s"],
    speakers: Float[Array, "b r o"],
  ) -> Float[Array, "b s c"]:
    """Predicts the code that follows each position, as float32 logits.

    Args:
      ids: joint ids.
      segment: 0 is padding; segment i speaks with speakers[:, i - 1].
      position: restarts at 0 in every segment.
      cursor: see `s02jax.text.sequence`. Half of each head's pairs turn by
        `position`, half by this, unless `rotary` says otherwise.
      speakers: one vector per segment; unused ones may hold anything.
    """
    return self.logits(self.hidden(ids, segment, position, cursor, speakers))

  def hidden(
    self, ids, segment, position, cursor, speakers
  ) -> Float[Array, "b s d"]:
    """Normalised output of the layers; arguments as of `__call__`."""
    x = self._inputs(ids, segment, speakers)
    axes = self.config.axes(position, cursor)
    return self.stack(x, segment, position, 1, rotary=axes)

  def inputs(
    self,
    ids: Int[Array, "b s"],
    segment: Int[Array, "b s"],
    speakers: Float[Array, "b r o"],
  ) -> Float[Array, "b s d"]:
    """Input of the first layer, zero where segment is 0."""
    x = self._inputs(ids, segment, speakers)
    return jnp.where(segment[:, :, None] > 0, x, 0)

  def following(self, x: Float[Array, "b s d"]) -> Float[Array, "b s c"]:
    """Maps the last layer's output, not yet normalised, to float32 logits."""
    return self.logits(self.stack.norm(x))

  def _touch(self, ids, mel):
    """Applies every parameter once, for initialisation."""
    if self.config.speaker.kind == "encoder":
      speakers = self.speaker(mel, jnp.ones(mel.shape[:2], bool))[:, None]
    else:
      speakers = jnp.zeros((len(ids), 1, self.config.speaker.features))
    return self(ids, jnp.ones_like(ids), ids, ids.astype(jnp.float32), speakers)


def init(model: ARTransformer, key: jax.Array) -> dict:
  """Fresh variables {"params": ...}, all float32."""
  ids = jnp.zeros((1, 2), jnp.int32)
  mel = jnp.zeros((1, 2, model.config.mel_bins))
  return model.init(key, ids, mel, method="_touch")
