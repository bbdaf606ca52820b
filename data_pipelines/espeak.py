"""Builder of the synthetic corpus: espeak-ng speakers, closed word lists.

Everything is drawn from (seed, speaker number, clip number), so that a clip
does not depend on which others are made, in which order, or by how many
processes. Whether a sentence belongs to train, seen or unseen is decided by
the sentence alone: no sentence of one split occurs in another.
"""

import dataclasses
import hashlib
import pathlib
import unicodedata
from collections.abc import Callable, Iterator

import numpy as np

from data_pipelines import clips, corpus_writer, parallel, prosody, words
from data_pipelines.hashing import digest
from s02jax.audio import espeak, loudness
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.core.inputs import hint

# Variants of espeak-ng that sound like people, no two of them alike, and that
# an English recogniser (pocketsphinx) understands; it fails on the rest.
_VARIANTS = """
  Alicia Denis Diogo Gene Henrique Hugo Jacky Michael Reed adam anika announcer
  aunty belinda benjamin ed edward f1 f2 f3 f4 f5 grandpa iven klatt klatt2
  klatt3 klatt4 klatt5 klatt6 m1 m2 m3 m5 m6 m7 m8 michel miguel mike2 pablo
  sandro steph victor"""
VARIANTS = tuple(_VARIANTS.split())


@dataclasses.dataclass(frozen=True, kw_only=True)
class EspeakArguments:
  """Arguments of a synthetic corpus: its sentences and its speakers."""

  languages: tuple[str, ...] = ("en", "es", "de")  # codes
  speakers: int = 240  # speakers in train, shared out among the languages
  clips_per_speaker: int = 8  # clips of each speaker in train
  seen_speakers: int = 40  # speakers in train who also speak in `seen`
  seen_clips: int = 2  # clips of each of them in `seen`
  unseen_speakers: int = 24  # speakers in `unseen`, none of them in train
  unseen_clips: int = 6  # clips of each of them
  words: int = 40  # words of each language: the first of its list
  sentence_words: tuple[int, int] = (3, 6)  # fewest and most words
  rate: int = 16_000  # Hz
  seed: int = 0  # of speakers and sentences
  sentences: str = ""  # file of lines language|text, instead of word lists
  # Names of `prosody.PROSODIES`: every sentence is said in each of them.
  emotions: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speaker:
  """Synthetic speaker: settings of espeak-ng, and the length of the tract."""

  name: str
  language: str  # code
  variant: str  # one of VARIANTS
  pitch: int  # of espeak-ng, 0 to 99
  pitch_range: int  # of espeak-ng, 0 to 99
  words_per_minute: float
  tract: float  # above 1 for a shorter vocal tract: all formants higher


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
  """Clip that a worker process is to render."""

  id: str  # unique within the corpus
  text: str
  speaker: Speaker
  rate: int  # of the corpus, Hz
  emotion: str = ""  # one of `prosody.PROSODIES`; empty is neutral, unnamed


def _generator(seed: int, *parts: object) -> np.random.Generator:
  return np.random.default_rng([seed, digest(*map(str, parts))])


def make_speaker(arguments: EspeakArguments, number: int) -> Speaker:
  """Draws speaker `number`; its language is number modulo the languages.

  Within a language every variant is used once before any is used twice.
  """
  count = len(arguments.languages)
  language = arguments.languages[number % count]
  turn, place = divmod(number // count, len(VARIANTS))
  order = _generator(arguments.seed, "variants", language, turn)
  rng = _generator(arguments.seed, "speaker", number)
  return Speaker(
    name=f"espeak-{language}-{number:05d}",
    language=language,
    variant=VARIANTS[order.permutation(len(VARIANTS))[place]],
    pitch=int(rng.integers(15, 86)),
    pitch_range=int(rng.integers(30, 71)),
    words_per_minute=float(rng.uniform(135, 185)),
    tract=float(np.exp(rng.uniform(np.log(0.91), np.log(1.11)))),
  )


def _split_of(text: str) -> str:
  """Split that a sentence may occur in alone: 1/8 seen, 1/8 unseen."""
  place = digest("split", text) % 8
  return {0: "seen", 1: "unseen"}.get(place, "train")


# (language, split, number of the speaker, number of the clip) -> text
Sentence = Callable[[str, str, int, int], str]

_TRIES = 10_000  # draws until a sentence falls into its split


def _word_sentences(arguments: EspeakArguments) -> Sentence:
  """Draws sentences of known words, no word twice in a sentence."""
  vocabulary = {
    code: words.first_words(languages.BY_CODE[code], arguments.words)
    for code in arguments.languages
  }
  fewest, most = arguments.sentence_words

  def sentence(language: str, split: str, speaker: int, clip: int) -> str:
    rng = _generator(arguments.seed, "sentence", split, speaker, clip)
    known = vocabulary[language]
    separator = languages.BY_CODE[language].separator
    for _ in range(_TRIES):
      count = rng.integers(fewest, most + 1)
      picked = rng.choice(len(known), min(count, len(known)), replace=False)
      text = separator.join(known[index] for index in picked)
      if _split_of(text) == split:
        return text
    raise UserError(
      f"--words {arguments.words} and --sentence_words {fewest},{most} give"
      f" too few sentences of {language!r} to keep some for {split!r}"
    )

  return sentence


def read_sentences(path: str) -> dict[str, list[str]]:
  """Reads lines language|text to the distinct NFC texts of each language.

  Raises:
    UserError: the file cannot be read, or a line is of another form.
  """
  texts: dict[str, dict[str, None]] = {}
  try:
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f"cannot read {path}: {error}") from error
  for number, line in enumerate(lines, start=1):
    if not line.strip():
      continue
    code, bar, text = line.partition("|")
    text = unicodedata.normalize("NFC", text.strip())
    if not bar or not text:
      raise UserError(f"{path}, line {number}: expected language|text")
    try:
      language = languages.resolve(code)
    except UserError as error:
      raise UserError(f"{path}, line {number}: {error}") from error
    texts.setdefault(language.code, {})[text] = None
  return {code: list(lines) for code, lines in texts.items()}


def _file_sentences(arguments: EspeakArguments) -> Sentence:
  """Picks sentences from a file, an eighth of it each for seen and unseen."""
  pools: dict[tuple[str, str], list[str]] = {}
  texts = read_sentences(arguments.sentences)
  for code in arguments.languages:
    known = sorted(texts.get(code, []), key=lambda text: digest(text))
    if len(known) < 3:
      raise UserError(
        f"{arguments.sentences}: language {code!r} has {len(known)} sentences;"
        " at least 3 are needed, one for each split"
      )
    held = max(1, len(known) // 8)
    pools[code, "seen"] = known[:held]
    pools[code, "unseen"] = known[held : 2 * held]
    pools[code, "train"] = known[2 * held :]

  def sentence(language: str, split: str, speaker: int, clip: int) -> str:
    pool = pools[language, split]
    start = digest(str(arguments.seed), split, str(speaker))
    return pool[(start + clip) % len(pool)]

  return sentence


def _sentences(arguments: EspeakArguments) -> Sentence:
  """Source of the sentences; raises UserError."""
  own = bool(arguments.sentences)
  return (_file_sentences if own else _word_sentences)(arguments)


def tasks(arguments: EspeakArguments, split: str) -> Iterator[Task]:
  """Clips of a split, in the order of its records."""
  return _tasks(arguments, split, _sentences(arguments))


def _tasks(
  arguments: EspeakArguments, split: str, sentence: Sentence
) -> Iterator[Task]:
  numbers, clips_per_speaker = _plan(arguments)[split]
  for number in numbers:
    speaker = make_speaker(arguments, number)
    for clip in range(clips_per_speaker):
      text = sentence(speaker.language, split, number, clip)
      for emotion in arguments.emotions or ("",):
        suffix = f"-{emotion}" if emotion else ""
        yield Task(
          id=f"{speaker.name}-{split}-{clip:04d}{suffix}",
          text=text,
          speaker=speaker,
          rate=arguments.rate,
          emotion=emotion,
        )


def _spoken(task: Task) -> np.ndarray:
  """Clip f32[n] with the silence around it, and not levelled.

  Playing it `tract` times faster moves the formants.
  """
  speaker = task.speaker
  change = prosody.PROSODIES[task.emotion or "neutral"]
  wave, rate = espeak.render(
    task.text,
    _voice(speaker),
    variant=speaker.variant,
    rate=_words_per_minute(task),
    pitch=min(max(speaker.pitch + change.pitch, 0), 99),
    pitch_range=min(round(speaker.pitch_range * change.width), 99),
  )
  wave = loudness.resample(wave, rate * speaker.tract, task.rate)
  if not len(wave) or np.max(np.abs(wave)) < loudness.SILENCE:
    raise UserError(
      f"espeak-ng says nothing for {task.text!r} in {speaker.language!r}"
    )
  return wave


def _voice(speaker: Speaker) -> str:
  """Name by which espeak-ng knows the speaker's language."""
  return languages.BY_CODE[speaker.language].espeak


def _words_per_minute(task: Task) -> int:
  """Pace of a clip before it is played `tract` times faster."""
  pace = prosody.PROSODIES[task.emotion or "neutral"].pace
  return round(task.speaker.words_per_minute * pace / task.speaker.tract)


def timed(task: Task) -> tuple[np.ndarray, list[float]]:
  """Speaks one clip, and tells when espeak-ng begins its words.

  Returns:
    Wave f32[n] as `render` makes it, and seconds of it, one a word.

  Raises:
    UserError: espeak-ng says nothing.
  """
  speaker, wave = task.speaker, _spoken(task)
  words = espeak.word_times(
    task.text, _voice(speaker), speaker.variant, _words_per_minute(task)
  )
  cut = loudness.bounds(wave, task.rate)[0] / task.rate
  wave = loudness.trim_and_level(wave, task.rate, task.rate)
  return wave, [seconds / speaker.tract - cut for *_, seconds in words]


def render(task: Task) -> clips.Example:
  """Speaks one clip.

  Raises:
    UserError: espeak-ng says nothing.
  """
  speaker = task.speaker
  wave = loudness.trim_and_level(_spoken(task), task.rate, task.rate)
  if task.emotion:
    change = prosody.PROSODIES[task.emotion]
    wave = prosody.sound(wave, change, task.rate)
  audio, num_samples = clips.encode(wave, task.rate)
  return clips.Example(
    id=task.id,
    audio=audio,
    num_samples=num_samples,
    text=task.text,
    language=speaker.language,
    speaker=speaker.name,
    source=f"espeak-ng {_voice(speaker)}+{speaker.variant}",
    emotion=task.emotion,
  )


def _crashed(task: Task) -> clips.Example:
  raise UserError(f"espeak-ng crashed on {task.text!r} as {task.speaker}")


def _plan(arguments: EspeakArguments) -> dict[str, tuple[range, int]]:
  """Numbers of each split's speakers, and the clips of each."""
  train = range(arguments.speakers)
  unseen = range(
    arguments.speakers, arguments.speakers + arguments.unseen_speakers
  )
  return {
    "train": (train, arguments.clips_per_speaker),
    "seen": (train[: arguments.seen_speakers], arguments.seen_clips),
    "unseen": (unseen, arguments.unseen_clips),
  }


def check(arguments: EspeakArguments) -> None:
  """Raises UserError for arguments that no corpus can be made of."""
  for code in arguments.languages:
    if code not in languages.BY_CODE:
      known = ", ".join(languages.BY_CODE)
      raise UserError(f"language {code!r} is unknown: the codes are {known}")
  if len(set(arguments.languages)) != len(arguments.languages):
    raise UserError("--languages names a language twice")
  if arguments.speakers < len(arguments.languages):
    raise UserError(
      f"--speakers {arguments.speakers} is fewer than the"
      f" {len(arguments.languages)} languages: each needs a speaker"
    )
  for name in arguments.emotions:
    if name not in prosody.PROSODIES:
      raise UserError(
        f"--emotions names {name!r}{hint(name, prosody.PROSODIES)}; the prosody"
        f" of {', '.join(prosody.PROSODIES)} is known"
      )
  if arguments.clips_per_speaker < 1:
    raise UserError("--clips_per_speaker must be at least 1")
  fewest, most = arguments.sentence_words
  if not 1 <= fewest <= most:
    raise UserError("--sentence_words needs 1 <= fewest <= most")


def build(
  arguments: EspeakArguments,
  out: pathlib.Path,
  processes: int,
  tell: corpus_writer.Tell,
) -> None:
  """Builds the corpus, unless it is already there.

  Args:
    arguments: sentences and speakers.
    out: corpus folder.
    processes: processes that render clips.
    tell: gets lines for people.

  Raises:
    UserError: impossible arguments, or a folder that cannot be written.
  """
  check(arguments)
  sentence, plan = _sentences(arguments), _plan(arguments)
  own = bool(arguments.sentences)
  content = pathlib.Path(arguments.sentences).read_bytes() if own else b""
  identity = dataclasses.asdict(arguments)
  identity["sentences"] = hashlib.sha256(content).hexdigest() if own else ""
  if not arguments.emotions:  # a corpus without any is what it always was
    del identity["emotions"]
  with (
    corpus_writer.CorpusWriter(
      out,
      rate=arguments.rate,
      builder="espeak",
      arguments=identity,
      tell=tell,
      notes="" if own else "The vocabulary is closed: " + _CLOSED,
    ) as writer,
    parallel.Workers(processes) as workers,
  ):
    if writer.finished:
      return
    examples = {
      split: workers.map(render, _tasks(arguments, split, sentence), _crashed)
      for split in plan
    }
    total = sum(len(numbers) * each for numbers, each in plan.values())
    writer.write(examples, total * max(len(arguments.emotions), 1))


_CLOSED = (
  "every sentence is a random sequence of the words listed in the builder;"
  " sentences of seen and unseen never occur in train, their words do."
)
