"""Decoder of the AR model in PyTorch, for `s02 bench synthesis --torch`.

Same architecture and parameters as `s02jax.models.ar`, as a user of PyTorch
would write it: a cache of fixed size that is written in place,
`scaled_dot_product_attention` over what is filled, no gradient.

Shape letters: as in `models/ar.py` and `models/layers/transformer.py`.
"""

import time
from typing import Any

import jax
import numpy as np
import torch
import torch.nn.functional as F

from s02jax.bench.torch_twin import Params, layer_of, rms_norm
from s02jax.models.ar import ARConfig


class Decoder:
  """Decoding of one batch, all rows at the same position; float32 on a CPU."""

  def __init__(self, config: ARConfig, params: Any, rows: int, slots: int):
    """Allocates a cache of `slots` positions for each of `rows` rows."""
    self.config, c = config, config.transformer
    tensors = jax.tree.map(lambda x: torch.tensor(np.asarray(x)), params)
    self._embedding = tensors["embed"]["embedding"]
    self._head = _by_output(tensors["head"])
    self._norm = tensors["stack"]["norm"]
    self._layers = [
      _by_output(layer_of(tensors["stack"]["blocks"], i))
      for i in range(c.layers)
    ]
    shape = (c.layers, rows, c.kv_heads, slots, c.head_dim)
    self._keys, self._values = torch.zeros(shape), torch.zeros(shape)
    self._filled = 0

  @torch.inference_mode()
  def step(self, ids: torch.Tensor, cursor: torch.Tensor) -> torch.Tensor:
    """Next-token logits [b, c] after joint ids int64 [b] at cursor [b]."""
    c = self.config.transformer
    x = self._embedding[ids]
    each = c.head_dim // 2  # features of each axis of positions
    scale = c.rope_base ** (torch.arange(0, each, 2) / each)
    axes = (torch.full_like(cursor, self._filled), cursor)
    angles = torch.cat([x[:, None] / scale for x in axes], dim=-1)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]

    def heads(kernel, norm, y):
      y = F.linear(y, kernel["kernel"]).unflatten(-1, (-1, c.head_dim))
      if norm is None:
        return y
      first, second = rms_norm(norm, y).chunk(2, dim=-1)
      turned = (first * cos - second * sin, second * cos + first * sin)
      return torch.cat(turned, dim=-1)

    now, end = self._filled, self._filled + 1
    for i, p in enumerate(self._layers):
      a, y = p["attention"], rms_norm(p["attention_norm"], x)
      self._keys[i, :, :, now] = heads(a["k"], a["k_norm"], y)
      self._values[i, :, :, now] = heads(a["v"], None, y)
      out = F.scaled_dot_product_attention(
        heads(a["q"], a["q_norm"], y)[:, :, None],
        self._keys[i, :, :, :end],
        self._values[i, :, :, :end],
        enable_gqa=True,
      )
      x = x + F.linear(out.flatten(1), a["o"]["kernel"])
      y, m = rms_norm(p["mlp_norm"], x), p["mlp"]
      hidden = F.silu(F.linear(y, m["gate"]["kernel"]))
      hidden = hidden * F.linear(y, m["up"]["kernel"])
      x = x + F.linear(hidden, m["down"]["kernel"])
    self._filled = end
    x = rms_norm(self._norm, x)
    return F.linear(x, self._head["kernel"], self._head["bias"])

  def tokens_per_second(self, prompt: int, tokens: int, rate: float) -> float:
    """Greedy tokens a second of all rows, after `prompt` positions."""
    self._filled = 0
    rows = self._keys.shape[1]
    codes = torch.zeros(rows, dtype=torch.long)
    began = 0.0
    for i in range(prompt + tokens):
      if i == prompt:
        began = time.perf_counter()
      cursor = torch.full((rows,), i * rate)
      logits = self.step(codes + self.config.text_size, cursor)
      codes = logits[:, : self.config.num_codes].argmax(-1)
    return rows * tokens / (time.perf_counter() - began)


def _by_output(p: Params) -> Params:
  """Parameters whose kernels are [out, in], as PyTorch keeps them."""
  return {
    key: _by_output(x)
    if isinstance(x, dict)
    else x.T.contiguous()
    if key == "kernel"
    else x
    for key, x in p.items()
  }
