"""Bin packing: items of many lengths into rows of one length."""

import numpy as np


def pack(
  lengths: np.ndarray, row_length: int, max_items: int
) -> list[list[int]]:
  """Packs items by best fit: each goes where the least room is left.

  The longest first fills rows best, but leaves rows of many short items at
  the end, which `max_items` may cut off half empty; in the order given, rows
  are alike. Of the two, the one with fewer rows is taken.

  Args:
    lengths: int[n], each in [1, row_length].
    row_length: length of a row.
    max_items: most items of a row.

  Returns:
    For each row the numbers of its items; every item is in one row.
  """
  longest_first = np.argsort(-lengths, kind="stable")
  rows = _best_fit(lengths, longest_first, row_length, max_items)
  least = max(
    -(-int(lengths.sum()) // row_length), -(-len(lengths) // max_items)
  )
  if len(rows) <= least:  # the other order cannot do better
    return rows
  others = _best_fit(lengths, np.arange(len(lengths)), row_length, max_items)
  return min(rows, others, key=len)


def _best_fit(
  lengths: np.ndarray, order: np.ndarray, row_length: int, max_items: int
) -> list[list[int]]:
  rows: list[list[int]] = []
  # Rows with room, by how much; bit c of `rooms` says that rows_by_room[c]
  # is not empty, so that the tightest fit is the lowest bit from `length` on.
  rows_by_room: list[list[int]] = [[] for _ in range(row_length + 1)]
  rooms = 0
  for item, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
    fitting = rooms >> length
    if fitting:
      room = length + (fitting & -fitting).bit_length() - 1
      row = rows_by_room[room].pop()
      if not rows_by_room[room]:
        rooms ^= 1 << room
    else:
      room, row = row_length, len(rows)
      rows.append([])
    rows[row].append(item)
    room -= length
    if room and len(rows[row]) < max_items:
      rows_by_room[room].append(row)
      rooms |= 1 << room
  return rows


def exactly(
  rows: list[list[int]], lengths: np.ndarray, count: int
) -> list[list[int]]:
  """Makes `count` rows: leaves out the emptiest, or splits the fullest.

  Args:
    rows: for each row the numbers of its items, as of `pack`.
    lengths: int[n], length of each item.
    count: rows to return.

  Raises:
    ValueError: fewer items than rows are asked for.
  """
  if len(rows) > count:
    used = np.array([lengths[row].sum() for row in rows])
    kept = np.sort(np.argsort(-used, kind="stable")[:count])
    return [rows[i] for i in kept]
  rows = sorted(rows, key=len, reverse=True)
  at = 0
  while len(rows) < count:
    if len(rows[at]) < 2:
      at += 1
      if at == len(rows):
        raise ValueError(f"{count} rows asked of too few items")
      continue
    half = len(rows[at]) // 2
    rows.append(rows[at][half:])
    rows[at] = rows[at][:half]
  return rows
