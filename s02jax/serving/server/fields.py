"""Fields of JSON bodies: tables that check and describe them."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from s02jax.core import inputs
from s02jax.core.errors import UserError
from s02jax.serving.server.refusals import Refusal
from s02jax.synthesis.request import DEFAULTS, Settings, setting_kinds

KINDS = {
  str: "a string",
  bool: "true or false",
  int: "a whole number",
  float: "a number",
  dict: "an object",
  list: "a list",
  object: "a string or an object",
}
_SCHEMA = {
  str: "string",
  bool: "boolean",
  int: "integer",
  float: "number",
  dict: "object",
  list: "array",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
  """Field of a JSON object."""

  kind: type  # one of KINDS; object: a string or an object
  about: str  # line for the description
  default: Any = None  # where the field is absent or null
  required: bool = False  # absent is an error
  choices: tuple = ()  # values; (): any
  fields: Mapping[str, "Field"] | None = None  # of an object, or of a list's


Table = Mapping[str, Field]


def settings_table() -> dict[str, Field]:
  """Fields of `Settings`, which `settings` reads."""
  defaults = dataclasses.asdict(DEFAULTS)
  return {
    name: Field(
      kind=kind,
      about="setting of the draws, by default "
      + ("what the model is made for" if value is None else f"{value}"),
    )
    for name, kind in setting_kinds().items()
    for value in [defaults[name]]
  }


def settings(values: Mapping[str, Any]) -> Settings:
  """Settings of the draws among the fields of a body; raises UserError."""
  names = [n for n in settings_table() if values.get(n) is not None]
  made = Settings.of({name: values[name] for name in names})
  made.check()
  return made


def parse(data: bytes) -> Any:
  """JSON of a body.

  Raises:
    Refusal: it is none, is nested too deeply, or holds NaN.
  """

  def no_constant(name: str):
    raise ValueError(f"{name} is no JSON")

  try:
    return json.loads(data, parse_constant=no_constant)
  except (ValueError, RecursionError) as error:
    raise Refusal(
      "invalid_request",
      f"the body is not JSON that can be read ({str(error)[:80]}); send an"
      " object in UTF-8.",
    ) from error


def check(body: Any, table: Table, where: str = "") -> dict[str, Any]:
  """Checks a JSON object; returns its fields with defaults for absent ones.

  Args:
    body: parsed JSON.
    table: fields that it may have.
    where: name of the object inside of the body, with a dot; "" is the body.

  Raises:
    Refusal: no object, or a field that is unknown, missing or of another kind.
  """
  if not isinstance(body, dict):
    raise _wrong(where.rstrip(".") or "the body", "an object")
  try:
    inputs.check_names([k for k in body if k not in table], table, "a field")
  except UserError as error:
    raise Refusal("invalid_request", str(error)) from error
  return {
    name: _value(body.get(name), field, where + name)
    for name, field in table.items()
  }


def _value(value: Any, field: Field, name: str) -> Any:
  """Checked value of one field."""
  if value is None:
    if field.required:
      raise Refusal(
        "invalid_request",
        f"the field {name} is missing: {field.about}.",
        param=name,
      )
    return field.default
  value = _of_kind(value, field.kind, name)
  if field.choices and value not in field.choices:
    known = [str(choice) for choice in field.choices]
    raise Refusal(
      "invalid_request",
      f"{name} is {str(value)[:40]!r}{inputs.hint(str(value)[:40], known)}; it"
      f" must be one of {', '.join(known)}.",
      param=name,
    )
  if field.fields is not None and isinstance(value, dict):
    return check(value, field.fields, f"{name}.")
  if field.fields is not None:
    return [
      check(one, field.fields, f"{name}[{i}].") for i, one in enumerate(value)
    ]
  return value


def _of_kind(value: Any, kind: type, name: str) -> Any:
  """Value as `kind`; whole numbers may be written as 2.0."""
  number = isinstance(value, int | float) and not isinstance(value, bool)
  if kind is float and number and _is_finite(value):
    return float(value)
  if kind is int and number and _is_finite(value) and value == int(value):
    return int(value)
  if kind is object and isinstance(value, str | dict):
    return value
  if kind not in (int, float, object) and isinstance(value, kind):
    return value
  raise _wrong(name, KINDS[kind])


def _is_finite(value: int | float) -> bool:
  """Whether a number fits a float."""
  try:
    return math.isfinite(value)
  except OverflowError:
    return False


def _wrong(name: str, want: str) -> Refusal:
  """Refusal of a value of another kind."""
  return Refusal("invalid_request", f"{name} must be {want}.", param=name)


# --------------------------------------------------------------- description


def schema(table: Table) -> dict[str, Any]:
  """JSON Schema of an object with the fields of a table."""
  out: dict[str, Any] = {
    "type": "object",
    "properties": {name: _schema(field) for name, field in table.items()},
    "additionalProperties": False,
  }
  required = [name for name, field in table.items() if field.required]
  return out | ({"required": required} if required else {})


def _schema(field: Field) -> dict[str, Any]:
  """JSON Schema of one field."""
  kind = _SCHEMA.get(field.kind, ["string", "object"])
  out: dict[str, Any] = {"type": kind, "description": field.about}
  if field.default is not None:
    out["default"] = field.default
  if field.choices:
    out["enum"] = list(field.choices)
  if field.fields is not None:
    inner = schema(field.fields)
    out |= inner if field.kind is dict else {"items": inner}
  return out
