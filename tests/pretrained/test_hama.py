"""Judge hama: phonemes of English speech against those of its text."""

import importlib.util

import numpy as np
import pytest

from s02jax.core.errors import UserError
from s02jax.pretrained import hama
from tests.spoken import SENTENCES, spoken

needs_hama = pytest.mark.skipif(
  not hama.installed(), reason="hama is not installed"
)


@needs_hama
def test_the_right_text_is_nearer_than_another():
  heard = [hama.hear(spoken(text, "klatt2")) for text in SENTENCES[:3]]
  right = hama.error_rate(SENTENCES[:3], heard)
  wrong = hama.error_rate(SENTENCES[1:4], heard)
  assert right.n == 3
  assert right.value < 0.5 < wrong.value


@needs_hama
def test_signs_are_not_read():
  assert hama.read("A cup, please!") == hama.read("a cup please")


def test_next_to_nothing_has_no_phonemes():
  assert hama.hear(np.zeros(100, np.float32)) == []
  assert hama.error_rate([], []).value is None


def test_a_missing_package_is_named(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  hama._models.cache_clear()
  with pytest.raises(UserError, match=r"pip install 's02jax\[judges\]'"):
    hama.hear(np.zeros(16000, np.float32))
