"""Verb `s02 evaluate`: interruptions, shards, missing clips, bad input."""

import json
import shutil
import types

import numpy as np
import pytest
import soundfile

from s02jax import cli
from s02jax.audio import recording
from s02jax.cli import evaluate
from s02jax.core.errors import UserError
from s02jax.core.shard import Shard
from s02jax.evaluation.benchmark import clips, passes, plan
from s02jax.evaluation.benchmark.items import Item
from s02jax.evaluation.benchmark.ledger import Asked, JudgeAnswer, Ledger
from s02jax.evaluation.benchmark.plan import ItemGroup
from s02jax.synthesis.engine import Piece, Spoken
from s02jax.synthesis.request import Settings
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.voice import Voice
from s02jax.text.checks import check_text
from s02jax.text.front import ANYBODY
from tests import tiny

RATE = 16000
WORDS = ("alpha", "beta", "gamma", "delta", "eta", "iota", "my", "ny", "rho")


class Interrupted(Exception):
  """Error that stops a run in these tests."""


class Budget:
  """Budget of steps that raises `Interrupted` once it is spent."""

  def __init__(self):
    self.left = None

  def spend(self) -> None:
    if self.left is not None:
      self.left -= 1
      if self.left < 0:
        raise Interrupted


class FakeSynthesizer:
  """Synthesizer of sounds whose length follows from text and seed."""

  rate = RATE
  audience = ANYBODY

  def __init__(self, budget):
    self._budget = budget
    self.spoken = []

  def voices(self, references, transcripts):
    del transcripts
    vector = np.ones(2, np.float32)
    return [
      Voice(ar_vector=vector, flow_vector=vector, prompt=None, fingerprint="f")
      for _ in references
    ]

  def engine(self, *, whole=False):
    return FakeEngine(self, self._budget)


class FakeEngine:
  """Engine that finishes one request at each step."""

  def __init__(self, owner, budget):
    self._owner, self._budget, self._waiting = owner, budget, {}

  @property
  def busy(self):
    return bool(self._waiting)

  def submit(self, request, settings):
    check_text(request.text, request.language)
    ticket = len(self._waiting)
    self._waiting[ticket] = request.text, settings.seed
    return ticket

  def step(self):
    self._budget.spend()
    ticket, (text, seed) = next(iter(self._waiting.items()))
    del self._waiting[ticket]
    self._owner.spoken.append((text, seed))
    random = np.random.default_rng(len(text) + 1000 * seed)
    wave = random.uniform(-0.5, 0.5, 4000 + 100 * len(text) + seed)
    spoken = Spoken(tokens=np.zeros(1, np.int32), ended=True, redrawn=False)
    return [Piece(ticket=ticket, wave=wave.astype(np.float32), spoken=spoken)]


class FakeJudge:
  """Judge that hears as many words as a clip has thousands of samples."""

  spec = "fake"

  def __init__(self, budget):
    self._budget, self.handed = budget, []

  def _lengths(self, paths):
    self._budget.spend()
    self.handed.append(len(paths))
    return [len(soundfile.read(path)[0]) for path in paths]

  def transcribe(self, paths, language):
    assert language in ("en", "de")
    return [" ".join(WORDS[: n // 1000 % 10]) for n in self._lengths(paths)]

  def embed(self, paths):
    return np.array([[1.0, n % 7, n % 3] for n in self._lengths(paths)])

  def score(self, paths):
    lengths = np.array(self._lengths(paths), np.float32)
    return {"mos": lengths / 1000, "odd": np.full(len(paths), np.nan)}


def write_wave(path, seconds=1.0, seed=0, rate=RATE, gain=0.3):
  path.parent.mkdir(parents=True, exist_ok=True)
  random = np.random.default_rng(seed)
  wave = gain * random.uniform(-1, 1, int(seconds * rate))
  soundfile.write(path, wave, rate)


@pytest.fixture
def world(tmp_path, monkeypatch):
  """Fake world: a set of 13 items, a bundle, judges, and their budgets."""
  lines = []
  for i in range(13):
    language = "en" if i < 10 else "de"
    text = " ".join(WORDS[: 1 + i % 5])
    lines.append(
      {"key": f"k{i}", "text": text, "language": language,
       "prompt_audio": f"p{i % 2}.wav", "truth": f"t{i % 3}.wav"}
    )  # fmt: skip
  data = tmp_path / "set.jsonl"
  data.write_text("\n".join(map(json.dumps, lines)))
  for i in range(3):
    write_wave(tmp_path / f"p{i}.wav", 1 + i / 10, seed=i)
    write_wave(tmp_path / f"t{i}.wav", 1.5 + i / 10, seed=9 + i)
  (tmp_path / "bundle").mkdir()
  for name in ("config.json", "card.json"):
    (tmp_path / "bundle" / name).write_text("{}")

  speaking, judging = Budget(), Budget()
  synthesizer = FakeSynthesizer(speaking)
  judge = FakeJudge(judging)
  monkeypatch.setattr(
    passes, "load_synthesizer", lambda path: (synthesizer, 40.0)
  )
  made = passes.registry
  monkeypatch.setattr(
    made, "recognisers", lambda codes, specs, texts: dict.fromkeys(codes, judge)
  )
  monkeypatch.setattr(made, "speaker_judge", lambda spec: judge)
  monkeypatch.setattr(made, "quality_judge", lambda spec: judge)

  def command(out, *more, who=("--bundle", str(tmp_path / "bundle"))):
    evaluate.main([
      "--benchmark", "manifest", "--data", str(data), "--out",
      str(tmp_path / out), *who, *more,
    ])  # fmt: skip
    return tmp_path / out

  return types.SimpleNamespace(
    path=tmp_path,
    data=data,
    speaking=speaking,
    judging=judging,
    synthesizer=synthesizer,
    judge=judge,
    run=command,
  )


def scores(out):
  return json.loads((out / "scores.json").read_text())


def audio(world, out):
  return ("--audio", str(world.path / out / "clips"))


# -------------------------------------------------------------- interruptions


def test_an_interrupted_run_goes_on_to_the_same_scores(world):
  whole = world.run("whole", "--seeds", "2")
  again = world.synthesizer.spoken
  assert len(again) == 26
  for budget in (world.speaking, world.judging):
    for steps in (0, 1, 5):
      budget.left = steps
      with pytest.raises(Interrupted):
        world.run("stopped", "--seeds", "2")
    budget.left = None
  stopped = world.path / "stopped"
  (ledger,) = stopped.glob("judged*")
  ledger.write_bytes(ledger.read_bytes()[:-9])
  world.run("stopped", "--seeds", "2")
  for name in ("scores.json", "scores.md", "paper.md", "run.json"):
    assert (stopped / name).read_bytes() == (whole / name).read_bytes()
  lines = ledger.read_text().splitlines()
  assert all(json.loads(line) for line in lines)

  # All is done: nothing is spoken or asked again.
  before = len(world.synthesizer.spoken), len(world.judge.handed)
  world.run("stopped", "--seeds", "2")
  assert (len(world.synthesizer.spoken), len(world.judge.handed)) == before


def test_a_clip_is_judged_again_once_it_changes(world):
  out = world.run("out")
  heard = scores(out)["rows"][0]["fair"]
  write_wave(out / "clips" / "en" / "k4.wav", 3.0)
  before = len(world.judge.handed)
  world.run("out")
  assert len(world.judge.handed) == before + 3  # words, voice, quality
  assert scores(out)["rows"][0]["fair"] != heard


def test_a_clip_that_was_replaced_is_not_scored_by_what_was_heard(world):
  out = world.run("out")
  before = (out / "scores.json").read_bytes()
  clip = out / "clips" / "en" / "k4.wav"
  write_wave(clip, 3.0)
  with pytest.raises(UserError, match="1 recordings are not .* clip en/k4;"):
    world.run("out", "--pass", "score")
  assert (out / "scores.json").read_bytes() == before
  clip.unlink()  # nor need it be kept
  world.run("out", "--pass", "score")
  assert scores(out)["rows"] == json.loads(before)["rows"]


def test_shards_make_the_whole(world, capsys):
  whole = world.run("whole", "--seeds", "2")
  for part in ("3/3", "1/3"):
    world.run("parts", "--seeds", "2", "--shard", part)
  assert "Part 1/3 is judged" in capsys.readouterr().out
  with pytest.raises(UserError, match=r"judgements are still absent: clip en/"):
    world.run("parts", "--seeds", "2", "--pass", "score")
  assert not (world.path / "parts" / "scores.json").exists()
  out = world.run("parts", "--seeds", "2", "--shard", "2/3")
  assert (out / "scores.json").read_bytes() == (
    (whole / "scores.json").read_bytes()
  )
  assert len(list(out.glob("judged-*-of-3.jsonl"))) == 3


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_that_is_none_is_refused(text):
  with pytest.raises(UserError, match="--shard"):
    Shard.parse(text)


def test_shards_hold_everything_once():
  parts = [list(Shard(i, 3).of(range(10))) for i in (1, 2, 3)]
  assert sorted(x for part in parts for x in part) == list(range(10))


def test_a_judge_is_never_handed_many(world):
  lines = [json.loads(line) for line in world.data.read_text().splitlines()]
  more = [lines[0] | {"key": f"m{i}"} for i in range(60)]
  world.data.write_text("\n".join(map(json.dumps, more)))
  world.run("many")
  assert max(world.judge.handed) == plan.GROUP
  assert sum(world.judge.handed) == 3 * 60 + 2  # a prompt and a truth


# ------------------------------------------------------------------- figures


def test_the_scores_are_those_of_the_clips(world):
  out = world.run("out", "--seeds", "2", "--name", "ours")
  found = scores(out)
  assert (found["system"], found["items"], found["seeds"]) == ("ours", 13, 2)
  assert [(r["subset"], r["clips"]) for r in found["rows"]] == (
    [("en", 20), ("de", 6)]
  )
  for row in found["rows"]:
    assert row["missing"] == row["silent"] == []
    for pipeline in ("official", "fair"):
      rate = row[pipeline]
      errors = sum(rate[x] for x in ("substitutions", "deletions",
                                     "insertions"))  # fmt: skip
      assert rate["corpus_level"]["value"] == errors / rate["units"]
      assert rate["utterance_mean"]["n"] == row["items"]
    assert set(row["similarity"]) == (
      {"to_prompt", "same_speaker", "other_speaker"}
    )
    assert row["similarity"]["other_speaker"]["n"] == 1
    assert row["quality"].keys() == {"mos"}
  rates = [row["fair"]["utterance_mean"]["value"] for row in found["rows"]]
  mean = found["mean"]["fair"]["utterance_mean"]
  assert mean == pytest.approx(sum(rates) / 2)
  worst = found["worst"]
  assert [w["rate"] for w in worst] == sorted(
    (w["rate"] for w in worst), reverse=True
  )
  assert len(worst) <= 20
  for one in worst:
    assert (out / one["clip"]).is_file()
    said = [ref for op, ref, _ in one["edits"] if op != "i"]
    assert " ".join(said) == one["text"]
    heard = [hyp for op, _, hyp in one["edits"] if op != "d"]
    assert " ".join(heard) == one["heard"]
  assert "| en | en | WER | 10 |" in (out / "scores.md").read_text()


def test_the_recordings_themselves_are_scored(world):
  out = world.run("truth", who=("--truth",))
  assert not (out / "clips").exists()
  for row in scores(out)["rows"]:
    alike = row["similarity"]
    assert alike["to_prompt"] == alike["same_speaker"]


def test_clips_of_any_system_score_as_our_own(world):
  world.run("ours")
  flat = world.path / "theirs"
  flat.mkdir()
  for path in (world.path / "ours" / "clips").glob("*/*.wav"):
    wave, rate = soundfile.read(path)
    soundfile.write(flat / f"{path.stem}.flac", wave, rate)
  out = world.run("theirs_scored", who=("--audio", str(flat)))
  assert scores(out)["rows"] == scores(world.path / "ours")["rows"]
  assert scores(out)["worst"][0]["clip"].startswith(str(flat))


# ------------------------------------------------------------------- missing


def test_a_missing_clip_is_an_error_unless_it_is_allowed(world):
  world.run("ours")
  folder = world.path / "ours" / "clips"
  (folder / "en" / "k9.wav").unlink()
  with pytest.raises(UserError, match=r"line 10: 1 of 13 .*: en/k9; make"):
    world.run("a", who=audio(world, "ours"))
  (folder / "en" / "k3.wav").write_bytes(b"not a recording")
  (folder / "de" / "k10.wav").unlink()
  write_wave(folder / "de" / "k11.wav", gain=0.0)
  out = world.run("b", "--allow-missing", who=audio(world, "ours"))
  en, de = scores(out)["rows"]
  assert en["missing"] == ["k3", "k9"]
  assert (de["missing"], de["silent"]) == (["k10"], ["k11"])
  assert de["fair"]["deletions"] >= 1
  gone = {w["key"]: w for w in scores(out)["worst"]}["k10"]
  assert (gone["rate"], gone["heard"], gone["clip"]) == (1.0, None, None)
  assert "k3, k9" in (out / "scores.md").read_text()
  # What was allowed once is not allowed for ever.
  with pytest.raises(UserError, match=r"2 of 13 clips .*: en/k9, de/k10;"):
    world.run("b", who=audio(world, "ours"))
  with pytest.raises(UserError, match=r"3 clips are missing: en/k3, en/k9"):
    world.run("b", "--pass", "score", who=audio(world, "ours"))


def test_an_unreadable_clip_is_named(world):
  world.run("ours")
  (world.path / "ours" / "clips" / "en" / "k3.wav").write_bytes(b"no sound")
  with pytest.raises(UserError, match=r"en/k3 .*line 4\) .*readable"):
    world.run("a", who=audio(world, "ours"))


def test_what_cannot_be_spoken_is_named(world):
  lines = world.data.read_text().splitlines()
  odd = json.loads(lines[1]) | {"text": "Привет"}
  world.data.write_text("\n".join([lines[0], json.dumps(odd), *lines[2:]]))
  with pytest.raises(UserError, match=r"set.jsonl, line 2: .*Latin"):
    world.run("out")
  out = world.run("out", "--allow-missing")
  assert scores(out)["rows"][0]["missing"] == ["k1"]
  before = len(world.synthesizer.spoken)
  world.run("out", "--allow-missing")
  assert len(world.synthesizer.spoken) == before


# ---------------------------------------------------------------- bad input


def test_another_evaluation_in_the_same_folder_is_refused(world):
  world.run("out")
  for more, fault in (
    (("--seeds", "2"), "whose seeds is 1, not 2"),
    (("--subsets", "en"), "whose data is"),
    (("--quality-judge", "none"), "whose judges.quality is dnsmos, not not"),
    (("--recogniser", "de=dtw"), "recognisers.de is faster-wh.*, not dtw"),
    (("--steps", "4"), "whose source.steps is 16, not 4"),
    (("--name", "x"), "whose system is bundle, not x"),
  ):
    with pytest.raises(UserError, match=fault):
      world.run("out", *more)
  with pytest.raises(UserError, match="holds an evaluation whose"):
    world.run("out", who=("--truth",))


def _told(world, capsys, *words) -> str:
  """Line of stderr that a bad command leaves."""
  assert cli.run(evaluate.main, [str(word) for word in words]) == 2
  (line,) = [
    x for x in capsys.readouterr().err.splitlines() if x.startswith("s02:")
  ]
  return line


def test_bad_input_gets_one_sentence(world, capsys, tmp_path):
  root = tmp_path / "m24"
  (root / "text").mkdir(parents=True)
  folder = root / "speaker" / "english" / "english_male"
  write_wave(folder / "one.wav")
  shutil.move(folder / "one.wav", folder / "one.mp3")
  list_ = root / "text" / "english.txt"
  common = ("--out", tmp_path / "x", "--truth", "--benchmark", "minimax24",
            "--subsets", "en", "--data", root)  # fmt: skip
  for lines, fault in (
    ("english_male|Yes.\nenglish_female|No.", "line 2: 1 of the 2 files"),
    ("english_male|Yes.\n\nenglish_male|No.", "line 2: an empty line"),
    ("english_male|Yes.\nenglish_male|No|no.", "line 2: a second |"),
    ("english_male|Yes.\nenglish_male|", "line 2: expected <voice"),
    ("english_male|Yes.\nczech_male|No.", "line 2: the voice 'czech_male'"),
    ("english_male|Yes.\nenglish_male|...!", "line 2: item 'english_002'"),
    ("english_male|Yes.", "line 1: --truth needs a recording"),
  ):
    list_.write_text(lines)
    assert f"{list_}, {fault}" in _told(world, capsys, *common)
  french = (*common[:-4], "--subsets", "fr", *common[-2:])
  assert "french.txt is not there" in _told(world, capsys, *french)
  assert not (tmp_path / "x").exists()


def test_clips_that_contradict_each_other_are_refused(world, capsys):
  world.run("ours")
  folder = world.path / "ours" / "clips"
  common = ("--out", world.path / "x", "--benchmark", "manifest", "--data",
            world.data, "--audio", folder)  # fmt: skip
  write_wave(folder / "en" / "k2.flac")
  assert "k2.wav are two clips of one name" in _told(world, capsys, *common)
  (folder / "en" / "k2.flac").unlink()
  write_wave(folder / "en" / "k2.wav", rate=24000)
  told = _told(world, capsys, *common)
  assert "k2.wav has 24000 Hz and" in told
  assert "one sample rate" in told
  for part in ("1/2", "2/2"):
    assert _told(world, capsys, *common, "--shard", part) == told
  assert "no such folder" in _told(world, capsys, *common, "--audio",
                                   world.path / "nowhere")  # fmt: skip
  write_wave(world.path / "p1.wav", gain=0.0)
  other = ("--out", world.path / "y", *common[2:-2], "--truth")
  assert "line 2: the prompt of the item" in _told(world, capsys, *other)


def test_flat_clips_of_two_subsets_are_refused(tmp_path):
  write_wave(tmp_path / "a.wav")
  items = [_item("a", "one"), _item("a", "two")]
  with pytest.raises(UserError, match="a.wav: the key 'a' is in the subsets"):
    clips.folder(tmp_path, items)


@pytest.mark.parametrize("suffix", recording.SUFFIXES)
def test_clips_of_every_format_are_found(suffix, tmp_path):
  path = tmp_path / f"a{suffix}"
  path.touch()
  assert clips.folder(tmp_path, [_item("a")])(_item("a"), 0) == path


def test_a_clip_without_sound_is_silent_and_a_broken_one_is_named(tmp_path):
  path = tmp_path / "a.wav"
  for wave in (np.zeros(0), np.zeros(RATE), np.full(RATE, 0.3)):
    soundfile.write(path, wave, RATE)
    assert clips.is_silent(path)
  soundfile.write(path, np.full(RATE, np.nan), RATE, subtype="FLOAT")
  with pytest.raises(UserError, match="a.wav: .* not finite"):
    clips.is_silent(path)


def test_two_seeds_never_share_a_clip():
  items = [_item("a"), _item("a.1")]
  plan.check_items(items, 1)
  with pytest.raises(UserError, match="'a' with seed 1|'a.1' with seed 0"):
    plan.check_items(items, 2)


@pytest.mark.parametrize(
  ("words", "fault"),
  [
    (("--recogniser", "xx=dtw"), "language 'xx' is unknown"),
    (("--recogniser", "dtw"), "give LANGUAGE=SPEC"),
    (("--seeds", "0"), "--seeds 0"),
    (("--steps", "0"), "steps is 0"),
    (("--benchmark", "other"), "'other' is unknown"),
    (("--bundle", "nowhere"), "nowhere: not a bundle"),
  ],
)
def test_options_are_checked(world, words, fault):
  with pytest.raises(UserError, match=fault):
    world.run("out", *words)


# -------------------------------------------------------------------- pieces


def _item(key, subset="en", text="Yes.", prompt=None):
  return Item(
    key=key,
    text=text,
    language="en",
    prompt_audio=prompt,
    prompt_text=None,
    truth=None,
    subset=subset,
    where="list, line 1",
  )


def test_groups_keep_subsets_apart_and_seeds_together():
  items = [_item(f"a{i}") for i in range(9)] + [_item("b", "two")]
  found = list(plan.groups(items, 2))
  assert [(g.seed, len(g.items)) for g in found] == (
    [(0, 8), (1, 8), (0, 1), (1, 1), (0, 1), (1, 1)]
  )


def test_a_ledger_keeps_what_was_said_last(tmp_path):
  asked = Asked("clip", "en", "a", 0, "judge")
  vector = np.linspace(-1, 1, 7, dtype=np.float32)
  Ledger(tmp_path, Shard(2, 2)).add([(asked, JudgeAnswer(heard="old"))])
  Ledger(tmp_path, Shard(1, 2)).add([(asked, JudgeAnswer(voice=vector))])
  found = Ledger(tmp_path, Shard()).get(asked)
  np.testing.assert_array_equal(found.voice, vector)
  path = tmp_path / "judged-1-of-2.jsonl"
  path.write_text("nonsense\n" + path.read_text())
  with pytest.raises(UserError, match=r"judged-1-of-2.jsonl, line 1: no judg"):
    Ledger(tmp_path, Shard())


def test_a_real_bundle_speaks_the_same_after_an_interruption(tmp_path):
  soundfile.write(tmp_path / "p.wav", tiny.wave(1.0), RATE)
  items = tuple(
    _item(f"k{i}", text=text, prompt=tmp_path / "p.wav")
    for i, text in enumerate(["Good morning.", "Yes. " * 12])
  )
  synthesizer = Synthesizer(tiny.bundle())

  def speak(out):
    maker = clips.ClipMaker(
      synthesizer,
      tmp_path / out,
      context=4.0,  # the second needs two passes
      settings=Settings(steps=2),
      allow_missing=False,
    )
    maker(ItemGroup(seed=1, items=items))
    files = sorted((tmp_path / out / "clips" / "en").iterdir())
    assert [f.name for f in files] == ["k0.1.wav", "k1.1.wav"]
    return [f.read_bytes() for f in files]

  once = speak("a")
  (tmp_path / "a" / "clips" / "en" / "k0.1.wav").unlink()
  assert speak("a") == once
