"""Qwen3-class language models: sizes, tokens and weights of a checkpoint.

A checkpoint is a folder as they are published: config.json, tokenizer.json and
model.safetensors, or several files that model.safetensors.index.json names. Its
layers are those of `models/layers/transformer.py` with rotary positions on one
axis; `LAYER` and `OUTSIDE` name every tensor on either side.

Shape letters: v tokens, d width, l layers.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import ml_dtypes  # noqa: F401 - NumPy knows bfloat16 by it
import numpy as np
from jaxtyping import Float

from s02jax.core import files, tensors
from s02jax.core.errors import UserError

EPSILON = 1e-6  # of `RMSNorm`
# Tensor of "model.layers.I." -> parameter below stack/blocks, and whether it is
# a matrix, which is stored [out, in].
LAYER = {
  "input_layernorm.weight": ("attention_norm/scale", False),
  "self_attn.q_proj.weight": ("attention/q/kernel", True),
  "self_attn.k_proj.weight": ("attention/k/kernel", True),
  "self_attn.v_proj.weight": ("attention/v/kernel", True),
  "self_attn.o_proj.weight": ("attention/o/kernel", True),
  "self_attn.q_norm.weight": ("attention/q_norm/scale", False),
  "self_attn.k_norm.weight": ("attention/k_norm/scale", False),
  "post_attention_layernorm.weight": ("mlp_norm/scale", False),
  "mlp.gate_proj.weight": ("mlp/gate/kernel", True),
  "mlp.up_proj.weight": ("mlp/up/kernel", True),
  "mlp.down_proj.weight": ("mlp/down/kernel", True),
}
EMBEDDING = "model.embed_tokens.weight"
# Other tensors -> parameter; None has no place: codes have a head of their own.
OUTSIDE = {
  EMBEDDING: "embedding",
  "model.norm.weight": "stack/norm/scale",
  "lm_head.weight": None,
}
# Fields of config.json -> what this implementation computes.
SAME = {
  "rms_norm_eps": EPSILON,
  "hidden_act": "silu",
  "attention_bias": False,
  "rope_scaling": None,
  "use_sliding_window": False,
}


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """Checkpoint in a folder; nothing is read before it is asked for."""

  folder: pathlib.Path

  @functools.cached_property
  def config(self) -> dict[str, Any]:
    """Content of config.json, checked."""
    config = self._json("config.json")
    for field, same in SAME.items():
      if config.get(field, same) != same:
        raise UserError(
          f"{self.folder}/config.json has {field} {config[field]!r}; only"
          f" checkpoints of {same!r} can be begun from."
        )
    return config

  def _json(self, name: str) -> dict[str, Any]:
    return files.read_json(self.folder / name, "the checkpoint's publisher")

  def sizes(self) -> dict[str, Any]:
    """Fields of `TransformerConfig` by the checkpoint's config.

    Raises:
      UserError: no checkpoint, or one of another kind.
    """
    names = {
      "width": "hidden_size",
      "layers": "num_hidden_layers",
      "heads": "num_attention_heads",
      "kv_heads": "num_key_value_heads",
      "head_dim": "head_dim",
      "hidden": "intermediate_size",
    }
    try:
      sizes = {mine: int(self.config[its]) for mine, its in names.items()}
      return sizes | {"rope_base": float(self.config["rope_theta"])}
    except KeyError as error:
      raise UserError(
        f"{self.folder}/config.json has no {error.args[0]}; give the folder of"
        " a Qwen3-class model."
      ) from error

  # ----------------------------------------------------------------- tokens

  def tokens(self) -> dict[bytes, int]:
    """Row of the embedding of each token that is text, by its bytes.

    Raises:
      UserError: tokenizer.json is no byte-level BPE.
    """
    read = self._json("tokenizer.json")
    model = read.get("model", {})
    if model.get("type") != "BPE" or not model.get("vocab"):
      raise UserError(
        f"{self.folder}/tokenizer.json is no byte-level BPE; give the folder of"
        " a Qwen3-class model."
      )
    added = {entry["content"] for entry in read.get("added_tokens", ())}
    letters = byte_letters()
    return {
      bytes(letters[letter] for letter in token): row
      for token, row in model["vocab"].items()
      if token not in added and all(letter in letters for letter in token)
    }

  # ---------------------------------------------------------------- weights

  def weights(self) -> dict[str, np.ndarray]:
    """Parameters of `ARTransformer` by path, float32, and "embedding" [v, d].

    Those below stack/blocks have a leading axis l.

    Raises:
      UserError: a tensor is missing, or one has no place.
    """
    found = self._tensors()
    stack = range(self.sizes()["layers"])
    table = dict(OUTSIDE)
    for name, (path, _) in LAYER.items():
      table |= {f"model.layers.{i}.{name}": path for i in stack}
    missing = table.keys() - found.keys() - {"lm_head.weight"}
    for name in sorted(missing):
      raise UserError(
        f"{self.folder} lacks the tensor {name}; give a whole Qwen3-class"
        " checkpoint."
      )
    for name in sorted(found.keys() - table.keys()):
      raise UserError(
        f"{self.folder} has the tensor {name}, for which the AR model has no"
        " place; give a Qwen3-class checkpoint."
      )
    made = {
      path: np.asarray(found[name], np.float32)
      for name, path in OUTSIDE.items()
      if path is not None
    }
    for name, (path, matrix) in LAYER.items():
      layers = [found[f"model.layers.{i}.{name}"] for i in stack]
      stacked = np.stack(layers).astype(np.float32)
      made[f"stack/blocks/{path}"] = stacked.mT if matrix else stacked
    return made

  def _tensors(self) -> dict[str, np.ndarray]:
    """All tensors of the checkpoint's files by name."""
    index = self.folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
      names = sorted({*self._json(index.name)["weight_map"].values()})
    found: dict[str, np.ndarray] = {}
    for name in names:
      path = self.folder / name
      if not path.is_file():
        raise UserError(f"{path} is missing; give a whole checkpoint.")
      found |= tensors.read(path)[0]
    return found


def embedding(
  contents: list[bytes | None],
  tokens: dict[bytes, int],
  rows: Float[np.ndarray, "v d"],
  codes: int,
  seed: int,
) -> Float[np.ndarray, "t d"]:
  """Embeddings of the AR model: a checkpoint's by content, and fresh ones.

  Fresh rows, of control symbols, codes and contents that the checkpoint has
  not, are as large as its own on average.

  Args:
    contents: bytes that each id of the text model stands for, if any.
    tokens: row by content.
    rows: embeddings of the checkpoint.
    codes: of the audio tokenizer.
    seed: of the fresh rows.
  """
  count = len(contents) + codes
  fresh = np.random.default_rng(seed).normal(size=(count, rows.shape[1]))
  made = (fresh * rows.std()).astype(np.float32)
  for i, content in enumerate(contents):
    if content in tokens:
      made[i] = rows[tokens[content]]
  return made


@functools.cache
def byte_letters() -> dict[str, int]:
  """Byte that each letter of a byte-level vocabulary stands for.

  Bytes of printable Latin-1 are their own letters; the others have those from
  256 on, in order (GPT-2).
  """
  own = [*range(33, 127), *range(161, 173), *range(174, 256)]
  others = [byte for byte in range(256) if byte not in own]
  return {chr(byte): byte for byte in own} | {
    chr(256 + i): byte for i, byte in enumerate(others)
  }
