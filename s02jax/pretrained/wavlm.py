"""Speaker judge WavLM with an ECAPA-TDNN head, in JAX.

The network of UniSpeech's speaker verification (Chen et al., 2022), whose
cosines papers on speech synthesis call SIM. Its released weights,
`wavlm_large_finetune.pth`, hold everything: WavLM-large under
`feature_extract.model`, one weight for each hidden state, and the head.

1. The waveform, normalised, through seven strided convolutions: a frame for
   every 20 ms.
2. A convolution that encodes positions, then pre-norm Transformer layers.
   Attention has one relative position bias for all layers, gated by the query.
3. The weighted sum of all hidden states, each channel normalised over time.
4. ECAPA-TDNN: three squeeze-excited Res2 blocks, attentive statistics.

Clips are padded to a few lengths, and no padding reaches a result.

Shape letters: n samples, t frames, c channels, d width of WavLM, h heads,
k kernel, l layers, e embedding.
"""

import functools
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from s02jax.core.errors import UserError
from s02jax.pretrained import signal, torch_file
from s02jax.pretrained.audio import read_wave

_WAVLM = "feature_extract.model."  # prefix of WavLM's names in the file
_STRIDES = (5, 2, 2, 2, 2, 2, 2)  # of the convolutions over samples
_MAX_DISTANCE = 800  # frames, beyond which all distances share a bucket
_SCALE = 8  # parts of a Res2 block
_DILATIONS = (2, 3, 4)  # of the Res2 blocks
_EPSILON = 1e-5  # of every normalisation
BUCKET = 2 * signal.JUDGE_RATE  # clips are padded to multiples of it

Params = dict[str, Any]


class WavLm:
  """Speaker judge WavLM-large, fine-tuned for speaker verification.

  Its cosine is the SIM of papers if its weights are UniSpeech's
  `wavlm_large_finetune.pth`.
  """

  def __init__(self, weights: str):
    """Loads a file of weights. Raises UserError."""
    path = pathlib.Path(weights)
    if not weights or not path.is_file():
      raise UserError(
        f"the weights {weights or 'of WavLM'} are not here; fetch"
        " wavlm_large_finetune.pth by the link in the README of UniSpeech's"
        " downstreams/speaker_verification and say wavlm:<where it is>."
      )
    self.spec = f"wavlm:{path.name}"
    self._model = load(path)

  def embed(self, paths: Sequence[pathlib.Path]) -> np.ndarray:
    """Returns float32[n, e] for n files; zero for a silent one."""
    return np.stack([self._model(read_wave(path)) for path in paths])


def load(path: pathlib.Path) -> Callable[[np.ndarray], np.ndarray]:
  """Loads the network: float32[n] at 16 kHz to float32[e]; zero for silence.

  Raises:
    UserError: the file does not hold these weights.
  """
  saved = torch_file.load(path)
  try:
    params = _params(saved["model"])
  except (KeyError, TypeError) as error:
    raise UserError(
      f"{path}: not the weights of WavLM with an ECAPA head (no {error});"
      " fetch UniSpeech's wavlm_large_finetune.pth."
    ) from error
  return functools.partial(embed, jax.device_put(params))


def embed(params: Params, wave: np.ndarray) -> np.ndarray:
  """Speaker vector float32[e] of float32[n] at 16 kHz; zero for silence."""
  frames = _frames(len(wave), params)
  if frames < 1 or not np.any(wave):
    return np.zeros(params["linear"]["bias"].shape, np.float32)
  wave = (wave - wave.mean()) / np.sqrt(wave.var() + _EPSILON)
  padded = np.zeros(-(-len(wave) // BUCKET) * BUCKET, np.float32)
  padded[: len(wave)] = wave
  return np.asarray(_embed(params, padded, frames))


def _frames(samples: int, params: Params) -> int:
  """Frames that the convolutions make of so many samples."""
  for layer, stride in zip(params["convs"], _STRIDES, strict=True):
    samples = (samples - layer["weight"].shape[-1]) // stride + 1
  return samples


@jax.jit
def _embed(params: Params, wave: Float[Array, "n"], frames) -> Array:
  """Runs the network on a padded wave of which `frames` frames are held."""
  with jax.default_matmul_precision("highest"):
    x = _extract(params, wave)
    held = jnp.arange(len(x)) < frames
    return _head(params, _wavlm(params, x, held), held)


# -------------------------------------------------------------------- WavLM


def _extract(params: Params, wave: Float[Array, "n"]) -> Float[Array, "t d"]:
  """Step 1: the convolutions over samples."""
  x = wave[:, None]
  for layer, stride in zip(params["convs"], _STRIDES, strict=True):
    x = _conv(x, layer, stride=stride)
    x = jax.nn.gelu(_layer_norm(x, layer["norm"]), approximate=False)
  return _dense(_layer_norm(x, params["norm_in"]), params["project"])


def _wavlm(
  params: Params, x: Float[Array, "t d"], held: Bool[Array, "t"]
) -> Float[Array, "t d"]:
  """Steps 2 and 3: weighted sum of all layers' inputs and the last output."""
  x = x * held[:, None]
  kernel = params["place"]["weight"].shape[-1]
  groups = x.shape[1] // params["place"]["weight"].shape[1]
  placed = _conv(
    x,
    params["place"],
    padding=(kernel // 2, kernel // 2 - 1 + kernel % 2),
    groups=groups,
  )
  x = x + jax.nn.gelu(placed, approximate=False)
  bias = _position_bias(params["bias"], len(x))
  weights = jax.nn.softmax(params["feature_weight"])

  def layer(carry, inputs):
    x, total = carry
    weight, own = inputs
    total = total + weight * x
    x = x + _attention(_layer_norm(x, own["norm_1"]), own, bias, held)
    y = _dense(_layer_norm(x, own["norm_2"]), own["fc1"])
    x = x + _dense(jax.nn.gelu(y, approximate=False), own["fc2"])
    return (x, total), None

  (x, total), _ = jax.lax.scan(
    layer, (x, jnp.zeros_like(x)), (weights[:-1], params["layers"])
  )
  return total + weights[-1] * _layer_norm(x, params["norm_out"])


def _attention(x, own: Params, bias, held) -> Float[Array, "t d"]:
  """Self-attention with a gated position bias [h, t, t] and a mask [t]."""
  heads = len(bias)
  t, d = x.shape

  def split(y):
    return y.reshape(t, heads, d // heads)

  q, k, v = (split(_dense(x, own[name])) for name in ("q", "k", "v"))
  # The gate is computed from the layer's input, not from its query.
  gates = _dense(split(x), own["gate"]).reshape(t, heads, 2, 4).sum(-1)
  a, b = jnp.moveaxis(jax.nn.sigmoid(gates), -1, 0)  # [t, h] each
  gate = a * (b * own["gate_scale"][None] - 1.0) + 2.0
  scores = jnp.einsum("qhc,khc->hqk", q, k) / math.sqrt(d // heads)
  scores = scores + gate.T[:, :, None] * bias
  scores = jnp.where(held[None, None], scores, -jnp.inf)
  mixed = jnp.einsum("hqk,khc->qhc", jax.nn.softmax(scores), v)
  return _dense(mixed.reshape(t, d), own["out"])


def _position_bias(table: Float[Array, "b h"], t: int) -> Float[Array, "h t t"]:
  """Position bias of all layers: a value for each bucket of distances."""
  buckets = jnp.asarray(distance_buckets(t, len(table)))
  return jnp.moveaxis(table[buckets], -1, 0)


def distance_buckets(t: int, buckets: int) -> np.ndarray:
  """Bucket of key minus query, int[t, t]: half of them for later keys.

  Distances below a quarter of the buckets have one each, larger ones share
  them on a logarithmic scale.
  """
  distance = np.arange(t)[None, :] - np.arange(t)[:, None]
  half = buckets // 2
  exact = half // 2
  size = np.abs(distance)
  ratio = np.log(np.maximum(size, 1).astype(np.float32) / np.float32(exact))
  scaled = ratio / np.float32(math.log(_MAX_DISTANCE / exact)) * (half - exact)
  far = np.minimum(exact + scaled.astype(np.int64), half - 1)
  return np.where(size < exact, size, far) + half * (distance > 0)


# --------------------------------------------------------------------- head


def _head(params: Params, x: Float[Array, "t d"], held: Bool[Array, "t"]):
  """Step 4: the ECAPA-TDNN head, float32[e]."""
  share = held[:, None] / jnp.sum(held)

  def over_time(y):
    return jnp.sum(y * share, axis=0)

  x = x - over_time(x)[None]
  x = x / jnp.sqrt(over_time(x**2) + _EPSILON)[None]
  x = _conv_relu_norm(x, params["layer1"], held)
  outs = []
  for block, dilation in zip(params["blocks"], _DILATIONS, strict=True):
    x = x + _block(x, block, dilation, held, over_time)
    outs.append(x)
  y = jax.nn.relu(_conv(jnp.concatenate(outs, axis=1), params["conv"]))
  return _pool(y, params, held)


def _block(x, block: Params, dilation: int, held, over_time):
  """Squeeze-excited Res2 block, [t, c] to [t, c]."""
  y = _conv_relu_norm(x, block["first"], held)
  parts = jnp.split(y, _SCALE, axis=1)
  outs = []
  for i, part in enumerate(block["parts"]):
    joined = parts[i] + outs[-1] if i else parts[0]
    outs.append(_conv_relu_norm(joined, part, held, dilation))
  y = jnp.concatenate([*outs, parts[-1]], axis=1)
  y = _conv_relu_norm(y, block["last"], held)
  squeezed = jax.nn.relu(_dense(over_time(y)[None], block["squeeze"]))
  return y * jax.nn.sigmoid(_dense(squeezed, block["excite"]))


def _pool(x: Float[Array, "t c"], params: Params, held) -> Float[Array, "e"]:
  """Attentive statistics: each channel's mean and deviation, then linear."""
  scores = _conv(jnp.tanh(_conv(x, params["pool_1"])), params["pool_2"])
  scores = jnp.where(held[:, None], scores, -jnp.inf)
  weights = jax.nn.softmax(scores, axis=0)
  mean = jnp.sum(weights * x, axis=0)
  variance = jnp.sum(weights * x**2, axis=0) - mean**2
  deviation = jnp.sqrt(jnp.maximum(variance, 1e-9))
  found = jnp.concatenate([mean, deviation])[None]
  return _dense(_batch_norm(found, params["pool_norm"]), params["linear"])[0]


def _conv_relu_norm(x, layer: Params, held, dilation: int = 1):
  """Convolution of the same length; padded frames count as zeros."""
  reach = dilation * (layer["conv"]["weight"].shape[-1] // 2)
  y = _conv(
    jnp.where(held[:, None], x, 0.0),
    layer["conv"],
    padding=(reach, reach),
    dilation=dilation,
  )
  return _batch_norm(jax.nn.relu(y), layer["norm"])


# ------------------------------------------------------------------- layers


def _conv(
  x: Float[Array, "t c"],
  layer: Params,
  *,
  stride: int = 1,
  padding: tuple[int, int] = (0, 0),
  dilation: int = 1,
  groups: int = 1,
) -> Float[Array, "t o"]:
  """Convolution with PyTorch's weight [o, c / groups, k], maybe a bias [o]."""
  y = jax.lax.conv_general_dilated(
    x[None],
    layer["weight"],
    window_strides=(stride,),
    padding=(padding,),
    rhs_dilation=(dilation,),
    dimension_numbers=("NWC", "OIW", "NWC"),
    feature_group_count=groups,
  )[0]
  return y + layer["bias"][None] if "bias" in layer else y


def _dense(x: Float[Array, "*b c"], layer: Params) -> Float[Array, "*b o"]:
  """Linear map with PyTorch's weight [o, c] and bias [o]."""
  y = x @ layer["weight"].T
  return y + layer["bias"].reshape((1,) * (y.ndim - 1) + (-1,))


def _layer_norm(x: Float[Array, "t c"], layer: Params) -> Float[Array, "t c"]:
  """Layer normalisation over channels."""
  x = x - jnp.mean(x, axis=1, keepdims=True)
  x = x / jnp.sqrt(jnp.mean(x**2, axis=1, keepdims=True) + _EPSILON)
  return x * layer["weight"][None] + layer["bias"][None]


def _batch_norm(x: Float[Array, "t c"], layer: Params) -> Float[Array, "t c"]:
  """Batch normalisation with the statistics of training."""
  x = (x - layer["mean"][None]) / jnp.sqrt(layer["variance"][None] + _EPSILON)
  return x * layer["weight"][None] + layer["bias"][None]


# --------------------------------------------------------------- parameters


Saved = dict[str, np.ndarray]  # tensors by the names of the file


def _params(saved: Saved) -> Params:
  """Parameter tree of this module from the names of the file."""
  return _wavlm_params(saved) | _head_params(saved)


def _wavlm_params(saved: Saved) -> Params:
  """Parameters of steps 1 to 3."""
  convs = f"{_WAVLM}feature_extractor.conv_layers"
  layers = [
    _layer_params(saved, f"{_WAVLM}encoder.layers.{i}")
    for i in range(len(saved["feature_weight"]) - 1)
  ]
  return {
    "convs": [
      _linear_params(saved, f"{convs}.{i}.0")
      | {"norm": _linear_params(saved, f"{convs}.{i}.2.1")}
      for i in range(len(_STRIDES))
    ],
    "norm_in": _linear_params(saved, f"{_WAVLM}layer_norm"),
    "project": _linear_params(saved, f"{_WAVLM}post_extract_proj"),
    "place": _place(saved, f"{_WAVLM}encoder.pos_conv.0"),
    "bias": saved[
      f"{_WAVLM}encoder.layers.0.self_attn.relative_attention_bias.weight"
    ],
    "layers": jax.tree.map(lambda *x: np.stack(x), *layers),
    "norm_out": _linear_params(saved, f"{_WAVLM}encoder.layer_norm"),
    "feature_weight": saved["feature_weight"],
  }


def _layer_params(saved: Saved, prefix: str) -> Params:
  """Parameters of one Transformer layer."""
  attention = f"{prefix}.self_attn"
  names = {
    "norm_1": f"{prefix}.self_attn_layer_norm",
    "q": f"{attention}.q_proj",
    "k": f"{attention}.k_proj",
    "v": f"{attention}.v_proj",
    "out": f"{attention}.out_proj",
    "gate": f"{attention}.grep_linear",
    "norm_2": f"{prefix}.final_layer_norm",
    "fc1": f"{prefix}.fc1",
    "fc2": f"{prefix}.fc2",
  }
  return {name: _linear_params(saved, key) for name, key in names.items()} | {
    "gate_scale": saved[f"{attention}.grep_a"].reshape(-1)
  }


def _head_params(saved: Saved) -> Params:
  """Parameters of step 4."""
  return {
    "layer1": _conv_params(saved, "layer1.conv", "layer1.bn"),
    "blocks": [_block_params(saved, f"layer{i}") for i in (2, 3, 4)],
    "conv": _linear_params(saved, "conv"),
    "pool_1": _linear_params(saved, "pooling.linear1"),
    "pool_2": _linear_params(saved, "pooling.linear2"),
    "pool_norm": _norm_params(saved, "bn"),
    "linear": _linear_params(saved, "linear"),
  }


def _block_params(saved: Saved, prefix: str) -> Params:
  """Parameters of one Res2 block."""
  first, last = f"{prefix}.Conv1dReluBn1", f"{prefix}.Conv1dReluBn2"
  res2 = f"{prefix}.Res2Conv1dReluBn"
  return {
    "first": _conv_params(saved, f"{first}.conv", f"{first}.bn"),
    "parts": [
      _conv_params(saved, f"{res2}.convs.{i}", f"{res2}.bns.{i}")
      for i in range(_SCALE - 1)
    ],
    "last": _conv_params(saved, f"{last}.conv", f"{last}.bn"),
    "squeeze": _linear_params(saved, f"{prefix}.SE_Connect.linear1"),
    "excite": _linear_params(saved, f"{prefix}.SE_Connect.linear2"),
  }


def _conv_params(saved: Saved, conv: str, norm: str) -> Params:
  """Parameters of a convolution and its batch normalisation."""
  return {
    "conv": _linear_params(saved, conv),
    "norm": _norm_params(saved, norm),
  }


def _linear_params(saved: Saved, prefix: str) -> Params:
  """Weight, and bias if there is one, in float32."""
  return {
    name: np.asarray(saved[f"{prefix}.{name}"], np.float32)
    for name in ("weight", "bias")
    if name == "weight" or f"{prefix}.{name}" in saved
  }


def _norm_params(saved: Saved, prefix: str) -> Params:
  """Parameters of a batch normalisation with its running statistics."""
  return _linear_params(saved, prefix) | {
    "mean": saved[f"{prefix}.running_mean"],
    "variance": saved[f"{prefix}.running_var"],
  }


def _place(saved: Saved, prefix: str) -> Params:
  """Weight-normalised convolution: direction and length of each tap."""
  direction = saved[f"{prefix}.weight_v"]
  length = np.sqrt(np.sum(direction**2, axis=(0, 1), keepdims=True))
  return {
    "weight": saved[f"{prefix}.weight_g"] * direction / length,
    "bias": saved[f"{prefix}.bias"],
  }
