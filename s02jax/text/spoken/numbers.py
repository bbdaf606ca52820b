"""Reader of numbers: digits in ASCII become words, by a reading's name.

A reading is a rule set of CLDR ("ordinal-masculine" is "spellout-ordinal-
masculine") or an entry of the table's section [readings].
"""

import re
from collections.abc import Callable

from s02jax.text import spellout
from s02jax.text.normalize.numbers import is_year
from s02jax.text.spoken.table import Table, form

LONGEST = 15  # digits of a number; longer ones are read digit by digit
YEAR = 4  # digits of a year


class Numbers:
  """Reader of the numbers of one language."""

  def __init__(self, table: Table):
    """Reads by `table`."""
    self._table, self._code = table, table.code
    first, last = table.numbers.get("years", (0, -1))
    self._years = range(first, last + 1)
    self._own: dict[str, Callable[[str], str]] = {
      "digits": self._digits,
      "pairs": self._pairs,
      "year": self._year,
      "bare": self._bare,
    }

  def parse(self, written: str) -> str:
    """Number in ASCII, such as "1234.50", of one as the language writes it."""
    whole, mark, decimals = written.rpartition(self._table.number.mark)
    if not mark or not decimals.isdecimal():
      whole, decimals = written, ""
    if self._grouped(written):
      whole, decimals = written, ""
    whole = re.sub(r"\D", "", whole)
    return f"{whole}.{decimals}" if decimals else whole

  def _grouped(self, written: str) -> bool:
    """Whether the mark before the last digits parts thousands."""
    return self._table.number.mark in self._table.groups and bool(
      re.fullmatch(r"\d{1,3}(?:\D\d{3})+", written)
    )

  def read(self, number: str, reading: str = "number") -> str:
    """Words of a number.

    Args:
      number: in ASCII, such as "0012" or "1234.50".
      reading: name of the reading; decimals are read in one way only.

    Raises:
      ValueError: the language has no such reading.
    """
    whole, _, decimals = number.partition(".")
    if decimals:
      return self._decimal(whole, decimals)
    return self._whole(whole, reading)

  def _whole(self, digits: str, reading: str) -> str:
    """Words of a whole number."""
    described = self._table.readings.get(reading)
    if isinstance(described, str):
      return self._whole(digits, described)
    if described is not None:
      exact = described.get("exact", {})
      if digits in exact:
        return exact[digits]
      words = self._whole(digits, described.get("rules", "plain"))
      for pattern, new in described.get("replace", ()):
        words = re.sub(pattern, new, words)
      return words
    if reading in self._own:
      return self._own[reading](digits)
    if len(digits) > LONGEST:
      return self._digits(digits)
    if reading in ("number", "plain"):
      return spellout.cardinal(int(digits), self._code)
    return spellout.by_rules(int(digits), self._code, f"spellout-{reading}")

  def _bare(self, digits: str) -> str:
    """Words of digits without a mark: a year, a number or digits one by one."""
    if digits[0] == "0":
      return self._digits(digits)
    if len(digits) == YEAR and int(digits) in self._years:
      return self._whole(digits, "year")
    return self._whole(digits, "number")

  def _year(self, digits: str) -> str:
    """Words of a year."""
    if self._table.number.year and is_year(int(digits), self._code):
      return spellout.cardinal(int(digits), self._code, year=True)
    return self._whole(digits, "number")

  def _digits(self, digits: str) -> str:
    """Words of digits, one by one."""
    reading = "digit" if "digit" in self._table.readings else "plain"
    gap = "" if self._table.numbers.get("joined") else " "
    return gap.join(self._whole(digit, reading) for digit in digits)

  def _pairs(self, digits: str) -> str:
    """Words of digits, two by two, and an odd one first."""
    start = len(digits) % 2
    parts = [digits[:start]] * start
    parts += [digits[i : i + 2] for i in range(start, len(digits), 2)]
    return " ".join(
      self._digits(part) if part[0] == "0" else self._whole(part, "number")
      for part in parts
    )

  def _decimal(self, whole: str, decimals: str) -> str:
    """Words of a number with decimals, by the table's [numbers] decimals."""
    kind = self._table.numbers.get("decimals", "digits")
    gap = "" if self._table.numbers.get("joined") else " "
    if kind == "parts":
      return self._parts(whole, decimals)
    if kind == "number" and len(decimals) <= 3 and decimals[0] != "0":
      after = self._whole(decimals, "number")
    elif kind == "number" and len(decimals) <= 3 and int(decimals):
      zeros = len(decimals) - len(decimals.lstrip("0"))
      after = " ".join(
        (self._digits("0" * zeros), self._whole(decimals[zeros:], "number"))
      )
    else:
      after = self._digits(decimals)
    point = self._table.numbers.get("point", self._table.number.point)
    return gap.join((self._whole(whole, "number"), point, after))

  def _parts(self, whole: str, decimals: str) -> str:
    """Words of decimals as tenths: "three whole, five tenths" in Russian."""
    names = self._table.numbers["parts"]
    key = str(len(decimals))
    if key not in names:
      point = self._table.numbers.get("point", self._table.number.point)
      return " ".join(
        (self._whole(whole, "number"), point, self._digits(decimals))
      )
    reading = self._table.numbers.get("parts_reading", "cardinal-feminine")

    def counted(digits: str, forms: dict[str, str]) -> str:
      zero = "zero" in forms and not digits.strip("0")
      category = "zero" if zero else self._table.plural(digits)
      return f"{self._whole(digits, reading)} {form(forms, category)}".strip()

    return f"{counted(whole, names['whole'])} {counted(decimals, names[key])}"
