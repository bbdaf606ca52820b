"""Report on the parrot, measured and written once."""

import pytest

from s02jax.evaluation import media
from s02jax.evaluation.report import recipes, write
from s02jax.evaluation.report.measure import Stopwatch, measure
from tests.evaluation.report.parrot import Parrot, splits


@pytest.fixture(scope="session")
def results():
  return measure(
    Parrot(),
    splits(),
    {"unseen": 4, "seen": 2},
    recipes.Sampling(),
    1,
    Stopwatch(),
  )


@pytest.fixture(scope="session")
def written(results, tmp_path_factory):
  out = tmp_path_factory.mktemp("report") / "new"
  curve = media.Curve("training", [1, 2, 3], [3.0, 2.0, 1.5])
  sources = write.Sources(
    bundle_card={"commit": "abc"},
    corpus_card={
      "notes": "The vocabulary is closed <here>.",
      "languages": ["en"],
      "speakers": ["ann"],
      "splits": {"train": {"seconds": 7200.0, "speakers": 2}},
    },
    command="s02 report --bundle b",
    phases={"corpus": 20.0, "ar": 100.0},
    runs={"ar": [curve]},
    size="demo",
  )
  write.write(out, results, sources, recipes.Sampling(), 16000, Stopwatch())
  return out
