"""Report on the parrot, measured and written once."""

import pytest

from tests.evaluation.report import parrot


@pytest.fixture(scope="session")
def results():
  return parrot.measured(unseen=4, seen=2)


@pytest.fixture(scope="session")
def written(results, tmp_path_factory):
  out = tmp_path_factory.mktemp("report") / "new"
  parrot.write_report(out, results)
  return out
