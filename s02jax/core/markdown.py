"""Markdown tables."""

from collections.abc import Iterable, Sequence


def table(
  head: Sequence[str], rows: Iterable[Sequence[str]], align: str = ""
) -> str:
  """Markdown table that ends with a line break.

  Args:
    head: names of the columns.
    rows: cells, as many as columns; white space is folded, bars are escaped.
    align: "l" or "r" for each column; left where it is shorter than `head`.
  """
  marks = {"l": "---", "r": "---:"}
  rule = [marks[a] for a in align.ljust(len(head), "l")]
  lines = [_cells(head), rule, *map(_cells, rows)]
  return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(cells: Sequence[str]) -> list[str]:
  """Cells on one line each, with escaped bars."""
  return [" ".join(cell.split()).replace("|", "\\|") for cell in cells]
