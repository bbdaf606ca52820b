"""Speaker vectors of reference recordings, by the encoder of any model.

Shape letters: b batch, n samples, e speaker vector.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from s02jax.audio import spectra
from s02jax.core.config import build
from s02jax.models.layers.convnext import lengths_to_mask
from s02jax.synthesis.batching import Batch, map_waves


@functools.partial(jax.jit, static_argnames=("model", "mel"))
def vectors(
  model,
  mel: spectra.LogMel,
  variables,
  wave: Float[Array, "b n"],
  samples: Int[Array, "b"],
) -> Float[Array, "b e"]:
  """Speaker vectors of waves whose first `samples` exist.

  Args:
    model: Linen module with the method `speaker`.
    mel: of the encoder.
    variables: of the model.
    wave: padded with anything.
    samples: that exist of each wave.
  """
  frames = spectra.log_mel(wave, mel)
  mask = lengths_to_mask(samples // mel.hop, frames.shape[1])
  return model.apply(variables, frames, mask, method="speaker")


class SpeakerVectors:
  """Batched speaker encoder of a model; padding is kept out by its mask."""

  def __init__(self, model, variables, mel: Mapping[str, Any]):
    """Stores the model.

    Args:
      model: Linen module with the method `speaker`.
      variables: of the model.
      mel: fields of a LogMel.
    """
    self.model = model
    self.mel = build(spectra.LogMel, mel, "mel")
    self.variables = variables

  def __call__(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Speaker vectors float32 [e] of waves float32 [n]."""

    def run(batch: Batch):
      return np.array(
        vectors(
          self.model, self.mel, self.variables, batch.values, batch.lengths
        )
      )

    return map_waves(run, waves, self.mel.rate)
