"""Measures that a report lacks for want of a package."""

import html
import json
import re
import sys

from s02jax.pretrained import signal
from tests.evaluation.report import parrot
from tests.spoken import needs_pesq


@needs_pesq
def test_with_all_packages_nothing_is_left_out(written):
  found = json.loads((written / "metrics.json").read_text())
  assert found["left_out"] == {}
  assert "is left out" not in (written / "index.html").read_text()


def test_without_its_package_pesq_is_left_out_and_the_report_says_so(
  monkeypatch, tmp_path
):
  monkeypatch.setitem(sys.modules, "pesq", None)
  parrot.write_report(tmp_path / "out", parrot.measured(unseen=1))
  found = json.loads((tmp_path / "out" / "metrics.json").read_text())
  assert found["left_out"] == {"pesq": signal.NO_PESQ}
  for row in found["table"]["unseen"].values():
    assert set(row) == parrot.MEASURED - {"pesq"}
  (bar,) = [b for b in found["bars"] if "PESQ" in b["name"]]
  assert (bar["required"], bar["measured"], bar["met"]) == (1.2, None, None)
  page = html.unescape((tmp_path / "out" / "index.html").read_text())
  assert page.count(signal.NO_PESQ) == 1
  assert "WB-PESQ" in page  # among the requirements alone
  assert not re.search(r'<th scope="col"[^>]*>WB-PESQ', page)
