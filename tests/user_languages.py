"""Languages that a test adds, and takes back behind it."""

import contextlib
import os
from collections.abc import Generator

from s02jax.core import languages


@contextlib.contextmanager
def kept() -> Generator[None]:
  """Leaves the table of languages as it was."""
  tables = (languages.BY_CODE, languages._BY_ANY_CODE)
  before = [dict(table) for table in tables]
  try:
    yield
  finally:
    for table, old in zip(tables, before, strict=True):
      for code in set(table) - set(old):
        del table[code]
    os.environ.pop(languages._VARIABLE, None)
