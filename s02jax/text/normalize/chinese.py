"""Traditional to simplified characters, by the package `zhconv`."""

import functools
import warnings
from collections.abc import Callable


def simplified(text: str) -> str:
  """Character for character and phrase, the vocabulary left as it is."""
  return _zhconv()(text, "zh-hans")


def mainland(text: str) -> str:
  """Simplified, and the mainland's word for Taiwan's and Hong Kong's."""
  return _zhconv()(text, "zh-cn")


@functools.cache
def _zhconv() -> Callable[[str, str], str]:
  """Its `convert`, tables loaded; it warns of its own open file meanwhile."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import zhconv

    zhconv.loaddict()
  return zhconv.convert
