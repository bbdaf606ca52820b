"""Extraction of a teacher's states for distillation into the audio tokenizer.

Once for a corpus, before any training: the same command again does nothing.
"""

import logging
import sys
from collections.abc import Iterator

import numpy as np
import tqdm

from s02jax.data import teacher_states
from s02jax.data.records import SPLITS, Corpus
from s02jax.pretrained.whisper import teacher
from s02jax.pretrained.whisper.teacher import Teacher


def extract_teacher(corpus: str, spec: str) -> None:
  """Writes a teacher's states of all splits, unless these very ones are there.

  Args:
    corpus: folder of `s02 corpus`.
    spec: teacher, see `pretrained/whisper/teacher.py`.

  Raises:
    UserError: no such corpus, an unknown teacher, weights that are not there,
      a folder that cannot be written.
  """
  splits = {name: Corpus.open(corpus, name) for name in SPLITS}
  if teacher_states.has_states(corpus, spec):
    logging.info("%s already has the states of %s", corpus, spec)
    return
  loaded = teacher.load(spec)
  teacher_states.card_path(corpus).unlink(missing_ok=True)
  for split, records in splits.items():
    teacher_states.write_split(corpus, split, _states(records, loaded))
  teacher_states.write_card(corpus, loaded.spec, loaded.size)


def _states(records: Corpus, loaded: Teacher) -> Iterator[np.ndarray]:
  """States of each record of a split, behind a progress bar."""
  for i in tqdm.tqdm(
    range(len(records)),
    desc=records.split,
    unit="record",
    disable=not sys.stderr.isatty(),
  ):
    (states,) = loaded.states([records.wave(i)], records.rate)
    yield states
