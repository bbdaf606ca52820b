"""Description of the server's paths in OpenAPI's terms."""

import functools
from typing import Any

from s02jax.core.version import VERSION
from s02jax.serving.server import fields, minimax_api, speech_api, voices_api

_BINARY = {"type": "string", "format": "binary"}


@functools.cache
def document() -> dict[str, Any]:
  """Makes the whole description."""
  file = {"type": "object", "properties": {"file": _BINARY}}
  clone = fields.schema(voices_api.CLONE)
  clone["properties"] = clone["properties"] | {"file": _BINARY}
  paths = {
    "/v1/audio/speech": {
      "post": _operation(
        "speak a text, as OpenAI's clients ask",
        {"application/json": fields.schema(speech_api.SPEECH)},
        {"audio/*": _BINARY, "text/event-stream": {"type": "string"}},
      )
    },
    "/v1/t2a_v2": {
      "post": _operation(
        "speak a text, as MiniMax's clients ask",
        {"application/json": fields.schema(minimax_api.T2A)},
        {"application/json": {}, "text/event-stream": {"type": "string"}},
      )
    },
    "/v1/voices": {"get": _operation("list the kept voices")},
    "/v1/voices/{name}": {
      "delete": _operation("forget a voice")
      | {
        "parameters": [
          {
            "name": "name",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
          }
        ]
      }
    },
    "/v1/voice_clone": {
      "post": _operation(
        "make a voice of a recording",
        {
          "multipart/form-data": clone,
          "application/json": fields.schema(voices_api.CLONE_JSON),
        },
      )
    },
    "/v1/voice_design": {
      "post": _operation("make voices by a description; no bundle can yet")
    },
    "/v1/files/upload": {
      "post": _operation(
        "upload a recording for /v1/voice_clone", {"multipart/form-data": file}
      )
    },
    "/v1/models": {"get": _operation("list the one model")},
    "/healthz": {"get": _operation("say that the process lives")},
    "/readyz": {"get": _operation("say whether programs are compiled")},
    "/metrics": {
      "get": _operation(
        "give figures", None, {"text/plain": {"type": "string"}}
      )
    },
  }
  return {
    "openapi": "3.1.0",
    "info": {"title": "s02jax", "version": VERSION},
    "paths": paths,
    "components": {
      "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}
    },
    "security": [{}, {"key": []}],
  }


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

  gives = gives or {"application/json": {"type": "object"}}
  out: dict[str, Any] = {
    "summary": summary,
    "responses": {
      "200": {"description": "done", "content": content(gives)},
      "default": {
        "description": "refused, in one sentence",
        "content": content({"application/json": {"type": "object"}}),
      },
    },
  }
  if takes is not None:
    out["requestBody"] = {"required": True, "content": content(takes)}
  return out
