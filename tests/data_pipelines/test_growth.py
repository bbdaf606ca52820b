"""Growth of a text model: old ids stay, new texts get pieces of their own."""

import numpy as np
import pytest

from data_pipelines.adapters.prepare import grow_embedding
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.text.tokenizer import TextModel, grow_model
from tests import tiny, user_languages

POLISH = ("Żółta łódź płynie przez jezioro.", "Łódź jest żółta.") * 20


def test_no_id_moves_and_new_texts_get_shorter():
  before = tiny.text_model()
  data, added = grow_model(before, POLISH, 40)
  old, new = TextModel(before), TextModel(data)
  assert 0 < len(added) <= 40
  assert new.size == old.size + len(added)
  assert (new.speaker_id, new.start_id) == (old.speaker_id, old.start_id)
  assert new.language_id("pl") == old.language_id("pl")
  for i in range(old.size):
    assert old._processor.id_to_piece(i) == new._processor.id_to_piece(i)
  for text in tiny.SENTENCES:
    assert new.decode(new.pieces(text)) == text
    assert old.decode(old.pieces(text)) == text
  for text in POLISH:
    assert new.decode(new.pieces(text)) == text
    assert len(new.pieces(text)) < len(old.pieces(text))
  assert "ł" in old.unknown("łódź") and not new.unknown("łódź")


def test_a_new_embedding_is_the_mean_of_what_spelt_it(random):
  model = TextModel(tiny.text_model())
  table = random.normal(size=(model.size + 10, 4)).astype(np.float32)
  grown = grow_embedding(table, model, ["ł", "ó"])
  np.testing.assert_array_equal(grown[: model.size], table[: model.size])
  np.testing.assert_array_equal(grown[model.size + 2 :], table[model.size :])
  ids = model.pieces("ł")
  np.testing.assert_allclose(
    grown[model.size], table[ids].mean(axis=0), rtol=1e-5
  )


def test_a_language_without_a_tag_gets_one_behind_all_ids(random):
  with user_languages.kept():
    languages.add([languages._language("zu", "Zulu")])
    before = TextModel(tiny.text_model())
    with pytest.raises(UserError, match="do not know Zulu"):
      before.language_id("zu")
    texts = ("Habari ya asubuhi.", "Asante sana.") * 20
    data, added = grow_model(tiny.text_model(), texts, 10, ["en", "zu"])
    grown = TextModel(data)
    assert added[0] == "<zu>" and "<en>" not in added
    assert grown.language_id("zu") == before.size
    assert grown.language_id("en") == before.language_id("en")
    assert grown.decode([before.size, *grown.pieces("Asante")]) == "Asante"
    assert grown.pieces("<zu>") != [before.size]  # text is never a tag
    table = random.normal(size=(before.size + 10, 4)).astype(np.float32)
    new = grow_embedding(table, before, added)
    tags = [before.language_id(row.code) for row in languages.LANGUAGES]
    np.testing.assert_allclose(
      new[before.size], table[tags].mean(axis=0), rtol=1e-4, atol=1e-6
    )
