"""Measures that a report lacks for want of a package."""

import html
import json
import re
import sys

import pytest

from s02jax.evaluation.figure import Figure
from s02jax.evaluation.report import measures, requirements
from s02jax.evaluation.report.measures import GROUND_TRUTH, MEASURES
from s02jax.pretrained import dnsmos, hama, signal
from s02jax.pretrained.whisper import recogniser as whisper
from tests.evaluation.report import parrot
from tests.spoken import SENTENCES

# Of judges whose packages a machine may lack.
PACKAGES = {
  "pesq": signal.NO_PESQ,
  "dnsmos": dnsmos.NOT_INSTALLED,
  "asr_cer": whisper.NOT_INSTALLED,
  "phoneme_errors": hama.NOT_INSTALLED,
}


def test_what_is_left_out_is_what_lacks_its_package(written):
  found = json.loads((written / "metrics.json").read_text())
  missing = {k: v for k, v in PACKAGES.items() if k not in parrot.MEASURED}
  for sentences in found["left_out"].values():
    # Recognisers may fail on these voices, and then say so.
    heard = {k: v for k, v in sentences.items() if "recordings" not in v}
    assert heard == missing
  page = html.unescape((written / "index.html").read_text())
  for sentence in PACKAGES.values():
    assert page.count(sentence) == 2 * (sentence in missing.values())


def test_without_its_package_pesq_is_left_out_and_the_report_says_so(
  monkeypatch, tmp_path
):
  monkeypatch.setitem(sys.modules, "pesq", None)
  parrot.write_report(tmp_path / "out", parrot.measured(unseen=1))
  found = json.loads((tmp_path / "out" / "metrics.json").read_text())
  assert found["left_out"]["unseen"]["pesq"] == signal.NO_PESQ
  for row in found["table"]["unseen"].values():
    assert set(row) == parrot.MEASURED - {"pesq"}
  (bar,) = [b for b in found["bars"] if "PESQ" in b["name"]]
  assert (bar["required"], bar["measured"], bar["met"]) == (1.2, None, None)
  page = html.unescape((tmp_path / "out" / "index.html").read_text())
  assert page.count(signal.NO_PESQ) == 1
  assert "WB-PESQ" in page  # among the requirements alone
  assert not re.search(r'<th scope="col"[^>]*>WB-PESQ', page)


def test_quality_is_measured_where_its_packages_are(results):
  pytest.importorskip("onnxruntime")
  pytest.importorskip("speechmos")
  for result in results.values():
    for row in result.judgement.figures.values():
      assert 1 < row["dnsmos"].value < 5
      assert row["dnsmos"].n == len(result.panel.cases)


def one_reader():
  """Corpus of one speaker, as most corpora are that are made for synthesis."""
  none = parrot.Clips("unseen", [], [])
  seen = parrot.Clips("seen", list(SENTENCES[:5]), ["ann"] * 5)
  train = parrot.Clips("train", list(SENTENCES[5:]), ["ann"] * 5)
  return {"train": train, "seen": seen, "unseen": none}


def test_a_corpus_of_one_speaker_is_reported_on_what_it_has(tmp_path):
  results = parrot.measured(one_reader(), unseen=8, seen=4)
  assert list(results) == ["seen"]
  assert len(results["seen"].panel.cases) == 4  # all of one speaker
  parrot.write_report(tmp_path / "out", results, size=None)
  found = json.loads((tmp_path / "out" / "metrics.json").read_text())
  assert found["table"]["seen"]["zero_shot"]["dtw_top1"]["value"] == 1
  # Nobody else is there to be mistaken for.
  assert "one speaker" in found["left_out"]["seen"]["nearest_speaker"]
  page = html.unescape((tmp_path / "out" / "index.html").read_text())
  assert "The corpus has no such clip that could be judged." in page
  assert "Nearest of 16 voices" not in page


# ------------------------------------------- a judge that fails on the truth


def figures(**values):
  """Figures of a row; those that are not given are good."""
  good = {m.name: {"lower": 0.1, "higher": 0.9}[m.better] for m in MEASURES}
  return {k: Figure(value=v, n=9) for k, v in (good | values).items()}


@pytest.mark.parametrize(
  ("values", "without"),
  [
    ({}, []),
    ({"asr_cer": 0.3}, ["asr_cer"]),
    ({"asr_cer": 0.2}, []),
    ({"dtw_top1": 0.1, "ctc_cer": 0.95}, ["dtw_top1", "ctc_cer"]),
    ({"sentence_choice": None}, []),
  ],
)
def test_a_judge_that_fails_on_the_recordings_says_nothing(values, without):
  truth = figures(**values)
  found = measures.left_out(truth)
  assert list(found) == without
  for name, sentence in found.items():
    assert f"{values[name]:.2f} on the recordings themselves" in sentence
  shown = [measure.name for measure in measures.shown(truth)]
  assert shown == [m.name for m in MEASURES if m.name not in without]


def test_no_requirement_is_judged_by_a_judge_that_fails():
  rows = {"resynthesis", "zero_shot", "one_shot"}
  table = dict.fromkeys(rows, figures(dtw_top1=0.1))
  table[GROUND_TRUTH] = figures(dtw_top1=0.1)
  own = figures(codes_in_use=1.0, ar_wrong_reference=1.0, ar_wrong_text=2.0)
  found = requirements.compare("demo", table, own, None)
  judged = {one["name"]: one["met"] for one in found}
  name = "zero-shot: DTW top-1 of 10, share of the ground truth's"
  assert judged[name] is None
  assert judged["zero-shot: nearest of 16 speakers by GE2E"] is True
