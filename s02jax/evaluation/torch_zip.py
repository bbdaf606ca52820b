"""Reads tensors out of a file of PyTorch's present format, without PyTorch.

Such a file is a zip archive (`torch.save` since 1.6) of one pickle and one
member of raw values for each storage. What the pickle may name is as little as
in `torch_file`, which reads the format before it.
"""

import io
import pathlib
import pickle
import zipfile

import numpy as np

from s02jax.errors import UserError
from s02jax.evaluation import torch_file


def load(path: pathlib.Path) -> dict:
  """The saved object of either format, every tensor in it a NumPy array.

  Raises:
    UserError: not a file of PyTorch's, or one with other things in it.
  """
  if not zipfile.is_zipfile(path):
    return torch_file.load(path)
  try:
    with zipfile.ZipFile(path) as archive:
      (pickled,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
      reader = torch_file._Reader(io.BytesIO(archive.read(pickled)))
      saved = reader.load()
      folder = pickled.removesuffix("data.pkl")
      for key, storage in reader.storages.items():
        storage.values = np.frombuffer(
          archive.read(f"{folder}data/{key}"), storage.dtype
        )
  except (pickle.UnpicklingError, KeyError, ValueError, EOFError) as error:
    raise UserError(
      f"{path}: not the expected weights ({error}); fetch the file again."
    ) from error
  return torch_file._arrays(saved)
