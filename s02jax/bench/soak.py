"""Endurance of a server: minutes of good and bad clients, every sound compared.

A few requests are spoken alone first: so programs are compiled, and what each
must sound like is known. Then users send them again by chance, beside clients
that leave, bodies that make no sense and hostile uploads, and every sound must
be the one that was heard alone.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from s02jax.bench import serving
from s02jax.bench.serving import Answer, Plan
from s02jax.core.errors import UserError

CLONE = "/v1/voice_clone"
NAME = "soak-bench"  # of voices that must never come to be
WINDOW = 60.0  # seconds of a line of figures
GROWTH = 0.05  # of the memory, above which it is not flat
_BOUNDARY = "s02-soak"
_WAV = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
# Files that are no recording, or not the one that they say they are.
UPLOADS: Mapping[str, bytes] = {
  "empty": b"",
  "noise": np.random.default_rng(0).bytes(50_000),
  "no samples": _WAV,
  "impossible rate": _WAV + b"\xff\xff\xff\xff" * 2 + b"\x02\x00\x10\x00data",
  "cut off": b"fLaC\x00\x00\x00\x22" + bytes(20),
  "list of files": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
  "script of files": b"ffconcat version 1.0\nfile /etc/passwd\n",
  "page": b"<html><script>alert(1)</script></html>",
  "zeros": bytes(200_000),
}


def upload(random: np.random.Generator) -> Answer:
  """Request that uploads what is no recording, under a good or a bad name."""
  kinds = sorted(UPLOADS)
  kind = kinds[int(random.integers(len(kinds)))]
  names = (NAME, "../../soak", "/etc/soak", "a" * 300)
  name = names[int(random.integers(len(names)))]
  head = (
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="voice_id"\r\n\r\n'
    f'{name}\r\n--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file";'
    ' filename="../../x.wav"\r\n\r\n'
  )
  data = head.encode() + UPLOADS[kind] + f"\r\n--{_BOUNDARY}--\r\n".encode()
  return Answer(
    body=data,
    kind="malformed",
    path=CLONE,
    media_type=f"multipart/form-data; boundary={_BOUNDARY}",
  )


def bodies(plan: Plan, count: int) -> list[dict[str, Any]]:
  """Bodies of so many different requests."""
  return [answer.body for answer in serving.requests(_good(plan), 1, count)]


def _good(plan: Plan) -> Plan:
  """The same plan without clients that leave or send nonsense."""
  return dataclasses.replace(plan, leaving=0.0, malformed=0.0)


def alone(plan: Plan, bodies: Sequence[dict[str, Any]]) -> list[bytes]:
  """Sounds of requests with nobody beside them.

  Raises:
    UserError: one cannot be spoken.
  """
  sounds = []
  for body in bodies:
    answer = Answer(body=body, kind="speech")
    serving.send(plan, answer)
    if answer.status != 200 or answer.fault:
      raise UserError(
        f"the text {str(body['input'])[:40]!r} could not be spoken"
        f" ({answer.fault or answer.status}); give texts that can."
      )
    sounds.append(answer.sound)
  return sounds


def window(
  plan: Plan,
  users: int,
  seconds: float,
  bodies: Sequence[dict[str, Any]],
  sounds: Sequence[bytes],
) -> dict[str, Any]:
  """Sends requests for so many seconds; figures of what came back.

  Args:
    plan: whose seed is of this window alone.
    users: that come by chance.
    seconds: of arrivals.
    bodies: of requests whose sounds are known.
    sounds: of the bodies, alone.
  """
  random = np.random.default_rng((plan.seed, users, 2))
  plan = dataclasses.replace(plan, seconds=seconds)
  times = serving.arrivals(plan, users)
  asked = serving.requests(plan, users, len(times))
  chosen = random.integers(len(bodies), size=len(asked))
  for i, (answer, number) in enumerate(zip(asked, chosen, strict=True)):
    if answer.kind != "malformed":
      answer.body = bodies[number]
    elif random.random() < 0.5:
      asked[i] = upload(random)
  serving.run(plan, times, asked)
  heard = [
    (answer.sound, sounds[number])
    for answer, number in zip(asked, chosen, strict=True)
    if answer.kind == "speech" and answer.status == 200
  ]
  return {
    "sent": len(asked),
    "spoken": len(heard),
    "wrong": sum(not serving.same(*pair) for pair in heard),
    "left": sum(answer.kind == "leaving" for answer in asked),
    "malformed": sum(answer.kind == "malformed" for answer in asked),
    "refused": sum(answer.status in (429, 503, 504) for answer in asked),
    "faults": sorted({answer.fault for answer in asked if answer.fault}),
    "memory": serving.memory(plan),
  }


def growth(memories: Sequence[float]) -> float:
  """Growth of the memory between the first third of lines and the last.

  The first line is left out where there are four or more: what is rare
  compiles then.
  """
  kept = memories[1:] if len(memories) >= 4 else memories
  third = max(1, len(kept) // 3)
  first, last = kept[:third], kept[-third:]
  return statistics.median(last) / max(statistics.median(first), 1.0) - 1


def soak(
  plan: Plan,
  users: int,
  minutes: float,
  tell: Callable[[str], None],
  different: int = 24,
) -> dict[str, Any]:
  """Loads a server for minutes, and tells of every one.

  Args:
    plan: with shares of clients that leave and of nonsense.
    users: that come by chance.
    minutes: of the whole.
    tell: is told a line a minute.
    different: requests whose sounds are compared.

  Returns:
    Figures: `windows`, their sums, `growth` of the memory, and `flat`.
  """
  known = serving.voices(plan)
  asked = bodies(plan, different)
  sounds = alone(plan, asked)
  names = (
    "sent", "spoken", "wrong", "left", "malformed", "refused"
  )  # fmt: skip
  tell("minute " + " ".join(f"{name:>9}" for name in names) + "      MB")
  end, windows = time.monotonic() + 60 * minutes, []
  while not windows or time.monotonic() < end:
    number = len(windows)
    fresh = dataclasses.replace(plan, seed=plan.seed + 1 + number)
    seconds = min(WINDOW, 60 * minutes)
    row = window(fresh, users, seconds, asked, sounds)
    windows.append(row)
    line = " ".join(f"{row[name]:9}" for name in names)
    tell(f"{number + 1:6} {line} {row['memory'] / 1e6:7.0f}")
    for fault in row["faults"]:
      tell(f"  fault: {fault}")
  if serving.voices(plan) != known:
    windows[-1]["faults"].append("a hostile upload became a voice")
  rise = growth([row["memory"] for row in windows])
  return {
    "windows": windows,
    **{name: sum(row[name] for row in windows) for name in names},
    "faults": sorted({f for row in windows for f in row["faults"]}),
    "growth": rise,
    "flat": rise <= GROWTH,
  }
