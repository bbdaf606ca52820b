"""Configs: from plain values to frozen dataclasses, and back to JSON.

A config file holds plain nested values; a model or a stage holds a frozen
dataclass with a comment on every field. `build` is the one way from here to
there: a field that the dataclass does not declare is an error that names it.
`plain` gives the values that runs and bundles store as JSON.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ml_collections import ConfigDict

from s02jax.core import errors, inputs

if TYPE_CHECKING:
  from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def plain(config: ConfigDict) -> dict[str, Any]:
  """JSON values of a config: nested dicts, lists, numbers and strings."""
  return json.loads(config.to_json_best_effort())


def build(cls: type[T], mapping: Mapping[str, Any], where: str = "model") -> T:
  """Makes the dataclass `cls` from `mapping`.

  Args:
    cls: a dataclass; fields may be dataclasses themselves.
    mapping: a dict or ConfigDict of plain values.
    where: dotted name of the mapping, for messages.

  Returns:
    Instance of `cls`; lists have become tuples, and integers floats, where the
    fields are declared so.

  Raises:
    UserError: an unknown, missing or ill-typed field, by its dotted name, or
      values that the dataclass refuses.
  """
  fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
  for name in mapping:
    if name not in fields:
      raise errors.UserError(
        f"{where}.{name} is not a field of {cls.__name__}"
        f"{inputs.hint(name, fields)}; "
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
  """Error for values that a dataclass refused in its `__post_init__`."""
  zero = isinstance(error, ZeroDivisionError)
  why = "a divisor in it is 0" if zero else error
  return errors.UserError(f"config.{where.removeprefix('config.')}: {why}.")


def _required(field: dataclasses.Field) -> bool:
  """Whether a field has no default."""
  return (
    field.default is dataclasses.MISSING
    and field.default_factory is dataclasses.MISSING
  )


def _convert(value: Any, hint: Any, where: str) -> Any:
  """Converts `value` to the declared type; raises UserError if it cannot be."""
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
  """Converts `value` to the first type of a union that it fits."""
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
  """Converts a list or tuple, item by item."""
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
  """Converts a number, string or other plain value."""
  if hint is float and type(value) is int:
    return float(value)
  number = hint in (int, float) and isinstance(value, bool)
  if not isinstance(value, hint) or number:
    raise _mismatch(value, f"{hint.__name__}", where)
  return value


def _mismatch(value: Any, wanted: str, where: str) -> errors.UserError:
  """Error that names a field, its value and the type it should have."""
  if value is None:
    return errors.UserError(f"{where} has no value; it must be {wanted}.")
  return errors.UserError(f"{where} is {value!r}; it must be {wanted}.")
