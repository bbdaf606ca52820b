"""Requirements beside measured figures."""

import json

from s02jax.evaluation.report import requirements


def test_bars_are_held_against_the_unseen_figures(written):
  found = json.loads((written / "metrics.json").read_text())["bars"]
  by_name = {bar["name"]: bar for bar in found}
  assert len(by_name) == len(requirements.REQUIREMENTS) + 1
  codes = by_name["audio tokenizer: codes in use"]
  assert (codes["measured"], codes["required"], codes["met"]) == (
    0.75,
    0.80,
    False,
  )
  assert by_name["AR: cost of a wrong reference, nats"]["met"] is True
  assert by_name["AR: cost of a wrong text, nats"]["met"] is False
  name = "zero-shot: English sentence choice, share of the ground truth's"
  assert by_name[name]["met"] is None
  wall = by_name["wall time of all phases, minutes"]
  assert (wall["measured"], wall["met"]) == (2.0, True)
