"""Sequences of the AR model: order of the ids, and the cursor in the text."""

import numpy as np
import pytest

from s02jax.text import sequence


class Letters:
  """Text model in which every letter is an id."""

  size, speaker_id, start_id = 20, 1, 2

  def language_id(self, code):
    return {"en": 3, "de": 4}[code]

  def pieces(self, text):
    return [" abcdefgh".index(letter) + 5 for letter in text]


TEXT = Letters()


RATES = {"en": 0.5, "de": 0.25}


def made(words, audio, languages=("en", "en", "en")):
  """Sequence of words in `languages`, the last one without audio or with."""
  return sequence.sequence(TEXT, parts(words, audio, languages))


def parts(words, audio, languages=("en", "en", "en")):
  return [
    sequence.Part(
      language=language,
      pieces=TEXT.pieces(word),
      rate=RATES[language],
      codes=np.array(audio[i] if i < len(audio) else [], np.int32),
    )
    for i, (word, language) in enumerate(zip(words, languages, strict=False))
  ]


def test_zero_shot_prompt_and_row():
  ids, cursor = made(["ab"], [], ["de"])
  assert ids.tolist() == [1, 4, 6, 7, 2]
  assert cursor.tolist() == [0, 1, 2, 3, 2]
  ids, cursor = made(["ab"], [[3, 0, 9]], ["de"])
  assert ids.tolist() == [1, 4, 6, 7, 2, 23, 20, 29]
  assert cursor.tolist() == [0, 1, 2, 3, 2, 2.25, 2.5, 2.75]
  assert ids.dtype == np.int32 and cursor.dtype == np.float32


def test_every_text_has_its_tag_and_its_audio_the_pace_of_its_language():
  ids, cursor = made(["abc", "de"], [[1, 2, 0], [5, 6]], ["en", "de"])
  text = [1, 3, 6, 7, 8, 4, 9, 10, 2]
  assert ids.tolist() == [*text, 21, 22, 20, 25, 26]
  # The target's text begins at 6, where the prompt's last token stands.
  audio = [2.5, 3, 6, 6.25, 6.5]
  assert cursor.tolist() == [*range(8), 2, *audio]


@pytest.mark.parametrize("words", [["abc"], ["abc", "de"], ["a", "b", "cd"]])
def test_a_prompt_is_the_beginning_of_its_row(words):
  audio = [range(3 + i) for i in range(len(words))]
  row, row_cursor = made(words, audio)
  ids, cursor = made(words, audio[:-1])
  assert row[: len(ids)].tolist() == ids.tolist()
  assert row_cursor[: len(ids)].tolist() == cursor.tolist()
  np.testing.assert_allclose(np.diff(row_cursor[len(ids) - 1 :]), 0.5)


def test_a_prompts_tokens_do_not_tell_how_many_follow():
  _, short = made(["abc", "de"], [[4] * 5, [1]])
  _, long = made(["abc", "de"], [[4] * 9, [1]])
  assert short[:13].tolist() == long[:13].tolist()


def test_a_target_sees_its_text_as_without_a_prompt():
  _, alone = made(["de"], [[1, 2, 3]])
  _, after = made(["abc", "de"], [[4] * 7, [1, 2, 3]])
  np.testing.assert_allclose(after[-4:] - alone[-4:], after[6] - alone[2])


def test_nothing_said_before_is_no_error():
  _, cursor = made(["", "a"], [[]])
  assert np.isfinite(cursor).all()
