"""Messages of and about compilers, which are libraries in C++."""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Generator


def fetching(name: str) -> str:
  """Command that fetches a compiler: of a clone, or of an installation.

  Args:
    name: target of the Makefile, and extra of the package.
  """
  clone = pathlib.Path(__file__).parents[2]
  if (clone / "Makefile").exists():
    return f"`make -C {clone} {name}`"
  return f"`pip install 's02jax[{name}]'`"


def first_line(error: Exception) -> str:
  """First line of an error's message, at most 300 characters."""
  return str(error).strip().splitlines()[0][:300]


@contextlib.contextmanager
def captured_stderr() -> Generator[list[str]]:
  """Holds back stderr and gives its lines, those of libraries in C++ included.

  They are printed after all where the block does not end well: by an exception,
  or by the death of this process, as libtpu aborts.
  """
  said: list[str] = []
  sys.stderr.flush()
  before = os.dup(2)
  with tempfile.TemporaryFile() as file, _heir(file.fileno()) as heir:
    os.dup2(file.fileno(), 2)
    well = b""
    try:
      yield said
      well = b"well\n"
    finally:
      sys.stderr.flush()
      os.dup2(before, 2)
      os.close(before)
      heir.communicate(well)
      file.seek(0)
      said += file.read().decode(errors="replace").splitlines()


def _heir(file: int) -> subprocess.Popen:
  """Process that copies an open file to stderr when this one dies.

  It does not where its stdin brings "well" before it ends.
  """
  copy = f"read well || cat /dev/fd/{file} >&2"
  return subprocess.Popen(
    ["sh", "-c", copy], stdin=subprocess.PIPE, pass_fds=(file,)
  )
