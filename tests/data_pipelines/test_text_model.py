"""Text model of a corpus: what it counts, and what it does not replace."""

import pytest

from data_pipelines import text_model
from s02jax.cli.corpora import text
from s02jax.core.errors import UserError
from s02jax.data import records
from s02jax.text import tokenizer
from tests.corpora import every_split, write_noise


def test_text_model_of_a_corpus(tmp_path):
  write_noise(tmp_path / "c")
  folder = str(tmp_path / "c")
  with pytest.raises(UserError, match="s02 text --corpus"):
    _ = records.Corpus.open(folder, "train").text_tokens
  text.main(["--corpus", folder, "--vocab_size", "330"])
  text.main(["--corpus", folder, "--vocab_size", "330"])
  model = tokenizer.TextModel.load(tmp_path / "c" / "text.model")
  for corpus in every_split(tmp_path / "c").values():
    for index in range(len(corpus)):
      record = corpus.record(index)
      ids = model.encode(record.text, record.language)
      assert corpus.text_tokens[index] == len(ids)
      assert model.decode(ids) == record.text
  with pytest.raises(UserError, match="--overwrite"):
    text.main(["--corpus", folder, "--vocab_size", "320"])
  text.main(["--corpus", folder, "--vocab_size", "320", "--overwrite"])


def test_a_large_corpus_is_read_in_part_and_counted_whole(
  tmp_path, monkeypatch
):
  write_noise(tmp_path / "c")
  seen = []
  train = text_model.train_model

  def watched(texts, vocab_size):
    seen.extend(texts)
    return train(seen, vocab_size)

  monkeypatch.setattr(text_model, "train_model", watched)
  monkeypatch.setattr(text_model, "SAMPLE", 3)
  folder = str(tmp_path / "c")
  text.main(["--corpus", folder, "--vocab_size", "330"])
  corpus = every_split(tmp_path / "c")["train"]
  assert len(seen) == 3 < len(corpus)
  assert set(seen) <= {corpus.text(i) for i in range(len(corpus))}
  assert len(corpus.text_tokens) == len(corpus)
