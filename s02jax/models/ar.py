"""AR Transformer: text and a speaker's voice to audio tokens (report, 3.2).

One causal row holds one or more segments, laid out as `s02jax.text.sequence`
says, over joint ids: those of the text model, then text_size + code for audio
tokens. At a [speaker] position the speaker encoder's vector, projected, takes
the place of an embedding. The head predicts the next code or END (num_codes).
The speaker encoder is part of the model and learns with it; for an ablation the
vector may be a fixed one, or be left out (`SpeakerConfig.kind`).

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

from s02jax.models.layers.embedding import look_up
from s02jax.models.layers.linear import Dense
from s02jax.models.layers.transformer import Stack, TransformerConfig
from s02jax.models.speaker_encoder import SpeakerEncoder
from s02jax.pretrained import ge2e
from s02jax.sharding import shard


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeakerConfig:
  # "encoder" learns with the model; "embedding" takes vectors of a pretrained
  # speaker verifier; with "none" [speaker] is a token like others.
  kind: Literal["encoder", "embedding", "none"] = "encoder"
  width: int = 128
  layers: int = 3
  out: int = 128  # features of the speaker vector
  join: int = 2  # log-mel frames of one position

  @property
  def features(self) -> int:
    """Of the vector that the model takes."""
    return {
      "encoder": self.out,
      "embedding": ge2e.SIZE,
      "none": 0,
    }[self.kind]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ARConfig:
  text_size: int  # ids of the text model
  num_codes: int  # codes of the audio tokenizer
  speaker_id: int  # text id whose embedding the speaker vector replaces
  text_rate: float  # text pieces of one audio token, see `s02jax.text.sequence`
  mel_bins: int
  transformer: TransformerConfig
  speaker: SpeakerConfig
  text_rates: tuple[tuple[str, float], ...] = ()  # of each language
  dtype: str = "float32"  # of the products; parameters are float32

  @property
  def end(self) -> int:
    """The head's class for the end of speech."""
    return self.num_codes

  def rate(self, language: str) -> float:
    """Text pieces of one audio token; `text_rate` of an unknown language."""
    return dict(self.text_rates).get(language, self.text_rate)


class ARTransformer(nn.Module):
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
    if cfg.speaker.kind != "none":
      self.speaker_in = Dense(width, use_bias=False, dtype=dtype)
    self.stack = Stack(cfg.transformer, dtype)
    self.head = Dense(cfg.num_codes + 1, dtype=dtype)

  def speaker(
    self, mel: Float[Array, "b t m"], mask: Bool[Array, "b t"]
  ) -> Float[Array, "b o"]:
    """Reference speech to speaker vectors, float32; of kind "encoder"."""
    return self.speaker_encoder(mel, mask)

  def look_up(self, ids: Int[Array, "b s"]) -> Float[Array, "b s d"]:
    """Embeddings; those of [speaker] are of no use."""
    return look_up(self.embed.embedding.astype(self.config.dtype), ids)

  def _inputs(self, ids, segment, speakers) -> Float[Array, "b s d"]:
    """Embeddings, and at [speaker] the vector of the segment's reference."""
    x = self.look_up(jnp.where(segment > 0, ids, 0))
    if self.config.speaker.kind == "none":
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
    """Float32 logits of what `hidden` gives."""
    logits = self.head(x).astype(jnp.float32)
    return shard(logits, "batch", "time", "vocab")

  def __call__(
    self,
    ids: Int[Array, "b s"],
    segment: Int[Array, "b s"],
    position: Int[Array, "b s"],
    cursor: Float[Array, "b s"],
    speakers: Float[Array, "b r o"],
  ) -> Float[Array, "b s c"]:
    """Float32 logits of what follows each position.

    Args:
      ids: joint ids.
      segment: 0 is padding; segment i speaks with speakers[:, i - 1].
      position: restarts at 0 in every segment.
      cursor: rotary positions, see `s02jax.text.sequence`.
      speakers: one vector per segment; unused ones may hold anything.
    """
    return self.logits(self.hidden(ids, segment, position, cursor, speakers))

  def hidden(
    self, ids, segment, position, cursor, speakers
  ) -> Float[Array, "b s d"]:
    """What the head reads; arguments as above."""
    x = self._inputs(ids, segment, speakers)
    return self.stack(x, segment, position, 1, rotary=cursor)

  def inputs(
    self,
    ids: Int[Array, "b s"],
    segment: Int[Array, "b s"],
    speakers: Float[Array, "b r o"],
  ) -> Float[Array, "b s d"]:
    """What the layers read, zero where segment is 0."""
    x = self._inputs(ids, segment, speakers)
    return jnp.where(segment[:, :, None] > 0, x, 0)

  def following(self, x: Float[Array, "b s d"]) -> Float[Array, "b s c"]:
    """Float32 logits of what the last layer gives, before its norm."""
    return self.logits(self.stack.norm(x))

  def _touch(self, ids, mel):
    """Uses every parameter once, for initialisation."""
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
