"""Configs and shardings are what was last agreed on; see tests/golden.py."""

import json

import pytest

from tests import golden


def saved(name: str):
  return json.loads((golden.FOLDER / f"{name}.json").read_text())


def test_configs_are_the_golden_ones():
  assert golden.configs() == saved("configs")


@pytest.mark.parametrize("stage", golden.RESOLVED)
def test_shardings_are_the_golden_ones(stage):
  specs = golden.shardings(stage)
  parameters = golden.only_parameters(specs)
  assert parameters == saved(f"shardings_{stage}")
  # Moments and averages follow their parameter.
  for name, spec in specs.items():
    for mark in ("/mu/", "/nu/", "ema/"):
      if mark in name:
        head, _, path = name.rpartition(mark)
        model = head.split("opt_state")[0]
        assert parameters[f"{model}params/{path}"] == spec
