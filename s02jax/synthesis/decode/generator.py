"""AR Transformer of a bundle at inference: decode functions and text cost.

Shape letters: b batch, p positions, c codes and END, e speaker vector.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from s02jax.core.config import build
from s02jax.models.ar import ARConfig, ARTransformer
from s02jax.models.layers.convnext import lengths_to_mask
from s02jax.pretrained import ge2e
from s02jax.synthesis.batching import counts, pad, plan_batches, stack
from s02jax.synthesis.decode.decoder import (
  CompiledDecodeFunctions,
  decode_weights,
)
from s02jax.synthesis.decode.prompts import PromptBuilder
from s02jax.synthesis.decode.slots import PROMPT_UNIT
from s02jax.synthesis.speaker_vectors import SpeakerVectors
from s02jax.text import sequence
from s02jax.text.tokenizer import TextModel

BUDGET = 16 * 1024  # positions of a batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recorded:
  """Text and tokens of a recording, with its speaker's vector."""

  text: str  # what is said
  language: str  # its code
  vector: np.ndarray  # float32 [e], by the AR model's speaker encoder
  tokens: np.ndarray  # int32 [s], audio tokens of the recording


@functools.partial(jax.jit, static_argnames=("model",))
def _target_nats(
  model: ARTransformer,
  variables,
  ids: Int[Array, "b p"],
  cursor: Float[Array, "b p"],
  lengths: Int[Array, "b"],
  starts: Int[Array, "b"],
  vectors: Float[Array, "b e"],
) -> Float[Array, ""]:
  """Summed cross-entropy of the audio in zero-shot sequences, in nats.

  Args:
    model: the AR Transformer.
    variables: its inference parameters.
    ids: joint ids, padded with anything.
    cursor: text positions of `ids`.
    lengths: of the sequences.
    starts: position of each sequence's first audio token.
    vectors: of the speakers.
  """
  mask = lengths_to_mask(lengths, ids.shape[1])
  position = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)
  logits = model.apply(
    variables,
    ids,
    mask.astype(jnp.int32),
    position,
    cursor,
    vectors[:, None],
  )
  last = position == lengths[:, None] - 1
  codes = jnp.roll(ids, -1, axis=1) - model.config.text_size
  target = jnp.where(last, model.config.end, codes)
  in_target = mask & (position >= starts[:, None] - 1)
  chosen = jnp.take_along_axis(
    jax.nn.log_softmax(logits),
    jnp.where(in_target, target, 0)[..., None],
    axis=-1,
  )[..., 0]
  return -jnp.sum(jnp.where(in_target, chosen, 0.0))


class TokenGenerator:
  """The AR Transformer of a bundle."""

  def __init__(
    self,
    config: Mapping[str, Any],
    variables: Mapping[str, Any],
    text: TextModel,
  ):
    """Builds the model.

    Args:
      config: resolved, of the stage.
      variables: inference parameters of the stage.
      text: the bundle's text model.
    """
    self.config = build(ARConfig, config["model"], "model")
    self._text_model = text
    self.variables = jax.device_put(variables)
    self.model = ARTransformer(self.config)
    self.decode_functions = CompiledDecodeFunctions(
      self.model, decode_weights(variables, jnp.dtype(self.config.dtype))
    )
    self.prompt_builder = PromptBuilder(text, self.config.rate)
    self.encoder = SpeakerVectors(self.model, self.variables, config["mel"])
    self._rate = config["mel"]["rate"]

  def speakers(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Speaker vectors float32 [e] of reference waves float32 [n]."""
    if self.config.speaker.kind == "embedding":
      return ge2e.speaker_vectors(waves, self._rate)
    if self.config.speaker.kind == "none":
      return [np.zeros(0, np.float32)] * len(waves)
    return self.encoder(waves)

  def cost(self, recordings: Sequence[Recorded]) -> float:
    """Mean nats per target token, END included, over all recordings."""
    sequences = [
      sequence.sequence(
        self._text_model,
        [
          sequence.Part(
            language=r.language,
            pieces=self._text_model.pieces(r.text),
            rate=self.config.rate(r.language),
            codes=r.tokens,
          )
        ],
      )
      for r in recordings
    ]
    ids, cursors = zip(*sequences, strict=True)
    starts = [
      len(row) - len(r.tokens) for row, r in zip(ids, recordings, strict=True)
    ]
    nats = 0.0
    for indices, rows, length in plan_batches(
      [len(row) for row in ids], PROMPT_UNIT, BUDGET
    ):
      chosen = [ids[i] for i in indices]
      nats += float(
        _target_nats(
          self.model,
          self.variables,
          pad(chosen, rows, length),
          pad([cursors[i] for i in indices], rows, length),
          counts(chosen, rows),
          stack([np.int32(starts[i]) for i in indices], rows),
          stack([recordings[i].vector for i in indices], rows),
        )
      )
    return nats / sum(len(r.tokens) + 1 for r in recordings)
