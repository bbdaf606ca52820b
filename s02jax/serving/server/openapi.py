"""Description of the server's paths in OpenAPI's terms."""

import functools
from typing import Any

from s02jax.core.version import VERSION
from s02jax.serving.server import (
  fields,
  minimax_api,
  socket_api,
  speech_api,
  voices_api,
)

_BINARY = {"type": "string", "format": "binary"}
_FILE = {"type": "object", "properties": {"file": _BINARY}}
_TEXT = {"type": "string"}
_JSON = "application/json"
_FORM = "multipart/form-data"
_EVENTS = "text/event-stream"


def _operation(
  summary: str,
  takes: dict[str, Any] | None = None,
  gives: dict[str, Any] | None = None,
) -> dict[str, Any]:
  """Describes one operation.

  Args:
    summary: what it does.
    takes: media type -> schema of the body; None: no body.
    gives: media type -> schema of the answer; None: a JSON object.
  """

  def content(kinds: dict[str, Any]) -> dict[str, Any]:
    return {kind: {"schema": schema} for kind, schema in kinds.items()}

  gives = gives or {_JSON: {"type": "object"}}
  out: dict[str, Any] = {
    "summary": summary,
    "responses": {
      "200": {"description": "done", "content": content(gives)},
      "default": {
        "description": "refused, in one sentence",
        "content": content({_JSON: {"type": "object"}}),
      },
    },
  }
  if takes is not None:
    out["requestBody"] = {"required": True, "content": content(takes)}
  return out


def _clone_form() -> dict[str, Any]:
  """Schema of the form of /v1/voice_clone."""
  form = fields.schema(voices_api.CLONE)
  return form | {"properties": form["properties"] | {"file": _BINARY}}


def _speech() -> dict[str, Any]:
  """Paths that speak."""
  return {
    "/v1/audio/speech": {
      "post": _operation(
        "speak a text, as OpenAI's clients ask",
        {_JSON: fields.schema(speech_api.SPEECH)},
        {"audio/*": _BINARY, _EVENTS: _TEXT},
      )
    },
    "/v1/t2a_v2": {
      "post": _operation(
        "speak a text, as MiniMax's clients ask",
        {_JSON: fields.schema(minimax_api.T2A)},
        {_JSON: {"type": "object"}, _EVENTS: _TEXT},
      )
    },
    "/v1/audio/speech/ws": {
      "get": _operation(
        "WebSocket: text as it is written, sound as it is spoken; the first"
        " message is this object",
        {_JSON: fields.schema(socket_api.OPENING)},
      )
    },
  }


def _voices() -> dict[str, Any]:
  """Paths about voices."""
  name = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
  }
  return {
    "/v1/voices": {"get": _operation("list the kept voices")},
    "/v1/voices/{name}": {
      "delete": _operation("forget a voice") | {"parameters": [name]}
    },
    "/v1/voice_clone": {
      "post": _operation(
        "make a voice of a recording",
        {_FORM: _clone_form(), _JSON: fields.schema(voices_api.CLONE_JSON)},
      )
    },
    "/v1/voice_design": {
      "post": _operation(
        "make a voice by a description, or candidates to choose from",
        {_JSON: fields.schema(voices_api.DESIGN)},
      )
    },
    "/v1/files/upload": {
      "post": _operation("upload a recording to clone", {_FORM: _FILE})
    },
  }


def _rest() -> dict[str, Any]:
  """Paths about the server."""
  return {
    "/v1/models": {"get": _operation("describe the one model")},
    "/healthz": {"get": _operation("say that the process lives")},
    "/readyz": {"get": _operation("say whether programs are compiled")},
    "/metrics": {
      "get": _operation("give figures", None, {"text/plain": _TEXT})
    },
  }


@functools.cache
def document() -> dict[str, Any]:
  """Makes the whole description."""
  return {
    "openapi": "3.1.0",
    "info": {"title": "s02jax", "version": VERSION},
    "paths": _speech() | _voices() | _rest(),
    "components": {
      "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}
    },
    "security": [{}, {"key": []}],
  }
