"""Text model: any text survives, and no text is a control symbol."""

import pickle
import random
import unicodedata

import pytest

from data_pipelines.words import WORDS
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.text import tokenizer

RANGES = (
  (0x00, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x5FF),
  (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF),
  (0x2000, 0x206F), (0x2580, 0x259F), (0x3040, 0x30FF), (0x4E00, 0x9FFF),
  (0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xFE00, 0xFFFD),
  (0x1F300, 0x1FAFF), (0x10FFF0, 0x10FFFF),
)  # fmt: skip
AWKWARD = (
  "", " ", "   ", "\t", "\n", "\r\n", "\0", "\x1b[0m", "\ufeff", "\ufffd",
  "\u2581", " \u2581 \u2581\u2581", "\u2585", "\u2047", "<en>", "<speaker>",
  "<start> <unk> <s>", "<0x41>", " two  spaces ", "\u00a0\u3000",
  "👩‍👩‍👧‍👦🏳️‍🌈", "e\u0301", "A\u030a", "ﬁ", "①", "﷽", "\U0010ffff", "क्षि",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> tokenizer.TextModel:
  corpus = [
    " ".join(WORDS[code][first : first + 4])
    for code in WORDS
    for first in range(40)
  ]
  out = tmp_path_factory.mktemp("text") / "text.model"
  tokenizer.train_text_model(corpus, 600, out)
  return tokenizer.TextModel.load(out)


def random_text(rng: random.Random) -> str:
  pieces = []
  for _ in range(rng.randrange(12)):
    if rng.random() < 0.2:
      pieces.append(rng.choice(AWKWARD))
    else:
      first, last = rng.choice(RANGES)
      pieces.append(chr(rng.randint(first, last)))
  return unicodedata.normalize("NFC", "".join(pieces))


def test_unknown_characters_are_those_that_are_spelt_in_bytes(model):
  words = " ".join(WORDS["en"][:40])
  assert model.unknown(words + " \n\u2028") == []
  assert model.unknown(f"{words} ☃ \u2581 ☃ e\u0336") == [
    "☃",
    "\u2581",
    "\u0336",
  ]


@pytest.mark.parametrize("change", [str.upper, str.lower, str.title])
def test_a_vocabulary_tells_whether_it_was_learnt_in_capitals(change, tmp_path):
  texts = [change(" ".join(WORDS["en"][i : i + 4])) for i in range(40)]
  model = tokenizer.train_text_model(texts, 400, tmp_path / "text.model")
  assert model.is_in_capitals == (change is str.upper)


def test_any_unicode_comes_back(model):
  rng = random.Random(0)
  samples = [random_text(rng) for _ in range(3000)]
  for sample in (*samples, *AWKWARD):
    ids = model.encode(sample, "en")
    assert model.decode(ids) == unicodedata.normalize("NFC", sample)
    assert all(0 <= index < model.size for index in ids)


def test_text_is_never_a_control_symbol(model):
  controls = {model.speaker_id, model.start_id}
  controls |= {model.language_id(code) for code in languages.BY_CODE}
  assert len(controls) == 34
  for symbol in tokenizer.CONTROLS:
    assert not controls & set(model.pieces(f"say {symbol} now"))


def test_encode_is_tag_and_pieces(model):
  for code in languages.BY_CODE:
    expected = [model.language_id(code), *model.pieces("hello")]
    assert model.encode("hello", code) == expected
  assert model.encode("olá", "pt-BR") == model.encode("olá", "pt")
  with pytest.raises(UserError, match="'tlh' is unknown"):
    model.encode("nuqneH", "tlh")


def test_equal_texts_have_equal_ids(model):
  assert model.pieces("Vie\u0323\u0302t") == model.pieces("Việt")


def test_any_ids_decode(model):
  rng = random.Random(1)
  for _ in range(500):
    ids = [rng.randrange(model.size) for _ in range(rng.randrange(20))]
    assert isinstance(model.decode(ids), str)
  assert model.decode([0, model.speaker_id, model.start_id]) == ""


def test_half_a_surrogate_pair_is_refused(model):
  with pytest.raises(UserError, match="surrogate"):
    model.pieces("a\ud800")


def test_known_words_are_short(model):
  assert len(model.pieces("house water")) < len("house water")


def test_it_pickles(model):
  twin = pickle.loads(pickle.dumps(model))
  assert twin.encode("water", "en") == model.encode("water", "en")


def test_a_size_the_data_cannot_fill_is_lowered(tmp_path, caplog):
  model = tokenizer.train_text_model(["ab ab"], 5000, tmp_path / "text.model")
  assert tokenizer.SMALLEST_VOCABULARY - 4 < model.size < 5000
  assert "fills only" in caplog.text
  assert model.decode(model.pieces("zebra ab")) == "zebra ab"


def test_the_smallest_size_is_a_model(tmp_path):
  size = tokenizer.SMALLEST_VOCABULARY
  words = [" ".join(WORDS["es"]), " ".join(WORDS["zh"])]
  model = tokenizer.train_text_model(words, size, tmp_path / "text.model")
  assert model.size <= size
  assert [model.decode(model.pieces(line)) for line in words] == words


def test_more_characters_than_room_fall_back_to_bytes(tmp_path):
  lines = [chr(0x4E00 + index) * 2 for index in range(2000)]
  model = tokenizer.train_text_model(lines, 400, tmp_path / "text.model")
  assert 390 < model.size <= 400
  assert model.decode(model.pieces(lines[-1])) == lines[-1]


@pytest.mark.parametrize("size", [0, 100, tokenizer.SMALLEST_VOCABULARY - 1])
def test_a_size_too_small_for_any_model_is_refused(tmp_path, size):
  with pytest.raises(UserError, match="too small"):
    tokenizer.train_text_model(["hello"], size, tmp_path / "text.model")
  assert not list(tmp_path.iterdir())


def test_no_text_is_refused(tmp_path):
  with pytest.raises(UserError, match="no text"):
    tokenizer.train_text_model(
      ["", "  ", "\u2581\0"], 512, tmp_path / "text.model"
    )


def test_what_is_not_a_model_is_refused(tmp_path):
  with pytest.raises(UserError, match="there is no text model"):
    tokenizer.TextModel.load(tmp_path / "none.model")
  (tmp_path / "bad.model").write_bytes(b"not a model")
  with pytest.raises(UserError, match="not a sentencepiece model"):
    tokenizer.TextModel.load(tmp_path / "bad.model")


def test_training_is_deterministic():
  lines = [" ".join(WORDS["de"][i : i + 3]) for i in range(40)]
  assert tokenizer.train_model(lines, 400) == tokenizer.train_model(lines, 400)


def test_the_control_symbols_precede_what_is_learnt(model):
  ids = [model.speaker_id, model.start_id, model.language_id("sv")]
  assert max(ids) <= len(tokenizer.CONTROLS)
