"""Inputs that people give by name: misspelt ones, values of another kind."""

import dataclasses
import difflib
import numbers
import typing
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from s02jax.core import places
from s02jax.core.errors import UserError

if TYPE_CHECKING:
  from _typeshed import DataclassInstance


def nearest(word: str, known: Iterable[str]) -> str | None:
  """Finds the known word that a misspelt one was meant to be; None if none."""
  by_small = {name.lower(): name for name in known}
  found = difflib.get_close_matches(word.lower(), by_small, n=1)
  return by_small[found[0]] if found else None


def hint(word: str, known: Iterable[str]) -> str:
  """Writes " (did you mean X?)", or nothing where no known word is near."""
  found = nearest(word, known)
  return "" if found is None else f" (did you mean {found}?)"


def check_on_disk(path: object, name: str) -> None:
  """Raises UserError for a URL, which would become a folder of that name here.

  Args:
    path: folder or file that somebody named.
    name: option or field that it is the value of.
  """
  if places.scheme(path):
    raise UserError(
      f"{name} is {path}, a URL, which is not written directly: give a folder "
      "on a disk, and copy it to the store when it is whole."
    )


def check_names(given: Iterable[str], known: Iterable[str], what: str) -> None:
  """Raises UserError for a given name that is not known.

  Args:
    given: names that somebody wrote.
    known: names that there are.
    what: kind of the names, such as "a setting of speech".
  """
  known = list(known)
  for name in given:
    if name not in known:
      raise UserError(
        f"{name!r} is not {what}{hint(name, known)}; there are"
        f" {', '.join(known)}."
      )


def check_numbers(record: "DataclassInstance") -> None:
  """Raises UserError for a field of a dataclass that is not of its kind.

  Args:
    record: dataclass whose fields are declared `int`, `float` or either of
      them `| None`; numbers of NumPy are numbers too.
  """
  hints = typing.get_type_hints(type(record))
  for field in dataclasses.fields(record):
    kinds = typing.get_args(hints[field.name]) or (hints[field.name],)
    value = getattr(record, field.name)
    if not (value is None and type(None) in kinds) and not _fits(value, kinds):
      want = "a whole number" if int in kinds else "a number"
      raise UserError(f"{field.name} is {value!r}; it must be {want}.")


def _fits(value: Any, kinds: tuple) -> bool:
  """Whether a value is a number of these kinds."""
  kind = numbers.Integral if int in kinds else numbers.Real
  return isinstance(value, kind) and not isinstance(value, bool)
