"""Train step of the AR model in PyTorch, for `s02 bench step --torch`.

Same architecture, parameters, batch and optimizer as `s02jax.stages.ar`, as a
user of PyTorch would write it: `scaled_dot_product_attention`, grouped
convolution, fused AdamW, one `torch.compile`. Its parameters are those of the
stage, and so must its first loss be.

Shape letters: as in `models/ar.py`, `models/layers/transformer.py` and
`models/layers/convnext.py`.
"""

import itertools
import time
from typing import Any

import jax
import numpy as np
import torch
import torch.nn.functional as F

from s02jax.audio import spectra
from s02jax.core.errors import UserError
from s02jax.models.ar import ARConfig
from s02jax.stages.ar import ARStage
from s02jax.stages.train_state import OptimizerConfig

Params = Any  # a dict of dicts of tensors, named as in Flax
Batch = dict[str, torch.Tensor]


class Twin:
  """AR model with its optimizer in PyTorch, float32 on a CPU."""

  def __init__(self, stage: ARStage, params: Any):
    if stage.model_config.dtype != "float32" or stage.config.accumulate != 1:
      raise UserError(
        "the comparison with PyTorch is in float32, of whole batches: add "
        "--config.model.dtype=float32 --config.accumulate=1."
      )
    self.config, self.mel, self.noise = (
      stage.model_config,
      stage.mel,
      stage.loss.noise,
    )
    self.params = jax.tree.map(
      lambda x: torch.tensor(np.asarray(x)).requires_grad_(), params
    )
    named = jax.tree_util.tree_leaves_with_path(self.params)
    decayed = [x for p, x in named if p[-1].key == "kernel"]
    others = [x for p, x in named if p[-1].key != "kernel"]
    self.leaves = decayed + others
    self.average = [x.detach().clone() for x in self.leaves]
    self.optimizer_config: OptimizerConfig = stage.optimizer_config
    c = self.optimizer_config
    self.optimizer = torch.optim.AdamW(
      [
        {"params": decayed, "weight_decay": c.weight_decay},
        {"params": others, "weight_decay": 0.0},
      ],
      lr=c.learning_rate,
      betas=(c.b1, c.b2),
      fused=True,
    )
    self.compiled = torch.compile(self.loss)

  def loss(self, batch: Batch) -> torch.Tensor:
    """Weighted mean of the nats of the targets, as `ARStage.measure`."""
    logits = forward(self.params, batch, self.config, self.mel)
    nats = F.cross_entropy(
      logits.flatten(0, 1), batch["target"].flatten().long(), reduction="none"
    )
    weight = batch["weight"].flatten()
    return (nats * weight).sum() / weight.sum()

  def step(self, batch: Batch) -> float:
    """Trains one step; returns its loss."""
    ids = batch["ids"]
    chosen = torch.rand(ids.shape) < self.noise
    other = torch.randint_like(ids, self.config.num_codes)
    other += self.config.text_size
    chosen &= (ids >= self.config.text_size) & (batch["prompt"] == 0)
    loss = self.compiled(batch | {"ids": torch.where(chosen, other, ids)})
    loss.backward()
    torch.nn.utils.clip_grad_norm_(self.leaves, self.optimizer_config.clip)
    self.optimizer.step()
    self.optimizer.zero_grad()
    with torch.no_grad():
      torch._foreach_lerp_(
        self.average, self.leaves, 1 - self.optimizer_config.ema
      )
    return float(loss)

  def seconds(self, batch: dict[str, np.ndarray], steps: int) -> float:
    """Median seconds of a step, after two that compile and warm up."""
    tensors = {key: torch.tensor(value) for key, value in batch.items()}
    times = []
    for _ in range(2 + steps):
      began = time.perf_counter()
      self.step(tensors)
      times.append(time.perf_counter() - began)
    return float(np.median(times[2:]))

  def first_loss(self, batch: dict[str, np.ndarray]) -> float:
    """Loss of a batch without the noise on its codes."""
    tensors = {key: torch.tensor(value) for key, value in batch.items()}
    with torch.no_grad():
      return float(self.loss(tensors))


# ------------------------------------------------------------------ the model


def forward(
  params: Params, batch: Batch, config: ARConfig, mel: spectra.LogMel
) -> torch.Tensor:
  """Logits [b, s, c] of the AR model."""
  ids, segment = batch["ids"], batch["segment"]
  b, r, n = batch["references"].shape
  samples = batch["reference_samples"].flatten().clamp(max=n)
  wave = batch["references"].reshape(b * r, n)
  wave = wave * (torch.arange(n)[None] < samples[:, None])
  frames = _log_mel(wave, mel)
  mask = torch.arange(frames.shape[1])[None] < (samples // mel.hop)[:, None]
  vectors = speaker(params["speaker_encoder"], frames, mask, config)
  vectors = _linear(params["speaker_in"], vectors.reshape(b, r, -1))
  x = params["embed"]["embedding"][ids]
  whose = (segment - 1).clamp(min=0)[:, :, None].long()
  voice = torch.gather(vectors, 1, whose.expand(-1, -1, vectors.shape[-1]))
  x = torch.where((ids == config.speaker_id)[:, :, None], voice, x)
  x = transformer(params["stack"], x, batch, config)
  return _linear(params["head"], x)


def transformer(
  params: Params, x: torch.Tensor, batch: Batch, config: ARConfig
) -> torch.Tensor:
  """Causal Transformer stack within segments, [b, s, d] to [b, s, d]."""
  c = config.transformer
  segment, position = batch["segment"], batch["position"]
  mask = (segment[:, :, None] == segment[:, None]) & (segment > 0)[:, None]
  mask &= position[:, None] <= position[:, :, None]
  each = c.head_dim // 2  # features of each axis of positions
  scale = c.rope_base ** (torch.arange(0, each, 2) / each)
  axes = (position, batch["cursor"])
  angles = torch.cat([x[:, :, None] / scale for x in axes], dim=-1)
  cos, sin = angles.cos()[:, :, None], angles.sin()[:, :, None]

  def heads(p, norm, y):
    y = _linear(p, y).unflatten(-1, (-1, c.head_dim))
    if norm is None:
      return y.transpose(1, 2)
    first, second = rms_norm(norm, y).chunk(2, dim=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat(turned, dim=-1).transpose(1, 2)

  for layer in range(c.layers):
    p = layer_of(params["blocks"], layer)
    a, y = p["attention"], rms_norm(p["attention_norm"], x)
    out = F.scaled_dot_product_attention(
      heads(a["q"], a["q_norm"], y),
      heads(a["k"], a["k_norm"], y),
      heads(a["v"], None, y),
      attn_mask=mask[:, None],
      enable_gqa=True,
    )
    x = x + _linear(a["o"], out.transpose(1, 2).flatten(2))
    y, m = rms_norm(p["mlp_norm"], x), p["mlp"]
    hidden = F.silu(_linear(m["gate"], y)) * _linear(m["up"], y)
    x = x + _linear(m["down"], hidden)
  return rms_norm(params["norm"], x)


def speaker(
  params: Params, mel: torch.Tensor, mask: torch.Tensor, config: ARConfig
) -> torch.Tensor:
  """Speaker vectors [b, o] of mean square one, from log-mel [b, t, m]."""
  join = config.speaker.join
  short = -mel.shape[1] % join
  mel = F.pad(mel * mask[:, :, None], (0, 0, 0, short))
  mask = F.pad(mask, (0, short)).unflatten(1, (-1, join)).any(-1)
  x = mel.reshape(len(mel), -1, join * mel.shape[-1])
  body, valid = params["body"], mask[:, :, None]
  x = _layer_norm(body["into_norm"], _linear(body["into"], x)) * valid
  for run in itertools.takewhile(
    lambda name: name in body, (f"blocks_{i}" for i in itertools.count())
  ):
    for layer in range(len(body[run]["scale"])):
      x = _convnext(layer_of(body[run], layer), x, valid)
  x = _layer_norm(params["pool_norm"], x)
  scores = _linear(params["pool_scores"], x)
  scores = scores.masked_fill(~valid, torch.finfo(torch.float32).min)
  weights = scores.softmax(1)
  shares = x.unflatten(-1, (weights.shape[-1], -1))
  pooled = torch.einsum("bph,bphd->bhd", weights, shares).flatten(1)
  vector = _linear(params["out"], pooled)
  return vector * torch.rsqrt(vector.square().mean(-1, keepdim=True) + 1e-6)


def _convnext(p: Params, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
  """ConvNeXt block of the speaker encoder: kernel 7, look-ahead 3."""
  taps = p["depthwise"]["taps"]
  y = F.conv1d(
    x.transpose(1, 2),
    taps.T[:, None],
    p["depthwise"]["bias"],
    padding=3,
    groups=taps.shape[1],
  ).transpose(1, 2)
  y = _linear(p["up"], _layer_norm(p["norm"], y))
  y = _linear(p["down"], F.gelu(y, approximate="tanh"))
  return (x + y * p["scale"]) * valid


def _log_mel(wave: torch.Tensor, spec: spectra.LogMel) -> torch.Tensor:
  left = (spec.window - spec.hop) // 2
  wave = wave[:, : wave.shape[1] // spec.hop * spec.hop]
  padded = F.pad(wave, (left, spec.window - spec.hop - left))
  frames = padded.unfold(1, spec.window, spec.hop)
  spectrum = torch.fft.rfft(
    frames * torch.from_numpy(spectra.hann(spec.window))
  )
  magnitude = (spectrum.real**2 + spectrum.imag**2 + 1e-8).sqrt()
  filters = spectra.mel_filters(spec.rate, spec.window, spec.bins)
  return (magnitude @ torch.from_numpy(filters) + spec.floor).log()


def layer_of(p: Params, i: int) -> Params:
  """Parameters of layer `i`, from stacked ones."""
  return {
    key: layer_of(x, i) if isinstance(x, dict) else x[i] for key, x in p.items()
  }


def _linear(p: Params, x: torch.Tensor) -> torch.Tensor:
  return F.linear(x, p["kernel"].T, p.get("bias"))


def rms_norm(p: Params, x: torch.Tensor) -> torch.Tensor:
  """RMSNorm of x [.., d], in its own dtype."""
  return F.rms_norm(x, x.shape[-1:], p["scale"], 1e-6)


def _layer_norm(p: Params, x: torch.Tensor) -> torch.Tensor:
  return F.layer_norm(x, x.shape[-1:], p["scale"], p["bias"], 1e-5)
