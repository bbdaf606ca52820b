"""Conversion of traditional to simplified Chinese, by the package `zhconv`."""

import functools
import warnings
from collections.abc import Callable


def simplified(text: str) -> str:
  """Converts to simplified characters; the vocabulary stays as it is."""
  return _zhconv()(text, "zh-hans")


def mainland(text: str) -> str:
  """Converts to simplified characters and to the mainland's vocabulary."""
  return _zhconv()(text, "zh-cn")


@functools.cache
def _zhconv() -> Callable[[str, str], str]:
  """Function `convert` of zhconv, its tables loaded without warnings."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import zhconv

    zhconv.loaddict()
  return zhconv.convert
