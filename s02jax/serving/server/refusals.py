"""Refusals: one sentence in JSON, with the status and codes of both APIs.

{"error": {"message", "type", "param", "code"},      as OpenAI's clients read
 "base_resp": {"status_code", "status_msg"}}         as MiniMax's clients do
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.responses import Response


class Kind(NamedTuple):
  """Kind of refusal, in the terms of HTTP and of both APIs."""

  status: int  # of HTTP
  type: str  # OpenAI's name
  code: int  # MiniMax's number


_INVALID = "invalid_request_error"
KINDS = {
  "invalid_request": Kind(400, _INVALID, 2013),
  "not_in_this_bundle": Kind(400, _INVALID, 2013),
  "unauthorized": Kind(401, "authentication_error", 1004),
  "foreign_page": Kind(403, "permission_error", 1004),
  "not_found": Kind(404, _INVALID, 2013),
  "voice_not_found": Kind(404, _INVALID, 2054),
  "not_allowed": Kind(405, _INVALID, 2013),
  "voice_exists": Kind(409, _INVALID, 2039),
  "too_large": Kind(413, _INVALID, 2013),
  "wrong_media_type": Kind(415, _INVALID, 2013),
  "busy": Kind(429, "rate_limit_error", 1002),
  "internal": Kind(500, "server_error", 1013),
  "closing": Kind(503, "server_error", 1000),
  "late": Kind(504, "timeout_error", 1001),
}


class Refusal(Exception):
  """Request that is not served; the message is one sentence."""

  def __init__(
    self,
    kind: str,
    message: str,
    *,
    param: str | None = None,
    retry_after: float | None = None,
  ):
    """Says why.

    Args:
      kind: one of KINDS.
      message: what, where, and the remedy.
      param: name of the field at fault.
      retry_after: seconds after which another try is worth it.
    """
    super().__init__(message)
    self.kind, self.param, self.retry_after = kind, param, retry_after

  @property
  def body(self) -> dict[str, Any]:
    """Description of the refusal for both kinds of clients."""
    kind, message = KINDS[self.kind], str(self)
    return {
      "error": {
        "message": message,
        "type": kind.type,
        "param": self.param,
        "code": self.kind,
      },
      "base_resp": {"status_code": kind.code, "status_msg": message},
    }

  def response(self) -> Response:
    """Response of HTTP."""
    headers = {}
    if self.retry_after is not None:
      headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
    if self.kind == "unauthorized":
      headers["WWW-Authenticate"] = "Bearer"
    return json_response(self.body, KINDS[self.kind].status, headers)


def absent(what: str) -> Refusal:
  """Refusal of what the models of this bundle have no part for."""
  return Refusal(
    "not_in_this_bundle",
    f"{what} is not in this bundle; leave it out, or serve a bundle that has"
    " it.",
  )


def json_response(
  values: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
  """Response of JSON in ASCII, so that it can hold any string at all."""
  text = json.dumps(values, allow_nan=False)
  return Response(text, status, headers, media_type="application/json")
