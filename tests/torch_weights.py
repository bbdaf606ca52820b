"""Tiny random weights under the names, and in the files, of PyTorch."""

import collections
import pickle
import sys
import types
import zipfile

import numpy as np

WIDTH, CONV, HEADS, LAYERS, CHANNELS, LAST, EMBEDDING = 16, 8, 2, 2, 16, 24, 6


def tiny_wavlm() -> dict[str, np.ndarray]:
  """All tensors of a WavLM with an ECAPA head, a thousandth of its size."""
  shapes = _wavlm_shapes() | _ecapa_shapes()
  random = np.random.default_rng(0)
  return {name: _drawn(name, shapes[name], random) for name in sorted(shapes)}


def _drawn(name, shape, random) -> np.ndarray:
  value = 0.3 * random.normal(size=shape)
  if name.endswith(("running_var", "weight_g")):
    value = 0.5 + np.abs(value)
  if len(shape) == 1 and name.endswith(".weight"):
    value += 1
  return value.astype(np.float32)


def _dense(name, i, o, *kernel):
  return {f"{name}.weight": (o, i, *kernel), f"{name}.bias": (o,)}


def _norm(name, width):
  return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _batch_norm(name, width):
  statistics = {
    f"{name}.running_mean": (width,),
    f"{name}.running_var": (width,),
  }
  return _norm(name, width) | statistics


def _wavlm_shapes():
  root = "feature_extract.model"
  shapes = {}
  for i, kernel in enumerate((10, 3, 3, 3, 3, 2, 2)):
    name = f"{root}.feature_extractor.conv_layers.{i}"
    shapes[f"{name}.0.weight"] = (CONV, CONV if i else 1, kernel)
    shapes |= _norm(f"{name}.2.1", CONV)
  shapes |= _norm(f"{root}.layer_norm", CONV)
  shapes |= _dense(f"{root}.post_extract_proj", CONV, WIDTH)
  encoder = f"{root}.encoder"
  shapes |= {
    f"{encoder}.pos_conv.0.bias": (WIDTH,),
    f"{encoder}.pos_conv.0.weight_g": (1, 1, 8),
    f"{encoder}.pos_conv.0.weight_v": (WIDTH, WIDTH // 2, 8),
    f"{encoder}.layers.0.self_attn.relative_attention_bias.weight": (32, HEADS),
    "feature_weight": (LAYERS + 1,),
  }
  for i in range(LAYERS):
    name = f"{encoder}.layers.{i}"
    for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
      shapes |= _dense(f"{name}.self_attn.{part}", WIDTH, WIDTH)
    shapes |= _dense(f"{name}.self_attn.grep_linear", WIDTH // HEADS, 8)
    shapes[f"{name}.self_attn.grep_a"] = (1, HEADS, 1, 1)
    shapes |= _norm(f"{name}.self_attn_layer_norm", WIDTH)
    shapes |= _norm(f"{name}.final_layer_norm", WIDTH)
    shapes |= _dense(f"{name}.fc1", WIDTH, 24)
    shapes |= _dense(f"{name}.fc2", 24, WIDTH)
  return shapes | _norm(f"{encoder}.layer_norm", WIDTH)


def _ecapa_shapes():
  def unit(name, i, o, kernel=1):
    return _dense(f"{name}.conv", i, o, kernel) | _batch_norm(f"{name}.bn", o)

  shapes = unit("layer1", WIDTH, CHANNELS, 5)
  part = CHANNELS // 8
  for layer in ("layer2", "layer3", "layer4"):
    shapes |= unit(f"{layer}.Conv1dReluBn1", CHANNELS, CHANNELS)
    shapes |= unit(f"{layer}.Conv1dReluBn2", CHANNELS, CHANNELS)
    for i in range(7):
      shapes |= _dense(f"{layer}.Res2Conv1dReluBn.convs.{i}", part, part, 3)
      shapes |= _batch_norm(f"{layer}.Res2Conv1dReluBn.bns.{i}", part)
    shapes |= _dense(f"{layer}.SE_Connect.linear1", CHANNELS, 8)
    shapes |= _dense(f"{layer}.SE_Connect.linear2", 8, CHANNELS)
  shapes |= _dense("conv", 3 * CHANNELS, LAST, 1)
  shapes |= _dense("pooling.linear1", LAST, 8, 1)
  shapes |= _dense("pooling.linear2", 8, LAST, 1)
  shapes |= _batch_norm("bn", 2 * LAST)
  return shapes | _dense("linear", 2 * LAST, EMBEDDING)


# -------------------------------------------------------------------- files


class _Storage:
  def __init__(self, key, values):
    self.key, self.values = key, values


def save(path, saved, monkeypatch) -> None:
  """Saves a nested dict of arrays as `torch.save` does since 1.6."""
  torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

  def _rebuild_tensor_v2():
    raise AssertionError("only its name is written")

  _rebuild_tensor_v2.__module__ = "torch._utils"
  _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
  utils._rebuild_tensor_v2 = _rebuild_tensor_v2
  for name in ("FloatStorage", "LongStorage"):
    setattr(torch, name, type(name, (), {"__module__": "torch"}))
  storages = []

  class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
      if not isinstance(obj, _Storage):
        return None
      kind = {"f": torch.FloatStorage, "i": torch.LongStorage}
      values = obj.values
      return ("storage", kind[values.dtype.kind], obj.key, "cpu", values.size)

    def reducer_override(self, obj):
      if not isinstance(obj, np.ndarray):
        return NotImplemented
      storages.append(_Storage(str(len(storages)), obj))
      strides = tuple(s // obj.itemsize for s in obj.strides)
      return _rebuild_tensor_v2, (
        storages[-1], 0, obj.shape, strides, False, collections.OrderedDict(),
      )  # fmt: skip

  with monkeypatch.context() as patch, zipfile.ZipFile(path, "w") as archive:
    patch.setitem(sys.modules, "torch", torch)
    patch.setitem(sys.modules, "torch._utils", utils)
    with archive.open("archive/data.pkl", "w") as file:
      Pickler(file, 2).dump(saved)
    archive.writestr("archive/version", "3\n")
    for storage in storages:
      raw = storage.values.ravel("K").tobytes()
      archive.writestr(f"archive/data/{storage.key}", raw)
