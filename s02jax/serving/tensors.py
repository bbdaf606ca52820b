"""Reads .safetensors files with NumPy alone.

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
SCALE = "#scale"  # behind the name of what an int8 array is multiplied by


def read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Arrays by name, mapped from the file, and its metadata.

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
  begin, end = entry["data_offsets"]
  dtype = _DTYPES[entry["dtype"]]
  return body[begin:end].view(dtype).reshape(entry["shape"])


def weights(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Arrays by name, as they were before `packed` made them smaller."""
  return restored(*read(path))


def restored(
  stored: Mapping[str, np.ndarray], notes: Mapping[str, str]
) -> dict[str, np.ndarray]:
  """The arrays, of what `packed` returns."""
  dtypes = json.loads(notes.get("dtypes", "{}"))
  return {
    name: _restored(stored[name], stored.get(name + SCALE), dtypes.get(name))
    for name in stored
    if not name.endswith(SCALE)
  }


def _restored(
  x: np.ndarray, scale: np.ndarray | None, dtype: str | None
) -> np.ndarray:
  if dtype is None:
    return x
  if scale is not None:
    x = x.astype(np.float32) * scale
  return x.astype(np.dtype(dtype))


def packed(
  arrays: Mapping[str, np.ndarray], kind: str
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Weights as they are stored, and what the file's metadata says of them.

  Args:
    arrays: by name.
    kind: "float32", as they are; "bfloat16"; or "int8", matrices as
      round(x / scale). Scales are 1/127 of the largest entry of each row or of
      each column, whichever loses less. What is no matrix stays as it is.
  """
  out: dict[str, np.ndarray] = {}
  dtypes: dict[str, str] = {}
  for name, x in arrays.items():
    if kind == "float32" or x.ndim < 2:
      out[name] = x
      continue
    dtypes[name] = x.dtype.name
    if kind == "bfloat16":
      out[name] = x.astype(ml_dtypes.bfloat16)
    else:
      out[name], out[name + SCALE] = _rounded(x.astype(np.float32))
  return out, {"dtypes": json.dumps(dtypes)}


def _rounded(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """int8 and float32 scales of matrices."""
  found = []
  for axes in (-1, tuple(range(x.ndim - 1))):
    scale = np.abs(x).max(axis=axes, keepdims=True) / 127
    scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
    whole = np.round(x / scale).astype(np.int8)
    found.append((float(np.sum(np.square(whole * scale - x))), whole, scale))
  _, whole, scale = min(found, key=lambda candidate: candidate[0])
  return whole, scale
