"""Files .safetensors read with NumPy alone, and weights stored in fewer bits.

8 bytes, little-endian: length of the header
header: JSON, name -> {"dtype", "shape", "data_offsets"}; "__metadata__"
the numbers, row by row
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from s02jax.core.errors import UserError

_DTYPES = {
  "F32": np.dtype(np.float32),
  "BF16": np.dtype(ml_dtypes.bfloat16),
  "I8": np.dtype(np.int8),
  "I32": np.dtype(np.int32),
}
KINDS = ("float32", "bfloat16", "int8")  # of stored weights
_LEAST = 8  # numbers that share a scale
SCALE = "#scale"  # suffix to the name of an int8 array's scales


def read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Reads a file: arrays by name, mapped from it, and its metadata.

  Raises:
    UserError: no such file, or not a whole one.
  """
  try:
    data = np.memmap(path, np.uint8, "r")
    size = int(data[:8].view("<u8")[0])
    header = json.loads(bytes(data[8 : 8 + size]))
    notes = header.pop("__metadata__", {})
    body = data[8 + size :]
    return {name: _array(body, x) for name, x in header.items()}, notes
  except OSError as error:
    raise UserError(f"{path} cannot be read ({error.strerror}).") from error
  except (ValueError, KeyError, IndexError, TypeError) as error:
    raise UserError(
      f"{path} is damaged ({error}); copy or export it again."
    ) from error


def _array(body: np.ndarray, entry: Mapping[str, Any]) -> np.ndarray:
  """Array of one entry of the header, a view of the file's body."""
  begin, end = entry["data_offsets"]
  dtype = _DTYPES[entry["dtype"]]
  return body[begin:end].view(dtype).reshape(entry["shape"])


def read_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads weights by name, in the dtypes that they had before `pack`."""
  return restore(*read(path))


def restore(
  stored: Mapping[str, np.ndarray], notes: Mapping[str, str]
) -> dict[str, np.ndarray]:
  """Weights by name in their former dtypes; inverse of `pack`."""
  dtypes = json.loads(notes.get("dtypes", "{}"))
  return {
    name: _restore_one(stored[name], stored.get(name + SCALE), dtypes.get(name))
    for name in stored
    if not name.endswith(SCALE)
  }


def _restore_one(
  x: np.ndarray, scale: np.ndarray | None, dtype: str | None
) -> np.ndarray:
  """Scales an array where it has a scale, and widens it to `dtype`."""
  if dtype is None:
    return x
  if scale is not None:
    x = x.astype(np.float32) * scale
  return x.astype(np.dtype(dtype))


def pack(
  arrays: Mapping[str, np.ndarray], kind: str
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Converts weights to the kind that they are stored in.

  Args:
    arrays: by name.
    kind: "float32", as they are; "bfloat16"; or "int8", matrices as
      round(x / scale). Scales are 1/127 of the largest entry of each row or of
      each column, whichever loses less. Vectors, scalars and matrices too small
      to gain by it stay as they are. Packing what was restored changes nothing.

  Returns:
    Arrays by name and the file's metadata, for `restore`.
  """
  out: dict[str, np.ndarray] = {}
  dtypes: dict[str, str] = {}
  for name, x in arrays.items():
    if kind == "float32" or x.ndim < 2:
      out[name] = x
      continue
    if kind == "int8" and max(x.shape[-2:]) < _LEAST:
      out[name] = x
      continue
    dtypes[name] = x.dtype.name
    if kind == "bfloat16":
      out[name] = x.astype(ml_dtypes.bfloat16)
    else:
      out[name], out[name + SCALE] = _quantise(x.astype(np.float32))
  return out, {"dtypes": json.dumps(dtypes)}


def _quantise(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Rounds matrices to int8; returns them and their float32 scales."""
  found = []
  for axis in (-1, -2):
    if x.shape[axis] < _LEAST:
      continue
    scale = np.abs(x).max(axis=axis, keepdims=True) / 127
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    # With so few digits 127 scales are exact, and so is packing anew.
    scale = scale.astype(ml_dtypes.bfloat16).astype(np.float32)
    whole = np.round(x / scale).clip(-127, 127).astype(np.int8)
    found.append((float(np.sum(np.square(whole * scale - x))), whole, scale))
  _, whole, scale = min(found, key=lambda candidate: candidate[0])
  return whole, scale
