"""The judges, and the report that they make together."""

import dataclasses
import functools
import json
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from s02jax.audio import espeak
from s02jax.cli import report
from s02jax.core.errors import UserError
from s02jax.core.languages import BY_CODE
from s02jax.evaluation import media
from s02jax.evaluation.report import (
  clip_judge,
  judge,
  measures,
  recipes,
  requirements,
  workers,
  write,
)
from s02jax.evaluation.report import measure as measure_lib
from s02jax.evaluation.report import panel as selection
from s02jax.pretrained import dtw, ge2e, pocketsphinx, signal
from s02jax.synthesis.request import Utterance
from s02jax.text import edits

SENTENCES = (
  "the old doctor walked to the river",
  "seven yellow birds sing every morning",
  "my little sister likes apple juice",
  "we waited an hour at the station",
  "nobody opened the green letter",
  "winter nights are long and quiet",
  "he bought bread and butter today",
  "the children ran across the garden",
  "music played under the old bridge",
  "please close the door behind you",
)
VOICES = {"ann": "f3", "ben": "klatt2", "cid": "m7", "dot": "klatt4"}


@functools.cache
def spoken(text, variant=None, voice="en-us", rate=160):
  wave, found = espeak.render(text, voice, variant=variant, rate=rate)
  return signal.to_judge_rate(wave, found)


@pytest.fixture(scope="module")
def embed():
  """GE2E in a worker: threads of linear algebra get into each other's way."""
  with workers.pool(1) as pool:
    yield lambda waves: pool.submit(ge2e.embed, waves).result()


def noise(n, seed=0, scale=0.1):
  return np.random.default_rng(seed).normal(0, scale, n).astype(np.float32)


# ------------------------------------------------------------------ signal


def test_mel_filters_have_slaneys_scale_and_area():
  filters = signal.slaney_mel(16000, 400, 40)
  hz = np.fft.rfftfreq(400, 1 / 16000)
  centres = hz[np.argmax(filters, axis=1)]
  assert filters.shape == (40, 201)
  assert np.all(np.diff(centres) > 0)
  wide = signal.slaney_mel(16000, 16000, 40)
  assert_allclose(wide.sum(axis=1), 1.0, rtol=0.01)


def test_power_frames_are_centred_and_padded_with_zeros():
  wave = noise(1000)
  power = signal.power_frames(wave, 400, 160)
  assert power.shape == (1 + 1000 // 160, 201)
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
  middle = np.abs(np.fft.rfft(wave[280:680] * hann)) ** 2
  assert_allclose(power[3], middle, rtol=1e-3, atol=1e-4)


def test_trimming_keeps_the_speech_and_drops_the_quiet():
  speech = noise(8000)
  wave = np.concatenate([noise(16000, 1, 1e-4), speech, np.zeros(16000)])
  trimmed = signal.trim_silence(wave)
  assert 8000 <= len(trimmed) <= 8000 + 2 * 640
  assert len(signal.trim_silence(np.zeros(5000))) == 0
  assert len(signal.trim_silence(np.zeros(0))) == 0


def test_broken_samples_become_silence():
  wave = signal.to_judge_rate([np.nan, np.inf, -np.inf, 0.5], 16000)
  assert_array_equal(wave, np.array([0, 0, 0, 0.5], np.float32))


def test_perfect_copies_get_the_best_marks():
  wave = spoken(SENTENCES[0])
  assert signal.stoi(wave, wave) > 0.999
  assert signal.wb_pesq(wave, wave) > 4.6
  assert signal.spectral_distance(wave, wave) == 0


def test_noise_lowers_every_mark_the_more_the_louder():
  wave = spoken(SENTENCES[1])
  marks = [
    (
      signal.stoi(wave, copy),
      signal.wb_pesq(wave, copy),
      -signal.spectral_distance(wave, copy),
    )
    for copy in (wave, wave + noise(len(wave), 1, 0.02), noise(len(wave), 2))
  ]
  assert all(np.all(np.diff(column) < 0) for column in np.transpose(marks))


@pytest.mark.parametrize("mark", [signal.stoi, signal.wb_pesq])
def test_what_holds_no_speech_is_not_marked(mark):
  wave = spoken(SENTENCES[0])
  assert mark(wave[:100], wave[:100]) is None
  assert mark(np.zeros_like(wave), wave) is None


# ------------------------------------------------------------------- voice


def test_embeddings_are_unit_vectors_and_silence_is_none(embed):
  a, quiet = embed([spoken(SENTENCES[0]), np.zeros(16000, np.float32)])
  assert_allclose(np.linalg.norm(a), 1.0, rtol=1e-6)
  assert np.all(a >= 0)
  assert not np.any(quiet)
  assert_array_equal(ge2e.nearest_of(np.stack([a, quiet]), a[None]), [0, -1])


def test_a_batch_gives_what_each_clip_gives_alone(embed):
  waves = [
    spoken(s, v) for s, v in zip(SENTENCES[:4], VOICES.values(), strict=True)
  ]
  waves.append(waves[0][:8000])
  together = embed(waves)
  alone = np.concatenate([embed([wave]) for wave in waves])
  assert_allclose(together, alone, atol=2e-6)


def test_halves_of_one_voice_are_nearer_than_two_voices(embed):
  first = [
    np.concatenate([spoken(s, v) for s in SENTENCES[:2]])
    for v in VOICES.values()
  ]
  second = [
    np.concatenate([spoken(s, v) for s in SENTENCES[2:4]])
    for v in VOICES.values()
  ]
  a, b = embed(first), embed(second)
  assert_array_equal(ge2e.nearest_of(a, b), range(4))
  cosine = a @ b.T
  assert np.diag(cosine).min() > (cosine - np.eye(4)).max()


def test_one_window_is_the_recurrence_written_out():
  layers, weight, bias = ge2e.weights()
  wave = spoken(SENTENCES[0])[:25600]
  x = ge2e.mel(wave)[:160].astype(np.float64)
  for w_in, w_hidden, b in layers:
    hidden, cell, out = np.zeros(256), np.zeros(256), []
    for frame in x:
      gates = w_in @ frame + w_hidden @ hidden + b
      i, f, g, o = gates.reshape(4, 256)
      cell = cell / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
      hidden = np.tanh(cell) / (1 + np.exp(-o))
      out.append(hidden)
    x = np.array(out)
  raw = np.maximum(weight @ x[-1] + bias, 0)
  (found,) = ge2e.encode(ge2e.mel(wave)[None, :160])
  assert_allclose(found, raw / np.linalg.norm(raw), atol=1e-6)


@pytest.mark.parametrize(
  ("seconds", "starts"),
  [(0.3, [0]), (1.6, [0]), (2.3, [0, 77]), (2.0, [0, 77]), (1.8, [0])],
)
def test_windows_cover_the_clip_and_a_short_rest_is_dropped(seconds, starts):
  samples = int(16000 * seconds)
  found = ge2e.windows(samples)
  assert found == [s for s in starts if s == 0 or samples - s * 160 >= 19200]


# ------------------------------------------------------------------- words


def test_warping_equals_three_loops():
  random = np.random.default_rng(0)
  frames = random.normal(size=(7, 3)).astype(np.float32)
  others = [random.normal(size=(s, 3)).astype(np.float32) for s in (5, 9, 1, 0)]

  def slowly(a, b):
    total = np.full((len(a), len(b)), np.inf)
    for i in range(len(a)):
      for j in range(len(b)):
        cost = np.linalg.norm(a[i] - b[j])
        before = [
          total[i - 1, j] + cost if i else np.inf,
          total[i, j - 1] + cost if j else np.inf,
          total[i - 1, j - 1] + 2 * cost if i and j else np.inf,
        ]
        total[i, j] = min(before) if i or j else cost
    return total[-1, -1] / (len(a) + len(b))

  expected = [slowly(frames, b) if len(b) else np.inf for b in others]
  assert_allclose(dtw.distances(frames, others), expected, rtol=1e-5)


def test_an_equal_template_is_at_no_distance():
  frames = signal.mfcc(spoken(SENTENCES[0]))
  near, far = dtw.distances(frames, [frames, frames[::-1].copy()])
  assert near < 1e-3 < far


@pytest.mark.parametrize("variant", ["f3", "klatt4", "m7"])
def test_the_right_text_is_nearest_in_another_voice_and_tempo(variant):
  heard = [
    dtw.choose(spoken(text, variant, rate=130), SENTENCES, "en-us")
    for text in SENTENCES[:5]
  ]
  assert heard == [0, 1, 2, 3, 4]


def test_silence_is_no_text():
  assert dtw.choose(np.zeros(16000, np.float32), SENTENCES, "en-us") == -1
  assert pocketsphinx.choose(np.zeros(16000), SENTENCES) == -1
  assert pocketsphinx.transcribe(np.zeros(0, np.float32)) == ""


def test_pocketsphinx_chooses_the_spoken_sentence_in_any_order():
  def listen(order):
    return {
      i: pocketsphinx.choose(spoken(SENTENCES[i], "klatt"), SENTENCES)
      for i in order
    }

  forwards, backwards = listen(range(10)), listen(reversed(range(10)))
  assert forwards == backwards
  assert sum(i == found for i, found in forwards.items()) >= 9


def test_unknown_words_are_left_out_of_the_grammar():
  assert pocketsphinx.known_words("The Zorgblatt, river!") == "the river"
  assert pocketsphinx.choose(spoken("hello"), ["zorgblatt"]) == -1


def test_error_rates_count_edits_over_the_corpus():
  en, zh = BY_CODE["en"], BY_CODE["zh"]
  rate = edits.error_rate(
    ["A red, red rose!", "one"],
    ["a red rose", "one two"],
    [en, en],
    unit="word",
  )
  assert rate == edits.ErrorRate(value=2 / 5, n=2)
  rate = edits.error_rate(
    ["你好，世界。"], ["你好 世间"], [zh], unit="character"
  )
  assert rate == edits.ErrorRate(value=1 / 4, n=1)
  rate = edits.error_rate(["…"], ["a"], [en], unit="word")
  assert rate == edits.ErrorRate(value=None, n=0)


@pytest.mark.parametrize(
  ("text", "language", "expected"),
  [
    ("Don’t  STOP—well-known!", "en", "don't stop well known"),
    ("हिन्दी।", "hi", "हिन्दी"),
    ("¿Dónde está?", "es", "dónde está"),
    ("السَّلَامُ عَلَيْكُمْ", "ar", "السلام عليكم"),
    ("ｱｲｳ、エ", "ja", "アイウエ"),
  ],
)
def test_normalisation_keeps_letters_and_marks(text, language, expected):
  found = edits.normalise(text, BY_CODE[language])
  assert found == expected
  assert edits.normalise(found, BY_CODE[language]) == found


# -------------------------------------------------------------------- cases


@dataclasses.dataclass
class Clips:
  """A split in memory."""

  split: str
  texts: list[str]
  who: list[str]
  rate: int = 16000
  languages: tuple[str, ...] = ("en",)

  def __post_init__(self):
    self.speakers = tuple(sorted(VOICES))
    self.speaker = np.array([self.speakers.index(w) for w in self.who])
    self.language = np.zeros(len(self.texts), np.int32)
    self.num_samples = np.array(
      [len(self.wave(i)) for i in range(len(self.texts))]
    )

  def __len__(self):
    return len(self.texts)

  def id(self, index):
    return f"{self.split}-{index}"

  def text(self, index):
    return self.texts[index]

  def wave(self, index):
    return spoken(self.texts[index], VOICES[self.who[index]])


@functools.cache
def splits():
  train = Clips("train", list(SENTENCES[6:8]), ["ann", "ben"])
  seen = Clips("seen", list(SENTENCES[8:10]), ["ann", "ben"])
  unseen = Clips("unseen", list(SENTENCES[:6]), ["cid"] * 3 + ["dot"] * 3)
  return {"train": train, "seen": seen, "unseen": unseen}


def panel(split, count=9):
  others = [s for name, s in splits().items() if name != split]
  return selection.choose_panel(
    splits()[split], others, count=count, rate=16000, seed=0
  )


@pytest.mark.parametrize("split", ["seen", "unseen"])
def test_references_and_enrolment_are_other_clips_of_the_speaker(split):
  found = panel(split)
  assert len(found.cases) == {"seen": 2, "unseen": 4}[split]
  assert set(found.enrolment) == set(VOICES)
  for case in found.cases:
    assert case.reference_text != case.text
    assert_array_equal(
      case.reference, spoken(case.reference_text, VOICES[case.speaker])
    )
    assert_array_equal(case.wave, spoken(case.text, VOICES[case.speaker]))
    enrolled = found.enrolment[case.speaker].tobytes()
    assert case.wave[1000:2000].tobytes() not in enrolled
    assert case.candidates[0] == case.text
    assert len(set(case.candidates)) == len(case.candidates) > 5


def test_the_draw_is_repeatable_and_no_larger_than_asked():
  assert [c.id for c in panel("unseen").cases] == [
    c.id for c in panel("unseen").cases
  ]
  assert len(panel("unseen", 1).cases) == 1


def test_a_split_without_second_clips_is_refused():
  alone = Clips("unseen", [SENTENCES[0]], ["cid"])
  with pytest.raises(UserError, match="unseen split has no clip"):
    selection.choose_panel(alone, [], count=3, rate=16000, seed=0)


def test_groups_hold_one_speaker_and_every_case_once():
  cases = panel("unseen").cases
  groups = judge.speaker_groups(cases, 16000)
  assert sorted(i for g in groups for i in g) == list(range(len(cases)))
  assert all(len({cases[i].speaker for i in g}) == 1 for g in groups)


# ------------------------------------------------------------------- report


class Parrot:
  """A synthesizer that says everything as the recording does."""

  rate = 16000

  def __init__(self):
    self.of = {
      text: split.wave(i)
      for split in splits().values()
      for i, text in enumerate(split.texts)
    }

  def synthesize(self, requests, **settings):
    assert set(settings) == {"seed", "steps", "guidance", "temperature"}
    return [
      Utterance(wave=self.of[r.text], tokens=np.zeros(1, np.int32), ended=True)
      for r in requests
    ]

  def from_tokens(self, tokens, references, *, seed, steps, guidance):
    return tokens

  def tokenize(self, waves):
    return waves

  def resynthesize(self, waves):
    return waves

  def tokenizer_reconstruction(self, waves):
    return waves

  def ctc_transcribe(self, waves):
    known = {wave.tobytes(): text for text, wave in self.of.items()}
    return [known[wave.tobytes()] for wave in waves]

  def codes_in_use(self, waves):
    return 0.75

  def ar_cost(self, items):
    """A nat for a wrong text, half a nat for a wrong voice."""
    of = {w.tobytes(): t for t, w in self.of.items()}
    speaker = {
      text: who
      for split in splits().values()
      for text, who in zip(split.texts, split.who, strict=True)
    }
    costs = [
      2.0
      + (of[target.tobytes()] != text)
      + 0.5
      * (speaker[of[reference.tobytes()]] != speaker[of[target.tobytes()]])
      for text, _, reference, target in items
    ]
    return float(np.mean(costs))


@pytest.fixture(scope="module")
def results():
  return measure_lib.measure(
    Parrot(),
    splits(),
    {"unseen": 4, "seen": 2},
    recipes.Sampling(),
    1,
    measure_lib.Stopwatch(),
  )


def test_rows_that_equal_the_ground_truth_are_judged_alike(results):
  for result in results.values():
    figures = result.judgement.figures
    assert list(figures) == [recipe.name for recipe in recipes.RECIPES]
    truth = figures[measures.GROUND_TRUTH]
    assert set(truth) == {m.name for m in measures.MEASURES}
    for name, row in figures.items():
      for measure, figure in row.items():
        if measure == "ended":
          expected = 1.0 if name.endswith("_shot") else None
          assert figure.value == expected
        elif figure.value is not None:
          assert figure == truth[measure], (name, measure)
    assert truth["dtw_top1"].value == 1
    assert truth["nearest_speaker"].value == 1
    assert truth["ctc_cer"].value == 0
    assert truth["stoi"].value > 0.999
    assert figures["zero_shot"]["stoi"].value is None


def test_what_a_wrong_text_and_a_wrong_voice_cost(results):
  for result in results.values():
    found = {k: v.value for k, v in result.diagnostics.items()}
    assert found == {
      "ctc_cer": 0.0,
      "codes_in_use": 0.75,
      "ar_cost": 2.0,
      "ar_wrong_reference": 0.5,
      "ar_wrong_text": 1.0,
    }


@pytest.fixture(scope="module")
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
  write.write(
    out, results, sources, recipes.Sampling(), 16000, measure_lib.Stopwatch()
  )
  return out


def test_the_page_stands_alone(written):
  page = (written / "index.html").read_text()
  assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"base64,\S+", "", page))
  assert page.count("<audio") == page.count("data:audio/flac") == 6 * 7
  assert page.count("data:image/png") == 6 * 7
  assert "The vocabulary is closed &lt;here&gt;." in page
  assert "s02 report --bundle b" in page
  assert "<polyline" in page
  for recipe in recipes.RECIPES:
    assert recipe.label in page
  assert "nan" not in re.sub(r"base64,\S+", "", page).casefold().split()


def test_metrics_hold_every_figure_with_its_n(written):
  found = json.loads((written / "metrics.json").read_text())
  for split, n in {"unseen": 4, "seen": 2}.items():
    assert set(found["table"][split]) == {r.name for r in recipes.RECIPES}
    for row in found["table"][split].values():
      assert set(row) == {m.name for m in measures.MEASURES}
      assert all({"value", "n"} <= set(figure) for figure in row.values())
      assert row["dtw_top1"]["n"] == n
  assert len(found["cases"]) == 6
  assert all(
    set(c["verdicts"]) == set(row)
    for c in found["cases"]
    for row in [{r.name for r in recipes.RECIPES}]
  )
  assert sorted(p.name for p in written.iterdir()) == [
    "index.html",
    "metrics.json",
  ]


def test_bars_are_held_against_the_unseen_figures(written):
  found = json.loads((written / "metrics.json").read_text())["bars"]
  by_name = {bar["name"]: bar for bar in found}
  assert len(by_name) == len(requirements.BARS) + 1
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


def test_a_clip_is_judged_alike_after_any_other():
  task = clip_judge.CaseTask(
    candidates=SENTENCES,
    language="en",
    transcribe=False,
    truth=spoken(SENTENCES[0], "m7"),
    waves=tuple(spoken(s, "m7") for s in (*SENTENCES[:3], SENTENCES[0])),
    aligned=(True, False, False, True),
  )
  first, _, _, last = clip_judge.judge_case(task)
  assert first == last
  assert [v.dtw for v in clip_judge.judge_case(task)] == [1, 0, 0, 1]


# ------------------------------------------------------------------- faults


def refused(*arguments):
  with pytest.raises(UserError) as error:
    report.main([*map(str, arguments)])
  message = str(error.value)
  assert "\n" not in message
  return message


def test_what_is_not_a_bundle_is_refused_in_a_sentence(tmp_path):
  out = tmp_path / "out"
  message = refused("--bundle", tmp_path, "--corpus", tmp_path, "--out", out)
  assert "no bundle" in message and "s02 bundle" in message
  (tmp_path / "card.json").write_text("{")
  message = refused("--bundle", tmp_path, "--corpus", tmp_path, "--out", out)
  assert "no bundle" in message
  assert not out.exists()


def test_runs_without_metrics_and_odd_phases_are_refused(tmp_path):
  with pytest.raises(UserError, match="--runs"):
    write.read_curves(tmp_path)
  (tmp_path / "phases.json").write_text("[1]")
  with pytest.raises(UserError, match="--phases"):
    write.read_phases(tmp_path / "phases.json")
  (tmp_path / "phases.json").write_text('{"corpus": 3}')
  assert write.read_phases(tmp_path / "phases.json") == {"corpus": 3.0}


def test_curves_take_finite_values_of_training_and_held_out(tmp_path):
  lines = [
    {"step": 1, "loss": 2.0},
    {"step": 2, "loss": None},
    {"step": 2, "unseen/loss": 1.5},
    {"step": 3, "loss": 1.0},
  ]
  text = "\n".join(map(json.dumps, lines))
  (tmp_path / "metrics.jsonl").write_text(text)
  assert write.read_curves(tmp_path) == [
    media.Curve("training", [1, 3], [2.0, 1.0]),
    media.Curve("unseen", [2], [1.5]),
  ]
