"""Verb `s02 report`."""

import pytest

from s02jax.cli import report
from s02jax.core.errors import UserError


def refused(*arguments):
  with pytest.raises(UserError) as error:
    report.main([*map(str, arguments)])
  message = str(error.value)
  assert "\n" not in message
  return message


def test_what_is_not_a_bundle_is_refused_in_a_sentence(tmp_path):
  out = tmp_path / "out"
  message = refused("--bundle", tmp_path, "--corpus", tmp_path, "--out", out)
  assert "card.json: cannot be read" in message and "s02 bundle" in message
  (tmp_path / "card.json").write_text("{")
  message = refused("--bundle", tmp_path, "--corpus", tmp_path, "--out", out)
  assert "card.json: cannot be read" in message
  assert not out.exists()
