"""Bin packing: every item once, within the length, with little left over."""

from s02jax.data.packing import exactly, pack


def test_pack_keeps_every_item_once_and_fits(random):
  for _ in range(20):
    room, most = int(random.integers(20, 300)), int(random.integers(1, 9))
    lengths = random.integers(1, room + 1, int(random.integers(1, 200)))
    rows = pack(lengths, room, most)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert max(lengths[row].sum() for row in rows) <= room
    assert max(map(len, rows)) <= most
    for count in {1, max(len(rows) // 2, 1), len(rows), len(lengths)}:
      exact = exactly(rows, lengths, count)
      items = [i for row in exact for i in row]
      assert len(exact) == count and len(set(items)) == len(items)
      if count >= len(rows):
        assert len(items) == len(lengths)


def test_many_items_are_packed_tightly(random):
  lengths = random.integers(30, 400, 20_000)
  rows = pack(lengths, 2048, 16)
  assert lengths.sum() / (len(rows) * 2048) > 0.97
