"""Load of a server: users who come by chance, whether it keeps up or not.

Every user sends requests at random times, on average so many a minute, and
does not wait for answers (an open loop): a server that falls behind has longer
queues, not fewer requests. Some clients leave in the middle; some send what
makes no sense. At the end some requests are sent again with nobody beside
them, and the sounds compared.
"""

import dataclasses
import http.client
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from s02jax.core.errors import UserError

PATH = "/v1/audio/speech"
RATE = 24000  # Hz of the samples that are asked for
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PATIENCE = 600.0  # seconds until an answer is given up
TOLERANCE = 2e-3  # of samples, in parts of full scale: rounding of 16 bits
MALFORMED: tuple[dict[str, Any], ...] = (
  {"input": "?!"},
  {"voice": "nobody at all"},
  {"speed": 99},
  {"steps": -1},
  {"input": ["list"]},
  {"colour": "red"},
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
  """Plan of a run: the server, its users and their requests."""

  host: str
  port: int
  key: str | None = None  # of the API
  texts: Sequence[str]
  voices: Sequence[str]
  per_minute: float = 2.0  # requests of one user
  seconds: float = 60.0  # of arrivals, for each number of users
  most: int = 500  # requests for each number of users
  leaving: float = 0.0  # share of clients that leave at the first sound
  malformed: float = 0.0  # share of requests that make no sense
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  seed: int = 0


@dataclasses.dataclass(kw_only=True)
class Answer:
  """Outcome of a request that was sent to a server."""

  body: Any  # of JSON, or bytes
  kind: str  # "speech", "leaving" or "malformed"
  path: str = PATH
  media_type: str = "application/json"
  status: int = 0  # of HTTP; 0: no answer
  first: float = 0.0  # seconds until the first sound
  whole: float = 0.0  # seconds until the last
  sound: bytes = b""  # samples of 16 bits
  fault: str = ""  # what was wrong with the answer


def check_local(url: str) -> tuple[str, int]:
  """Host and port of a URL on this machine; raises UserError for another."""
  parts = urllib.parse.urlsplit(url)
  if parts.scheme != "http" or parts.hostname not in LOOPBACK:
    raise UserError(
      f"--url {url}: load is made on this machine alone; give"
      " http://127.0.0.1:PORT."
    )
  return parts.hostname or LOOPBACK[0], parts.port or 80


def ask(
  plan: Plan,
  method: str,
  path: str,
  body: Any = None,
  media_type: str = "application/json",
):
  """Sends a request; the connection and its response.

  Args:
    plan: of the server.
    method: of HTTP.
    path: of the server.
    body: of JSON, or bytes of the media type; None: no body.
    media_type: of the body.

  Raises:
    UserError: nobody listens.
  """
  connection = http.client.HTTPConnection(
    plan.host, plan.port, timeout=PATIENCE
  )
  headers = {"Content-Type": media_type}
  if plan.key:
    headers["Authorization"] = f"Bearer {plan.key}"
  data = body
  if not (body is None or isinstance(body, bytes)):
    data = json.dumps(body)
  try:
    connection.request(method, path, data, headers)
    return connection, connection.getresponse()
  except OSError as error:
    connection.close()
    raise UserError(
      f"nobody listens at {plan.host}:{plan.port} ({error}); start `s02 serve`."
    ) from error


def voices(plan: Plan) -> list[str]:
  """Names of the server's voices; raises UserError where it has none."""
  connection, response = ask(plan, "GET", "/v1/voices")
  try:
    found = json.loads(response.read())
  finally:
    connection.close()
  names = [voice["name"] for voice in found.get("voices", [])]
  if not names:
    raise UserError("the server has no voice; add one by `s02 voice add`.")
  return names


def memory(plan: Plan) -> float:
  """Bytes that the server's process holds, by its figures; 0 if unknown."""
  connection, response = ask(plan, "GET", "/metrics")
  try:
    text = response.read().decode()
  finally:
    connection.close()
  for line in text.splitlines():
    if line.startswith("process_resident_memory_bytes "):
      return float(line.split()[1])
  return 0.0


# ---------------------------------------------------------------------- users


def arrivals(plan: Plan, users: int) -> np.ndarray:
  """Times in seconds at which requests of so many users arrive, float [n]."""
  random = np.random.default_rng((plan.seed, users))
  rate = users * plan.per_minute / 60
  gaps = random.exponential(1 / rate, plan.most)
  times = np.cumsum(gaps)
  return times[times < plan.seconds]


def requests(plan: Plan, users: int, count: int) -> list[Answer]:
  """Requests that are to be answered."""
  random = np.random.default_rng((plan.seed, users, 1))
  made = []
  for number in range(count):
    body = {
      "input": plan.texts[int(random.integers(len(plan.texts)))],
      "voice": plan.voices[int(random.integers(len(plan.voices)))],
      "response_format": "pcm",
      "seed": number,
      **plan.settings,
    }
    chance = random.random()
    kind = "speech"
    if chance < plan.malformed:
      kind = "malformed"
      body |= MALFORMED[int(random.integers(len(MALFORMED)))]
    elif chance < plan.malformed + plan.leaving:
      kind = "leaving"
    made.append(Answer(body=body, kind=kind))
  return made


def send(plan: Plan, answer: Answer) -> None:
  """Sends one request and fills its answer in."""
  began = time.perf_counter()
  connection = None
  try:
    connection, response = ask(
      plan, "POST", answer.path, answer.body, answer.media_type
    )
    answer.status = response.status
    parts = []
    while part := response.read1(1 << 16):
      if not parts:
        answer.first = time.perf_counter() - began
      parts.append(part)
      if answer.kind == "leaving":
        break
    answer.whole = time.perf_counter() - began
    answer.sound = b"".join(parts)
  except (OSError, http.client.HTTPException, UserError) as error:
    answer.fault = f"{type(error).__name__}: {error}"
  finally:
    if connection is not None:
      connection.close()
  answer.fault = answer.fault or _fault(answer)


def _fault(answer: Answer) -> str:
  """Fault of an answer that came, "" for none."""
  if answer.status >= 500 and answer.status not in (503, 504):
    return f"status {answer.status}"
  if answer.kind == "malformed" and answer.status == 200:
    return "nonsense was spoken"
  if answer.status != 200:
    try:
      message = json.loads(answer.sound)["error"]["message"]
    except (ValueError, KeyError, TypeError):
      return "a refusal without its sentence"
    return "" if message.endswith(".") else f"no sentence: {message!r}"
  return ""


def load(plan: Plan, users: int) -> dict[str, Any]:
  """Sends the requests of so many users; figures, see `figures`."""
  times = arrivals(plan, users)
  answers = requests(plan, users, len(times))
  began = time.perf_counter()
  run(plan, times, answers)
  seconds = time.perf_counter() - began
  return figures(users, answers, seconds) | {
    "wrong": compare(plan, answers),
    "memory": memory(plan),
  }


def run(
  plan: Plan, times: Sequence[float] | np.ndarray, answers: Sequence[Answer]
) -> None:
  """Sends requests at their times in seconds, and waits for all answers."""
  began = time.perf_counter()
  threads = []
  for at, answer in zip(times, answers, strict=True):
    time.sleep(max(0.0, at - (time.perf_counter() - began)))
    thread = threading.Thread(target=send, args=(plan, answer), daemon=True)
    thread.start()
    threads.append(thread)
  for thread in threads:
    thread.join()


def compare(plan: Plan, answers: Sequence[Answer], most: int = 8) -> int:
  """Number of sounds that differ from the same request's alone."""
  spoken = [a for a in answers if a.kind == "speech" and a.status == 200]
  wrong = 0
  for answer in spoken[:: max(1, len(spoken) // most)][:most]:
    again = Answer(body=answer.body, kind="speech")
    send(plan, again)
    wrong += not same(answer.sound, again.sound)
  return wrong


def same(a: bytes, b: bytes) -> bool:
  """Whether two sounds of 16 bits are the same up to rounding."""
  x, y = (np.frombuffer(data, "<i2") / 32768 for data in (a, b))
  return len(x) == len(y) and bool(np.all(np.abs(x - y) <= TOLERANCE))


# -------------------------------------------------------------------- figures


def figures(
  users: int, answers: Sequence[Answer], seconds: float
) -> dict[str, Any]:
  """Figures of one number of users; latencies in seconds."""
  spoken = [a for a in answers if a.kind == "speech" and a.status == 200]

  def percentiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
      return {}
    found = np.percentile(values, (50, 95, 99))
    return {f"p{p}": float(x) for p, x in zip((50, 95, 99), found, strict=True)}

  sound = sum(len(a.sound) for a in spoken) / 2 / RATE
  return {
    "users": users,
    "requests": len(answers),
    "spoken": len(spoken),
    "refused": sum(a.status == 429 for a in answers),
    "late": sum(a.status == 504 for a in answers),
    "left": sum(a.kind == "leaving" for a in answers),
    "malformed": sum(a.kind == "malformed" for a in answers),
    "faults": sorted({a.fault for a in answers if a.fault}),
    "first_audio": percentiles([a.first for a in spoken]),
    "whole": percentiles([a.whole for a in spoken]),
    "seconds": seconds,
    "audio_per_second": sound / seconds,
  }


def measure(
  plan: Plan, users: Sequence[int], tell: Callable[[str], None]
) -> list[dict[str, Any]]:
  """Loads a server by each number of users in turn, and tells of it."""
  tell(
    f"{'users':>5} {'sent':>5} {'spoken':>6} {'refused':>7} {'first audio':>23}"
    f" {'whole':>23} {'audio/s':>8} {'wrong':>5} {'MB':>6}"
  )
  found = []
  for count in users:
    row = load(plan, count)
    found.append(row)
    tell(_line(row))
  return found


def _line(row: Mapping[str, Any]) -> str:
  """Line of the table."""

  def three(name: str) -> str:
    values = row[name].values()
    return " ".join(f"{value:7.2f}" for value in values) or "-"

  line = (
    f"{row['users']:5} {row['requests']:5} {row['spoken']:6}"
    f" {row['refused']:7} {three('first_audio'):>23} {three('whole'):>23}"
    f" {row['audio_per_second']:8.2f} {row['wrong']:5}"
    f" {row['memory'] / 1e6:6.0f}"
  )
  return "\n".join([line, *(f"  fault: {fault}" for fault in row["faults"])])
