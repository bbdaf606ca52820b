"""Readers of the test sets: accepted and refused lists."""

import json
import re

import pytest

from s02jax.core.errors import UserError
from s02jax.evaluation.benchmark import datasets
from s02jax.evaluation.benchmark.items import Item


def write(path, *lines, end="\n"):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(end.join(lines) + end, encoding="utf-8")


def touch(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(b"")


@pytest.fixture
def minimax(tmp_path):
  """MiniMax set of three languages, in the format of the release."""
  transcripts = []
  for name in ("chinese", "czech", "arabic"):
    for gender in ("female", "male"):
      label = f"{name}_{gender}"
      touch(tmp_path / "speaker" / name / label / f"clip_{label}.mp3")
      transcripts.append(f"clip_{label}.mp3|This is {label}.")
  write(tmp_path / "speaker" / "prompt_text.txt", *transcripts)
  write(tmp_path / "text" / "chinese.txt", "chinese_female|今天真冷。",
        "chinese_male|走吧！")  # fmt: skip
  # A line separator within a text, a blank last line.
  write(tmp_path / "text" / "czech.txt", "czech_male|Prší\u2028 a prší. ",
        "czech_female|Kam jdeš?", "")  # fmt: skip
  write(tmp_path / "text" / "arabic.txt", "\ufeffarabic_male|أين الباب؟")
  return tmp_path


def read(name, root, *subsets, **how):
  return datasets.read(name, root, subsets=subsets or None, **how)


# ---------------------------------------------------------------- minimax24


def test_minimax24_is_read_as_it_is_released(minimax):
  items = read("minimax24", minimax, "cs", "ar", cloning="one-shot")
  czech = minimax / "speaker" / "czech"
  assert items[:2] == [
    Item(
      key="czech_001",
      text="Prší\u2028 a prší.",
      language="cs",
      prompt_audio=czech / "czech_male" / "clip_czech_male.mp3",
      prompt_text="This is czech_male.",
      truth=None,
      subset="cs",
    ),
    Item(
      key="czech_002",
      text="Kam jdeš?",
      language="cs",
      prompt_audio=czech / "czech_female" / "clip_czech_female.mp3",
      prompt_text="This is czech_female.",
      truth=None,
      subset="cs",
    ),
  ]
  assert [item.key for item in items[2:]] == ["arabic_001"]
  assert items[2].text == "أين الباب؟"


def test_zero_shot_gives_no_transcript(minimax):
  items = read("minimax24", minimax, "zh")
  assert [item.prompt_text for item in items] == [None, None]
  (minimax / "speaker" / "prompt_text.txt").unlink()
  assert read("minimax24", minimax, "zh") == items
  with pytest.raises(UserError, match="2 of 2 items lack: chinese_001, chin"):
    read("minimax24", minimax, "zh", cloning="one-shot")


def test_all_24_languages_are_asked_for(minimax):
  assert len(datasets.MINIMAX24) == len(set(datasets.MINIMAX24)) == 24
  with pytest.raises(UserError, match=r"english.txt is not there"):
    read("minimax24", minimax)
  with pytest.raises(UserError, match="no subset 'sv': choose among zh, en"):
    read("minimax24", minimax, "sv")


def test_cross_lingual_takes_chinese_voices(minimax):
  items = read("cross-lingual", minimax, "cs", "ar", cloning="one-shot")
  assert [(i.language, i.prompt_audio.name) for i in items] == [
    ("cs", "clip_chinese_male.mp3"),
    ("cs", "clip_chinese_female.mp3"),
    ("ar", "clip_chinese_male.mp3"),
  ]
  assert items[0].text == "Prší\u2028 a prší."
  assert items[0].prompt_text == "This is chinese_male."
  assert len(datasets.CROSS_LINGUAL) == 7
  with pytest.raises(UserError, match="romanian.txt"):
    read("cross-lingual", minimax)


@pytest.mark.parametrize(
  "line",
  ["no bar", "|text", "label|", "label| ", "", "label|two|texts", "x_y|Ano."],
)
def test_a_malformed_line_of_minimax24_is_named(minimax, line):
  write(minimax / "text" / "czech.txt", "czech_male|Ano.", line, "czech_male|N")
  with pytest.raises(UserError, match=r"czech.txt, line 2: .*\.$"):
    read("minimax24", minimax, "cs")


def test_a_malformed_transcript_is_named(minimax):
  write(minimax / "speaker" / "prompt_text.txt", "clip_czech_male.mp3 Ahoj")
  with pytest.raises(UserError, match=r"prompt_text.txt, line 1: expected"):
    read("minimax24", minimax, "cs")


def test_a_voice_with_two_clips_is_refused(minimax):
  touch(minimax / "speaker" / "czech" / "czech_male" / "other.mp3")
  with pytest.raises(UserError, match="czech_male has 2 clips"):
    read("minimax24", minimax, "cs")


def test_a_voice_without_a_clip_is_missing(minimax):
  (minimax / "speaker/czech/czech_male/clip_czech_male.mp3").unlink()
  with pytest.raises(UserError, match=r"1 of the 2 files.*czech_male/\*.mp3"):
    read("minimax24", minimax, "cs")


# ----------------------------------------------------------------- seed-tts


@pytest.fixture
def seed(tmp_path):
  """Seed-TTS set with lines of two to five columns, and its files."""
  touch(tmp_path / "zh" / "prompt-wavs" / "p1.wav")
  touch(tmp_path / "en" / "prompt-wavs" / "p2.wav")
  touch(tmp_path / "zh" / "wavs" / "one.wav")
  touch(tmp_path / "en" / "truth" / "three.wav")
  write(tmp_path / "zh" / "meta.lst", "one|你好。|prompt-wavs/p1.wav|再见！",
        "two|你好。|prompt-wavs/p1.wav|多谢", end="\r\n")  # fmt: skip
  write(
    tmp_path / "zh" / "hardcase.lst", "one|你好。|prompt-wavs/p1.wav|四十四"
  )
  write(tmp_path / "en" / "meta.lst",
        "three|Hi, Ann.|prompt-wavs/p2.wav|Good bye.|truth/three.wav",
        "four.wav|Well then.|prompt-wavs/p2.wav", "five|No voice.")  # fmt: skip
  return tmp_path


def test_seed_tts_is_read_as_it_is_released(seed):
  items = read("seed-tts", seed)
  assert [(i.key, i.subset, i.language, i.text) for i in items] == [
    ("one", "zh", "zh", "再见！"),
    ("two", "zh", "zh", "多谢"),
    ("three", "en", "en", "Good bye."),
    ("four", "en", "en", "Well then."),
    ("five", "en", "en", "No voice."),
    ("one", "zh-hard", "zh", "四十四"),
  ]
  assert [i.truth for i in items[:4]] == [
    seed / "zh/wavs/one.wav", None, seed / "en/truth/three.wav", None,
  ]  # fmt: skip
  assert items[0].prompt_audio == seed / "zh/prompt-wavs/p1.wav"
  assert items[4].prompt_audio is None
  zh = read("seed-tts", seed, "zh", cloning="one-shot")
  assert {item.prompt_text for item in zh} == {"你好。"}
  with pytest.raises(UserError, match="2 of 3 items lack: four, five"):
    read("seed-tts", seed, "en", cloning="one-shot")


@pytest.mark.parametrize(
  ("line", "fault"),
  [
    ("alone", "1 columns"),
    ("a|b|c|d|e|f", "6 columns"),
    ("a||prompt-wavs/p1.wav|d", "an empty column"),
    ("a|b|prompt-wavs/p1.wav| ", "an empty column"),
  ],
)
def test_a_malformed_line_of_seed_tts_is_named(seed, line, fault):
  write(seed / "zh" / "meta.lst", "x|y", line)
  with pytest.raises(UserError, match=rf"meta.lst, line 2: {fault}"):
    read("seed-tts", seed, "zh")


def test_missing_files_are_named_all_at_once(seed):
  lines = [f"u{i}|你|prompt-wavs/gone{i}.wav|好" for i in range(13)]
  write(seed / "zh" / "meta.lst", *lines, "v|你|prompt-wavs/p1.wav|好")
  with pytest.raises(UserError) as caught:
    read("seed-tts", seed, "zh")
  message = str(caught.value)
  assert "13 of the 14 files" in message
  assert re.findall(r"gone(\d+)\.wav", message) == [str(i) for i in range(10)]
  assert "and 3 more" in message


def test_a_key_that_is_there_twice_is_refused(seed):
  write(seed / "zh" / "meta.lst", "a|好", "b|好", "a|你")
  with pytest.raises(UserError, match="subset zh has the key 'a' twice"):
    read("seed-tts", seed, "zh")


def test_a_list_that_is_no_text_is_refused(seed):
  (seed / "zh" / "meta.lst").write_bytes(b"\xff\xfe\xff")
  with pytest.raises(UserError, match="meta.lst is not a UTF-8 text file"):
    read("seed-tts", seed, "zh")
  (seed / "zh" / "meta.lst").write_bytes(b"a|b\nc|\xe9\n")
  with pytest.raises(UserError, match="meta.lst, line 2: meta.lst is not"):
    read("seed-tts", seed, "zh")
  with pytest.raises(UserError, match="meta.lst cannot be read as a list"):
    read("seed-tts", seed / "zh" / "meta.lst", "zh")
  write(seed / "zh" / "meta.lst", "")
  with pytest.raises(UserError, match="has no item"):
    read("seed-tts", seed, "zh")


# ----------------------------------------------------------------- manifest


def test_a_manifest_is_ones_own(tmp_path):
  touch(tmp_path / "ann.wav")
  touch(tmp_path / "said.wav")
  path = tmp_path / "mine.jsonl"
  first = {"key": "a", "text": " Hej! ", "language": "nb-NO",
           "prompt_audio": "ann.wav"}  # fmt: skip
  second = first | {"key": "b", "prompt_text": "Ja.", "truth": "said.wav",
                    "subset": "short"}  # fmt: skip
  write(path, json.dumps(first), json.dumps(second))
  items = read("manifest", path)
  assert items[0] == Item(
    key="a",
    text=" Hej! ",
    language="nb",
    prompt_audio=tmp_path / "ann.wav",
    prompt_text=None,
    truth=None,
    subset="nb",
  )
  assert items[1].truth == tmp_path / "said.wav"
  (short,) = read("manifest", path, "short", cloning="one-shot")
  assert (short.key, short.prompt_text) == ("b", "Ja.")
  with pytest.raises(UserError, match="no subset 'long': choose among nb, sh"):
    read("manifest", path, "long")


GOOD = {"key": "z", "text": "b", "language": "en", "prompt_audio": "c"}


@pytest.mark.parametrize(
  ("line", "fault"),
  [
    ("{", "not JSON"),
    (json.dumps(GOOD | {"subset": "../b"}), "'../b' is not a file name"),
    (json.dumps(GOOD | {"subset": ".."}), "'..' is not a file name"),
    ("[" * 100_000, "not JSON"),
    ("[]", "not a JSON object"),
    ('{"key": "a"}', "field 'text' is missing"),
    ('{"key": "a", "txt": "b"}', "field 'txt' is unknown"),
    ('{"key": 3}', "field 'key' is not a text"),
    ('{"key": "a", "text": " "}', "field 'text' is not a text"),
    (
      '{"key": "a", "text": "b", "language": "xx", "prompt_audio": "c"}',
      "language 'xx' is unknown",
    ),
    (
      '{"key": "../a", "text": "b", "language": "en", "prompt_audio": "c"}',
      "'../a' is not a file name",
    ),
  ],
)
def test_a_malformed_line_of_a_manifest_is_named(tmp_path, line, fault):
  path = tmp_path / "mine.jsonl"
  write(path, json.dumps(GOOD), line)
  with pytest.raises(UserError, match=rf"mine.jsonl, line 2: .*{fault}"):
    read("manifest", path)


# ------------------------------------------------------- manifest of a corpus


def clip(path, speaker="ann", **more):
  fields = {"path": path, "text": f"It is {path}.", "language": "en-GB"}
  return json.dumps(fields | {"speaker": speaker} | more)


@pytest.fixture
def corpus(tmp_path):
  """Manifest of a corpus: two voices of several clips, and clips alone."""
  for name in ("a/1", "a/2", "a/3", "b/1", "b/2", "c/1", "d/1", "d/2"):
    touch(tmp_path / f"{name}.mp3")
  write(
    tmp_path / "clips.jsonl",
    clip("a/1.mp3", seconds=3),
    clip("b/1.mp3", "ben", id="one", emotion="glad"),
    clip("a/2.mp3"),
    "",
    clip("c/1.mp3", "cid"),
    clip("d/1.mp3", "dot"),
    clip("d/2.mp3", "dot", language="de"),
    clip("b/2.mp3", "ben"),
    clip("a/3.mp3", text=" "),
    clip("a/1.mp3", "eve", id="again"),
    clip("a/1.mp3", "eve", id="once more"),
  )
  return tmp_path / "clips.jsonl"


def test_the_manifest_of_a_corpus_is_a_benchmark(corpus, caplog):
  items = read("manifest", corpus, cloning="one-shot")
  folder = corpus.parent
  found = [
    (i.key, i.truth.relative_to(folder), i.prompt_audio.relative_to(folder))
    for i in items
  ]
  assert [tuple(map(str, one)) for one in found] == [
    ("a_1", "a/1.mp3", "a/2.mp3"),
    ("one", "b/1.mp3", "b/2.mp3"),
    ("a_2", "a/2.mp3", "a/1.mp3"),
    ("b_2", "b/2.mp3", "b/1.mp3"),
  ]
  assert items[0].text == "It is a/1.mp3."
  assert items[0].prompt_text == "It is a/2.mp3."
  assert {(i.language, i.subset) for i in items} == {("en", "en")}
  mute, alone = caplog.messages
  assert "1 clip(s) left out, which have no text: a_3" in mute
  assert "5 clip(s) left out" in alone
  assert "prompt: cid, dot, dot, eve, eve" in alone


@pytest.mark.parametrize(
  ("line", "fault"),
  [
    ('{"key": "a"}', "field 'path' is missing"),
    (clip("a/1.mp3", speaker=3), "field 'speaker' is not a text"),
    (clip("a/1.mp3", text=None), "field 'text' is not a text"),
    (clip("a/1.mp3", id=7), "field 'id' is not a text"),
    (clip("a/1.mp3", language="xx"), "language 'xx' is unknown"),
    (clip("/"), "'/' cannot name a file; give the clip an id"),
    (clip("a_1.mp3"), "the key 'a_1' twice"),
  ],
)
def test_a_malformed_line_of_a_corpus_is_named(corpus, line, fault):
  touch(corpus.parent / "a_1.mp3")
  write(corpus, clip("a/1.mp3"), clip("a/2.mp3"), line)
  with pytest.raises(UserError, match=rf"clips.jsonl, line 3: .*{fault}"):
    read("manifest", corpus)


def test_a_corpus_without_pairs_has_no_item(corpus):
  write(corpus, clip("a/1.mp3"), clip("b/1.mp3", "ben"))
  with pytest.raises(UserError, match="has no item"):
    read("manifest", corpus)


def test_an_unknown_benchmark_is_refused(tmp_path):
  with pytest.raises(UserError, match="'librispeech' is unknown: choose"):
    read("librispeech", tmp_path)


# ------------------------------------------------------- said twice, or halfway


@pytest.mark.parametrize(
  ("more", "fault"),
  [
    ("clip_czech_male.mp3|Again.", "has a transcript already"),
    ("clip_other.mp3|One.|Two.", "a second |"),
  ],
)
def test_a_prompt_has_one_transcript(minimax, more, fault):
  path = minimax / "speaker" / "prompt_text.txt"
  number = len(path.read_text().splitlines()) + 1
  path.write_text(path.read_text() + more + "\n")
  with pytest.raises(UserError, match=re.escape(f"line {number}: ")) as error:
    read("minimax24", minimax, "cs")
  assert fault in str(error.value)


def test_a_field_and_a_key_are_there_once(tmp_path):
  touch(tmp_path / "a.wav")
  path = tmp_path / "list.jsonl"
  fields = '"text": "One.", "language": "en", "prompt_audio": "a.wav"'
  write(path, f'{{"key": "a", "key": "b", {fields}}}')
  with pytest.raises(UserError, match="line 1: the field 'key' is there twice"):
    read("manifest", path)
  write(path, *(f'{{"key": "{key}", {fields}}}' for key in "aA"))
  with pytest.raises(UserError, match="line 2: .* upper and lower case"):
    read("manifest", path)
