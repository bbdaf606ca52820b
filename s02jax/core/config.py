"""From a mapping of plain values to frozen dataclasses, and nothing else.

A config file holds plain nested values; a model or a stage holds a frozen
dataclass with a comment on every field. `build` is the one bridge: whatever
the dataclass does not declare is an error that names the field.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from s02jax.core import errors

if TYPE_CHECKING:
  from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def build(cls: type[T], mapping: Mapping[str, Any], where: str = "model") -> T:
  """Makes the dataclass `cls` from `mapping`.

  Args:
    cls: a dataclass; fields may be dataclasses themselves.
    mapping: a dict or ConfigDict of plain values.
    where: dotted name of the mapping, for messages.

  Returns:
    An instance; lists have become tuples and integers floats where declared.

  Raises:
    UserError: an unknown, missing or ill-typed field, by its dotted name, or
      values that the dataclass refuses.
  """
  fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
  for name in mapping:
    if name not in fields:
      raise errors.UserError(
        f"{where}.{name} is not a field of {cls.__name__}; "
        f"the fields are {', '.join(sorted(fields))}."
      )
  hints = typing.get_type_hints(cls)
  values = {}
  for name, field in fields.items():
    if name in mapping:
      values[name] = _convert(mapping[name], hints[name], f"{where}.{name}")
    elif _required(field):
      raise errors.UserError(
        f"{where}.{name} is missing; {cls.__name__} needs it."
      )
  try:
    return cls(**values)
  except (ValueError, ZeroDivisionError) as error:
    raise _refused(error, where) from error


def _refused(error: Exception, where: str) -> errors.UserError:
  """The sentence for what a dataclass says of its values."""
  zero = isinstance(error, ZeroDivisionError)
  why = "a divisor in it is 0" if zero else error
  return errors.UserError(f"config.{where.removeprefix('config.')}: {why}.")


def _required(field: dataclasses.Field) -> bool:
  return (
    field.default is dataclasses.MISSING
    and field.default_factory is dataclasses.MISSING
  )


def _convert(value: Any, hint: Any, where: str) -> Any:
  """Returns `value` as the declared type, or raises UserError."""
  origin = typing.get_origin(hint)
  if hint is Any:
    return value
  if dataclasses.is_dataclass(hint):
    if isinstance(value, hint):
      return value
    if not hasattr(value, "items"):
      raise _mismatch(value, "a mapping", where)
    return build(hint, value, where)
  if origin in (typing.Union, types.UnionType):
    return _convert_union(value, typing.get_args(hint), where)
  if origin is typing.Literal:
    allowed = typing.get_args(hint)
    if value not in allowed:
      raise _mismatch(value, f"one of {', '.join(map(str, allowed))}", where)
    return value
  if origin is tuple:
    return _convert_tuple(value, typing.get_args(hint), where)
  if origin is dict or origin is Mapping:
    return dict(value)
  return _convert_scalar(value, hint, where)


def _convert_union(value: Any, options: tuple, where: str) -> Any:
  if value is None and type(None) in options:
    return None
  rest = [option for option in options if option is not type(None)]
  for option in rest[:-1]:
    try:
      return _convert(value, option, where)
    except errors.UserError:
      continue
  return _convert(value, rest[-1], where)


def _convert_tuple(value: Any, items: tuple, where: str) -> tuple:
  if not isinstance(value, (list, tuple)):
    raise _mismatch(value, "a sequence", where)
  if len(items) == 2 and items[1] is Ellipsis:
    items = (items[0],) * len(value)
  if len(items) != len(value):
    raise _mismatch(value, f"a sequence of {len(items)}", where)
  return tuple(
    _convert(v, item, f"{where}[{i}]")
    for i, (v, item) in enumerate(zip(value, items, strict=True))
  )


def _convert_scalar(value: Any, hint: type, where: str) -> Any:
  if hint is float and type(value) is int:
    return float(value)
  number = hint in (int, float) and isinstance(value, bool)
  if not isinstance(value, hint) or number:
    raise _mismatch(value, f"{hint.__name__}", where)
  return value


def _mismatch(value: Any, wanted: str, where: str) -> errors.UserError:
  if value is None:
    return errors.UserError(f"{where} has no value; it must be {wanted}.")
  return errors.UserError(f"{where} is {value!r}; it must be {wanted}.")
