"""Judge pocketsphinx: choice of a sentence, unknown words, silence."""

import numpy as np

from s02jax.pretrained import pocketsphinx
from tests.spoken import SENTENCES, spoken


def test_silence_is_no_text():
  assert pocketsphinx.choose(np.zeros(16000), SENTENCES) == -1


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
