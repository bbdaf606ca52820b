"""Endurance of one engine under many requests, good and absurd.

Requests of random words in all languages of a bundle, voices, settings and
changes; some are cancelled midway, some make no sense. Each must end as sound
or as one sentence. Some that spoke are spoken again with nobody beside them,
and the two compared. Memory is read along the way.
"""

import collections
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from s02jax.audio.effects import Changes, Effects
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.synthesis import long_text
from s02jax.synthesis.engine import Engine
from s02jax.synthesis.request import Request, Settings
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.voice import MOST_MIXED, Transcript, Voice, mix

# Words of a language by its code.
Vocabulary = Callable[[str], Sequence[str]]

AT_ONCE = 48  # requests under way, more than an engine has slots
ABSURD, CANCELLED = 0.2, 0.1  # shares of the requests
TENTHS = 10


def _nothing() -> Any:
  """Dataclass field whose default is an array of no numbers."""
  return dataclasses.field(default_factory=lambda: np.zeros(0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ask:
  """Request as somebody sends it, sensible or not."""

  request: dict[str, Any]  # fields of Request
  settings: dict[str, Any] = dataclasses.field(default_factory=dict)
  changes: dict[str, Any] = dataclasses.field(default_factory=dict)
  patience: int | None = None  # steps of the engine until it is cancelled
  absurd: str = ""  # name of the fault, where there is one


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reply:
  """Outcome of a request."""

  ask: Ask
  outcome: str  # "spoken", "refused" or "cancelled"
  wave: np.ndarray = _nothing()  # sound, float32 [n], after the changes
  tokens: np.ndarray = _nothing()  # tokens that were spoken, int32 [s]
  sentence: str = ""  # reason of a refusal


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProcessMemory:
  """Memory in use at one moment, in bytes."""

  share: float  # share of the work that is done
  resident: int  # resident memory of the process
  arrays: int  # memory of JAX's live arrays


def memory(share: float) -> ProcessMemory:
  """Memory of this process now; resident is 0 where there is no /proc."""
  resident = 0
  statm = pathlib.Path("/proc/self/statm")
  if statm.exists():
    resident = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
  arrays = sum(x.nbytes for x in jax.live_arrays())
  return ProcessMemory(share=share, resident=resident, arrays=arrays)


# -------------------------------------------------------------------- requests


class Asker:
  """Random source of requests, sensible and absurd."""

  def __init__(
    self,
    synthesizer: Synthesizer,
    waves: Sequence[np.ndarray],
    vocabulary: Vocabulary,
    seed: int,
  ):
    """Makes voices of the recordings.

    Args:
      synthesizer: of the bundle.
      waves: reference recordings, float32 [n] at the synthesizer's rate.
      vocabulary: words of a language by its code.
      seed: seed of every draw.
    """
    self._random = np.random.default_rng(seed)
    self._codes = synthesizer.languages
    self._waves = list(waves)
    said = Transcript(text="Good morning", language="en")
    self._voices = synthesizer.voices(
      [w[: 4 * synthesizer.rate] for w in waves],
      [None if i % 2 else said for i in range(len(waves))],
    )
    self._rate = synthesizer.rate
    self._vocabulary = vocabulary

  def __call__(self) -> Ask:
    """Draws the next request."""
    kind = self._random.random()
    if kind < ABSURD:
      return self._absurd()
    ask = self._good()
    if kind < ABSURD + CANCELLED:
      return dataclasses.replace(ask, patience=self._whole(0, 8))
    return ask

  def _whole(self, low: int, high: int) -> int:
    return int(self._random.integers(low, high))

  def _pick(self, items: Sequence[Any]) -> Any:
    return items[self._whole(0, len(items))]

  def _good(self) -> Ask:
    code = self._pick(self._codes)
    language = languages.BY_CODE[code]
    known = self._vocabulary(code)
    count = self._whole(1, 9)
    chosen = [self._pick(known) for _ in range(count)]
    return Ask(
      request={"text": self._dressed(language.separator.join(chosen))}
      | {"language": code}
      | self._voice(),
      settings={
        "seed": self._whole(0, 2**31),
        "temperature": self._pick([0.0, 0.5, 0.7, 1.0]),
        "top_k": self._pick([0, 0, 1, 50]),
        "top_p": self._pick([1.0, 0.9, 0.5]),
        "repetition_penalty": self._pick([1.0, 1.0, 1.2]),
        "repetition_share": self._pick([1.0, 0.2, 0.1]),
        "steps": self._pick([4, 8]),
        "guidance": self._pick([0.0, 1.0, 1.5, 3.0]),
      },
      changes=self._pick(
        [{}, {"speed": 1.5}, {"pitch": -3.0}, {"volume": 2.0}, {"rate": 8000}]
      ),
    )

  def _voice(self) -> dict[str, Any]:
    kind = self._whole(0, 3)
    if kind == 0:
      return {"reference": self._pick(self._waves)}
    if kind == 1:
      return {"voice": self._pick(self._voices)}
    count = self._whole(1, MOST_MIXED + 1)
    voices = [self._pick(self._voices) for _ in range(count)]
    return {"voice": mix(voices, [1.0] * count)}

  def _dressed(self, text: str) -> str:
    """Text with, now and then, marks that nobody reads out."""
    return self._pick(
      [text] * 5
      + [
        f"  {text}\n\t",
        f"“{text}”…",
        f"\u200f{text}\u200b",
        f"{text} 🙂🙂",
        f"{text} 1,234.50 %",
        f"{text}\x00\x1b[31m",
        f"{text} {text[:1] * 200}",
      ]
    )

  def _absurd(self) -> Ask:
    return self.spoil(*self._pick(faults(self._waves[0], self._rate)))

  def spoil(
    self, what: str, request: dict, settings: dict, changes: dict
  ) -> Ask:
    """Sensible request with one of `faults` put into it."""
    ask = self._good()
    voice = {"reference": None, "voice": None}
    return dataclasses.replace(
      ask,
      request=ask.request | (voice if "reference" in request else {}) | request,
      settings=ask.settings | settings,
      changes=ask.changes | changes,
      absurd=what,
    )


def faults(wave: np.ndarray, rate: int) -> list[tuple[str, dict, dict, dict]]:
  """Everything that can be wrong: (name, request, settings, changes).

  Args:
    wave: good reference recording, float32 [n].
    rate: its samples per second.
  """
  broken = np.where(np.arange(len(wave)) == 7, np.nan, wave)
  stranger = Voice(
    ar_vector=np.zeros(4, np.float32),
    flow_vector=np.zeros(4, np.float32),
    prompt=None,
    fingerprint="of another bundle",
  )
  texts = {
    "no text": "",
    "spaces": " \n ",
    "marks only": "?!… 🙂",
    "an endless text": "house water " * 5000,
    "an endless word": "a" * 20000,
    "another script": "дом",
  }
  references = {
    "no sample": wave[:0],
    "a short reference": wave[: rate // 10],
    "silence": np.zeros(rate, np.float32),
    "not a number": broken,
    "two channels": np.stack([wave, wave], axis=1),
  }
  settings: list[dict[str, Any]] = [
    {"steps": 0},
    {"steps": 10**9},
    {"guidance": float("nan")},
    {"temperature": -1.0},
    {"temperature": float("inf")},
    {"top_k": -1},
    {"top_p": 0.0},
    {"repetition_penalty": 0.0},
    {"repetition_window": 0},
    {"repetition_share": 2.0},
    {"shortest": -1.0},
  ]
  changes: list[dict[str, Any]] = [
    {"speed": 0.0},
    {"pitch": 99.0},
    {"volume": -1.0},
    {"rate": 1},
  ]
  return [
    *((k, {"text": v, "language": "en"}, {}, {}) for k, v in texts.items()),
    *((k, {"reference": v}, {}, {}) for k, v in references.items()),
    ("an unknown language", {"language": "xx"}, {}, {}),
    ("nobody speaks", {"reference": None}, {}, {}),
    ("a stranger's voice", {"reference": None, "voice": stranger}, {}, {}),
    ("two speakers", {"reference": wave, "voice": stranger}, {}, {}),
    ("an empty transcript", {"reference": wave, "reference_text": ""}, {}, {}),
    *((f"{k} {v}", {}, {k: v}, {}) for s in settings for k, v in s.items()),
    *((f"{k} {v}", {}, {}, {k: v}) for c in changes for k, v in c.items()),
  ]


# --------------------------------------------------------------------- serving


@dataclasses.dataclass(kw_only=True)
class _Open:
  """Request under way, with the sound it has so far."""

  ask: Ask
  effects: Effects
  parts: list[np.ndarray] = dataclasses.field(default_factory=list)
  steps: int = 0


class Client:
  """Client of an engine: submits requests and gathers their answers."""

  def __init__(self, engine: Engine, rate: int):
    """Starts without requests.

    Args:
      engine: without requests either.
      rate: of its sound, Hz.
    """
    self._engine, self._rate = engine, rate
    self._open: dict[int, _Open] = {}

  @property
  def load(self) -> int:
    """Number of requests under way."""
    return len(self._open)

  def submit(self, ask: Ask) -> Reply | None:
    """Submits a request; returns the answer where it is refused."""
    try:
      effects = Effects(Changes(**ask.changes), self._rate)
      ticket = self._engine.submit(
        Request(**ask.request), Settings(**ask.settings)
      )
    except UserError as error:
      return Reply(ask=ask, outcome="refused", sentence=str(error))
    self._open[ticket] = _Open(ask=ask, effects=effects)
    return None

  def step(self) -> Iterator[Reply]:
    """Runs one step of the engine; yields the requests that end with it."""
    for piece in self._engine.step():
      held = self._open[piece.ticket]
      held.parts.append(held.effects.push(piece.wave))
      if piece.spoken is not None:
        del self._open[piece.ticket]
        held.parts.append(held.effects.finish())
        yield Reply(
          ask=held.ask,
          outcome="spoken",
          wave=np.concatenate(held.parts),
          tokens=piece.spoken.tokens,
        )
    for ticket, held in list(self._open.items()):
      held.steps += 1
      if held.ask.patience is not None and held.steps > held.ask.patience:
        self._engine.cancel(ticket)
        del self._open[ticket]
        yield Reply(ask=held.ask, outcome="cancelled")


def serve(
  synthesizer: Synthesizer, asks: Iterable[Ask], at_once: int = AT_ONCE
) -> Iterator[Reply]:
  """Yields the answers of all requests, as they end.

  Args:
    synthesizer: of the bundle; all requests go to one engine.
    asks: requests, in the order of their coming.
    at_once: most requests under way.
  """
  client = Client(synthesizer.engine(), synthesizer.rate)
  waiting = iter(asks)
  ask = next(waiting, None)
  while ask is not None or client.load:
    while ask is not None and client.load < at_once:
      refused = client.submit(ask)
      if refused is not None:
        yield refused
      ask = next(waiting, None)
    yield from client.step()


def watch(
  answers: Iterable[Reply], asks: Sequence[Ask], compared: int
) -> tuple[list[Reply], list[ProcessMemory]]:
  """Gathers all answers, and the memory after each tenth of them.

  Args:
    answers: answers to `asks`, in any order.
    asks: all requests.
    compared: so many of the first sensible requests keep their sound; the
      others' is dropped.
  """
  sensible = [x for x in asks if not x.absurd and x.patience is None]
  kept = {id(ask) for ask in sensible[:compared]}
  found: list[Reply] = []
  measured: list[ProcessMemory] = []
  for answer in answers:
    if id(answer.ask) not in kept:
      answer = dataclasses.replace(answer, wave=np.zeros(0))
    found.append(answer)
    share = len(found) / len(asks)
    if share >= (len(measured) + 1) / TENTHS:
      measured.append(memory(share))
  return found, measured


# ------------------------------------------------------------------ comparison


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replay:
  """Comparison of requests that spoke in company with the same alone."""

  count: int  # requests that were repeated
  same_tokens: int  # requests with the same tokens both times
  difference: float  # largest difference of a sample among those


def replay(synthesizer: Synthesizer, answers: Sequence[Reply]) -> Replay:
  """Speaks requests alone and compares.

  Sound is compared where the tokens are the same: products of other shapes
  round otherwise, and where two tokens are as likely, that decides.
  """
  same, difference = 0, 0.0
  for answer in answers:
    client = Client(synthesizer.engine(), synthesizer.rate)
    client.submit(answer.ask)
    found: list[Reply] = []
    while client.load:
      found += client.step()
    (alone,) = found
    if not np.array_equal(alone.tokens, answer.tokens):
      continue
    same += 1
    gap = np.abs(alone.wave - answer.wave).max(initial=0.0)
    difference = max(difference, float(gap))
  return Replay(count=len(answers), same_tokens=same, difference=difference)


def long_english(vocabulary: Vocabulary, characters: int) -> str:
  """English sentences of six random words, so many characters of them."""
  random = np.random.default_rng(0)
  known = vocabulary("en")
  text = ""
  while len(text) < characters:
    sentence = " ".join(random.choice(known, 6, replace=False))
    text += f"{sentence.capitalize()}. "
  return text[:characters]


def speak_long(
  synthesizer: Synthesizer, voice: Voice, text: str, context: float
) -> tuple[float, list[ProcessMemory]]:
  """Speaks a long English text: seconds of speech, and memory by its tenths.

  Args:
    synthesizer: of the bundle.
    voice: voice to speak in.
    text: English sentences.
    context: seconds of one pass.
  """
  measured, samples = [], 0
  for block in long_text.speak(
    synthesizer,
    long_text.read(text, "en").parts(long_text.room(context, voice)),
    voice=voice,
    context=context,
    settings=Settings(steps=4),
  ):
    samples += len(block)
    measured.append((samples, memory(0.0)))
  return samples / synthesizer.rate, _tenths(measured, samples)


def _tenths(
  found: list[tuple[int, ProcessMemory]], total: int
) -> list[ProcessMemory]:
  """First measurement at or behind each tenth of the samples."""
  ends = [n / total for n, _ in found]
  return [
    dataclasses.replace(found[i][1], share=tenth / TENTHS)
    for tenth in range(1, TENTHS + 1)
    if (i := int(np.searchsorted(ends, tenth / TENTHS - 1e-9))) < len(found)
  ]


# ----------------------------------------------------------------- measurement


def measure(
  synthesizer: Synthesizer,
  waves: Sequence[np.ndarray],
  vocabulary: Vocabulary,
  *,
  requests: int,
  replays: int,
  characters: int,
  context: float,
  seed: int,
  tell: Callable[[str], None],
) -> dict[str, Any]:
  """Sends the requests, repeats some alone, speaks a long text.

  Args:
    synthesizer: of the bundle.
    waves: reference recordings, float32 [n] at the synthesizer's rate.
    vocabulary: words of a language by its code.
    requests: how many are sent.
    replays: how many of them are repeated alone.
    characters: length of the long text.
    context: seconds of one pass of a long text.
    seed: seed of the requests.
    tell: gets the lines for people.

  Returns:
    The figures, ready for JSON.
  """
  ask = Asker(synthesizer, waves, vocabulary, seed)
  asks = [ask() for _ in range(requests)]
  began = time.perf_counter()
  answers, measured = watch(serve(synthesizer, asks), asks, replays)
  seconds = time.perf_counter() - began
  tell(_describe(answers, measured, seconds))
  again = replay(synthesizer, [a for a in answers if len(a.wave)])
  tell(
    f"{again.count} spoken again alone: {again.same_tokens} with the same"
    f" tokens, whose samples differ by {again.difference:.1e} at most"
  )
  (voice,) = synthesizer.voices(waves[:1], [None])
  text = long_english(vocabulary, characters)
  length, along = speak_long(synthesizer, voice, text, context)
  tell(f"{characters} characters, {length:.0f} s of speech")
  tell(_memory_lines(along))
  return {
    "outcomes": dict(collections.Counter(a.outcome for a in answers)),
    "seconds": seconds,
    "memory": [dataclasses.asdict(x) for x in measured],
    "replay": dataclasses.asdict(again),
    "long_seconds": length,
    "long_memory": [dataclasses.asdict(x) for x in along],
  }


def _describe(
  answers: Sequence[Reply], measured: Sequence[ProcessMemory], seconds: float
) -> str:
  outcomes = collections.Counter(a.outcome for a in answers)
  absurd = [a for a in answers if a.ask.absurd]
  refused = sum(a.outcome == "refused" for a in absurd)
  sensible = [a for a in answers if a.outcome == "refused" and not a.ask.absurd]
  counted = ", ".join(f"{n} {name}" for name, n in outcomes.most_common())
  return "\n".join(
    [
      f"{len(answers)} requests in {seconds:.0f} s: {counted}; of"
      f" {len(absurd)} absurd ones {refused} refused",
      *(f"  refused, though sensible: {a.sentence}" for a in sensible),
      _memory_lines(measured),
    ]
  )


def _memory_lines(measured: Sequence[ProcessMemory]) -> str:
  return "\n".join(
    f"  {x.share:>4.0%} done: {x.resident / 2**20:6.0f} MiB resident,"
    f" {x.arrays / 2**20:6.1f} MiB of arrays"
    for x in measured
  )
