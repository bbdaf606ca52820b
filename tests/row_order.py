"""A toy stage that tells which row stood where in every step."""

import numpy as np

from tests.toy_stage import ToyRows, ToyStage


class NumberedRows(ToyRows):
  """Rows that carry their index."""

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    return super().__getitem__(index) | {"row": np.float32(index)}


class NumberedStage(ToyStage):
  """Stage with a metric row_0, row_1, … for each row that devices got."""

  def rows(self, corpus, split, batch_size, seed):
    return NumberedRows(batch_size, seed, -1)

  def train_step(self, state, batch):
    state, metrics = super().train_step(state, batch)
    rows = {f"row_{j}": row for j, row in enumerate(batch["row"])}
    return state, metrics | rows
