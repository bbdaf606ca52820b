"""Page and tables of `s02 evaluate`: complete, self-contained, escaped."""

import html.parser
import json
import pathlib
import re

import numpy as np
import pytest
import soundfile

from s02jax.core.errors import UserError
from s02jax.evaluation.benchmark import published, table
from s02jax.evaluation.benchmark.datasets import CROSS_LINGUAL, MINIMAX24
from s02jax.evaluation.benchmark.page import render, write
from s02jax.evaluation.benchmark.scores import Scores

WHISPER = "faster-whisper:large-v3"
WAVLM = "wavlm:wavlm_large_finetune.pth"
EVIL = "<script>alert('x')</script> & \"quoted\" | <img src=//evil.example>"
ARABIC = "مرحبا بالعالم"
EMPTY = frozenset(["meta", "img", "br", "hr", "input", "link"])
SHAPES = frozenset(["path", "rect", "line"])


def figure(value, n=10):
  if value is None:
    return {"value": None, "low": None, "high": None, "n": 0}
  return {"value": value, "low": 0.8 * value, "high": 1.2 * value, "n": n}


def row(subset, language, rate=0.0375, **changes):
  of = {
    "utterance_mean": figure(rate),
    "corpus_level": figure(rate * 0.9),
    "substitutions": 701,
    "deletions": 702,
    "insertions": 703,
    "units": 70400,
  }
  return {
    "subset": subset,
    "language": language,
    "metric": "cer",
    "items": 100,
    "clips": 200,
    "missing": [],
    "silent": [],
    "official": of,
    "fair": of | {"utterance_mean": figure(rate / 3)},
    "similarity": {
      "to_prompt": figure(0.613),
      "same_speaker": figure(0.741),
      "other_speaker": figure(0.112),
    },
    "quality": None,
  } | changes


def scores(rows, benchmark="minimax24", **changes):
  """Content of a scores.json."""
  codes = {r["language"]: WHISPER for r in rows}
  if "zh" in codes:
    codes["zh"] = "funasr:paraformer-zh"
  pair = {"utterance_mean": 0.05, "corpus_level": 0.04}
  return {
    "version": 1,
    "benchmark": benchmark,
    "cloning": "zero-shot",
    "system": "the system",
    "judges": {"recognisers": codes, "speaker": WAVLM, "quality": None},
    "source": {"kind": "audio"},
    "data": "the set",
    "data_digest": "0123",
    "items": 100 * len(rows),
    "seeds": 2,
    "rows": rows,
    "mean": {"official": pair, "fair": pair, "similarity": 0.6},
    "worst": [],
  } | changes


def by_other_judges(given):
  codes = dict.fromkeys(given["judges"]["recognisers"], "dtw")
  judges = {"recognisers": codes, "speaker": "ge2e", "quality": None}
  return given | {"judges": judges}


def bad(key="one", **changes):
  return {
    "subset": "en",
    "key": key,
    "seed": 0,
    "language": "en",
    "text": "red house",
    "heard": "bed louse now",
    "rate": 1.5,
    "edits": [["s", "red house", "bed louse"], ["i", "", "now"]],
    "clip": None,
    "prompt": None,
  } | changes


class Reader(html.parser.HTMLParser):
  """HTML parser that refuses tags that do not nest, and collects tags."""

  def __init__(self, page):
    super().__init__()
    self.open, self.tags, self.text = [], [], []
    self.feed(page)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    assert len(dict(attrs)) == len(attrs), f"an attribute twice: {attrs}"
    if tag not in EMPTY:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    assert tag in SHAPES
    self.tags.append((tag, dict(attrs)))

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text.append(data)

  def of(self, tag, **attrs):
    return [
      a
      for name, a in self.tags
      if name == tag and all(a.get(k) == v for k, v in attrs.items())
    ]


def read(given, out=pathlib.Path()):
  return Reader(render(Scores.from_json(given), out))


def cells(reader):
  return " ".join("".join(reader.text).split())


def test_every_row_is_shown_with_all_that_is_known():
  rows = [row(code, code, 0.01 * (i + 1)) for i, code in enumerate(MINIMAX24)]
  rows[3]["missing"] = ["clip_a", "clip_b (seed 1)"]
  rows[4]["silent"] = ["clip_c"]
  rows[5]["quality"] = {"OVRL": figure(3.21)}
  page = read(scores(rows))
  text = cells(page)
  for one, subset in zip(
    rows, Scores.from_json(scores(rows)).subsets, strict=True
  ):
    name = table.name_of(subset)
    of_it = [
      a
      for a in page.of("svg")
      if a.get("aria-label", "").startswith(f"{name}: ")
    ]
    assert len(of_it) == 2, name  # error, similarity
    for pipeline in ("official", "fair"):
      rate = one[pipeline]["utterance_mean"]
      assert table.percent(rate["value"]) in text
      assert table.percent(rate["low"]) in text
  for shown in ("701", "702", "703", "70400", "0.741", "0.112", "3.21"):
    assert shown in text
  for name in ("clip_a, clip_b (seed 1)", "clip_c"):
    assert name in text


def test_nothing_is_loaded_from_elsewhere(tmp_path):
  given = scores([row("en", "en", missing=[EVIL])], worst=[bad(text=EVIL)])
  for tag, attrs in read(given, tmp_path).tags:
    for name in ("src", "href", "data", "poster", "srcset", "action"):
      assert attrs.get(name, "#").startswith(("#", "data:")), (tag, attrs)
  page = render(Scores.from_json(given), tmp_path)
  policy = "default-src 'none'"
  assert policy in page and "@import" not in page and "url(" not in page


def test_texts_stay_texts():
  given = scores(
    [row(EVIL, "en", missing=[EVIL], quality={EVIL: figure(3.0)})],
    benchmark="manifest",
    system=EVIL,
    data=EVIL,
    worst=[bad(key=EVIL, text=EVIL, heard=EVIL, edits=[["s", EVIL, EVIL]])],
  )
  page = read(given)
  assert len(page.of("script")) == 1  # the sheet's own
  assert not page.of("img")
  assert cells(page).count(EVIL) >= 8
  assert all(not name.startswith("on") for _, a in page.tags for name in a)


def test_edits_can_be_read_without_colours_and_from_the_right():
  given = scores(
    [row("ar", "ar")],
    worst=[
      bad(
        language="ar", text=ARABIC, edits=[["=", "مر", "مر"], ["d", "با", ""]]
      ),
      bad(),
    ],
  )
  page = read(given)
  edits = page.of("p", **{"class": "edits"})
  assert [a["lang"] for a in edits] == ["ar", "en"]
  assert all(a["dir"] == "auto" for a in edits)
  # English helpers must not decide the direction of what is around them.
  helpers = page.of("span", **{"class": "aloud"})
  assert len(helpers) == 4 and all(a["dir"] == "ltr" for a in helpers)
  text = cells(page)
  assert "not said: red house heard: bed louse heard: now" in text
  assert "not said: با" in text


def marks(page):
  """Marks in the charts, without those of their legends."""
  return [t for t in page.text if re.fullmatch(r".+: \d+\.\d+", t.strip())]


@pytest.mark.parametrize("foreign", [False, True])
def test_marks_only_where_the_judges_are_the_same(foreign):
  given = scores([row(c, c) for c in ("en", "zh")])
  if foreign:
    given = by_other_judges(given)
  page = read(given)
  text = cells(page)
  assert bool(marks(page)) != foreign
  assert ("must not be compared" in text) == foreign
  # They stand in the table, with their source, in any case.
  assert page.of("section", id="published")
  assert "2.164 / 0.756" in text and "16.026 / 0.677" in text
  assert "arXiv:2505.07916, table 2" in text
  assert ("3.750†" in table.paper(Scores.from_json(given))) == foreign


def test_one_foreign_recogniser_takes_only_its_own_marks():
  given = scores([row(c, c) for c in ("en", "zh")])
  given["judges"]["recognisers"]["zh"] = "dtw"
  page = read(given)
  labels = [a.get("aria-label", "") for a in page.of("svg")]
  error_en, error_zh, like_en, like_zh = [
    x for x in labels if x[:1] in "EC" and x
  ]
  assert "MiniMax-Speech" in error_en and "MiniMax-Speech" not in error_zh
  assert "MiniMax-Speech" in like_en and "MiniMax-Speech" in like_zh
  assert "Some error rates here are by another judge" in cells(page)


def test_marks_are_cloned_as_ours():
  given = scores(
    [row(c, c) for c in ("zh", "en")], "seed-tts", cloning="one-shot"
  )
  found = " ".join(marks(read(given)))
  assert "Seed-TTS, one-shot: 2.25" in found
  assert "Ground truth: 2.14" in found
  assert "zero-shot" not in found
  given["cloning"] = "zero-shot"
  assert "Seed-TTS" not in " ".join(marks(read(given)))


def test_what_nobody_published_has_no_such_section():
  page = read(scores([row("mine", "de")], "manifest"))
  assert not page.of("section", id="published")
  assert "mine (German)" in cells(page)


def test_absent_figures_are_dashes():
  none = row("en", "en", similarity=None)
  none["official"] = none["official"] | {"utterance_mean": figure(None)}
  one = scores([none])
  one["mean"] = one["mean"] | {"similarity": None}
  one["judges"]["speaker"] = None
  page = read(one)
  assert not page.of("section", id="similarity")
  assert "– / –" in cells(page)
  assert "None" not in cells(page) and "nan" not in cells(page)


def noise(path, seconds, rate=24000):
  random = np.random.default_rng(0)
  wave = 0.1 * random.standard_normal(int(seconds * rate))
  soundfile.write(path, wave, rate)
  return path.name


def test_sounds_stand_in_the_page_and_stay_small(tmp_path):
  long = noise(tmp_path / "long.wav", 120)
  short = noise(tmp_path / "short.wav", 1, 11000)  # no rate of MP3
  (tmp_path / "broken.wav").write_bytes(b"no sound")
  worst = [bad(str(i), clip=long, prompt=short) for i in range(18)]
  worst += [bad("b", clip="broken.wav"), bad("gone", clip="gone.wav")]
  given = scores([row("en", "en")], worst=worst)
  write(Scores.from_json(given), tmp_path)
  page = Reader((tmp_path / "report.html").read_text("utf-8"))
  players = page.of("audio")
  assert len(players) == 36
  assert all(a["src"].startswith("data:audio/mpeg;base64,") for a in players)
  assert all(a["aria-label"] for a in players)
  assert cells(page).count("first 30 s") == 18
  assert cells(page).count("cannot be read") == 2
  assert (tmp_path / "report.html").stat().st_size < 10_000_000
  assert not list(tmp_path.glob(".report*"))


def test_a_full_page_leaves_sounds_out(tmp_path):
  name = noise(tmp_path / "a.wav", 1)
  given = scores(
    [row("en", "en")], worst=[bad(str(i), clip=name) for i in range(9)]
  )
  page = Reader(render(Scores.from_json(given), tmp_path, sound_bytes=20_000))
  assert 0 < len(page.of("audio")) < 9
  assert "page is full" in cells(page)


def test_the_paper_table_turns_where_there_are_many_subsets():
  many = scores([row(code, code) for code in MINIMAX24])
  lines = table.paper(Scores.from_json(many)).splitlines()
  shown = [line for line in lines if line.startswith("|")]
  assert len(shown) == 2 + 24
  assert len({line.count("|") for line in shown}) == 1
  assert "| English | 3.750 / 0.613 | 2.164 / 0.756 | 2.339 / 0.613 |" in shown
  few = scores([row(c, c) for c in ("zh", "en")], "seed-tts", system="a|b")
  lines = table.paper(Scores.from_json(few)).splitlines()
  assert r"| a\|b, zero-shot | 3.750 / 0.613 | 3.750 / 0.613 |" in lines
  assert "| Qwen3-TTS 1.7B, one-shot | 0.77 / – | 1.24 / – |" in lines


def test_published_figures_are_plausible_and_have_sources():
  assert set(published.FIGURES["minimax24"]) == set(MINIMAX24)
  assert set(published.FIGURES["cross-lingual"]) == set(CROSS_LINGUAL)
  assert set(published.FIGURES["seed-tts"]) == {"zh", "en"}
  for subsets in published.FIGURES.values():
    for rows in subsets.values():
      labels = [table.label(p) for p in rows]
      assert len(set(labels)) == len(labels)
      for p in rows:
        assert p.source and 0 < p.error < 100
        assert p.similarity is None or 0.3 < p.similarity < 0.9


@pytest.mark.parametrize(
  "language, spec, same",
  [
    ("en", "faster-whisper:large-v3", True),
    ("en", "transformers:openai/whisper-large-v3", True),
    ("en", "faster-whisper:/models/faster-whisper-large-v3", True),
    ("en", "faster-whisper:large-v3-turbo", False),
    ("en", "faster-whisper:small", False),
    ("en", "funasr:paraformer-zh", False),
    ("en", None, False),
    ("zh", "funasr:paraformer-zh", True),
    ("zh", "faster-whisper:large-v3", False),
    ("en", "dtw", False),
  ],
)
def test_recognisers_are_told_apart(language, spec, same):
  assert published.same_recogniser(language, spec) == same


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="file"):
    write(Scores.from_json(scores([row("en", "en")])), tmp_path / "file")


def test_scores_come_back_from_json():
  given = Scores.from_json(scores([row("en", "en")], worst=[bad()]))
  again = Scores.from_json(json.loads(json.dumps(given.to_json())))
  assert again == given
  out = pathlib.Path()
  assert render(again, out) == render(given, out)


@pytest.mark.parametrize(
  ("spec", "same"),
  [(WAVLM, True), ("wavlm:tiny.pth", False), ("ge2e", False), (None, False)],
)
def test_only_the_released_weights_judge_voices_as_published(spec, same):
  assert published.same_speaker_judge(spec) == same


def test_published_errors_have_the_decimals_of_their_source():
  shown = [f.error_text for f in published.figures("minimax24", "vi")]
  assert shown == ["0.880", "73.415"]
  assert published.figures("seed-tts", "zh")[0].error_text == "1.25"
