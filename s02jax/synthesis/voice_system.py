"""Voice system of a bundle: what Python programs and `s02 synthesize` speak by.

  system = VoiceSystem.load("bundle")         # `s02jax.load` is the same
  system.say("The light is on.", voice="voice.wav").save("out.wav")

A thin layer: recordings are read by `voice_store`, texts by `long_text`, and
both are spoken by `Synthesizer`.

Shape letters: n samples.
"""

import logging
import os
import pathlib
import threading
from collections.abc import (
  AsyncGenerator,
  Callable,
  Iterator,
  Mapping,
  Sequence,
)
from typing import Any, TypedDict, Unpack

import numpy as np

from s02jax.audio.effects import Changes
from s02jax.audio.sound import Sound
from s02jax.bundle import Bundle
from s02jax.core import inputs, languages, startup
from s02jax.core.errors import UserError
from s02jax.data import descriptions
from s02jax.synthesis import long_text
from s02jax.synthesis.alignment import Aligner, Word
from s02jax.synthesis.emotion import Emotion, strengths
from s02jax.synthesis.long_text import Heard, LongText
from s02jax.synthesis.pipeline import Pipeline
from s02jax.synthesis.request import DEFAULTS, Settings
from s02jax.synthesis.shared_engine import Session, SharedEngine
from s02jax.synthesis.store import adapter_store, voice_design, voice_store
from s02jax.synthesis.store.voice_design import VoiceDesigner
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.voice import Transcript, Voice
from s02jax.text import front, language_id
from s02jax.text.checks import check_words
from s02jax.text.front import Audience
from s02jax.text.pronunciation import Pronunciation

# One recording: the path of a file, its bytes, or (samples, rate) with samples
# float or int [n] or [n, channels].
Recording = str | os.PathLike | bytes | tuple[np.ndarray, int]
# A voice: one made before; the name of a kept one; a mixture, name -> weight;
# a file that `Voice.save` wrote; a recording, or several of one speaker.
VoiceSource = Voice | Mapping[str, float] | Recording | Sequence[Recording]


class Options(TypedDict, total=False):
  """Settings of `VoiceSystem.say` by name.

  They are those of `Settings` and of `Changes`, which say more of each.
  """

  seed: int  # the same seed gives the same sound
  steps: int | None  # of the solver; None: what the model is made for
  guidance: float | None  # towards the condition; 1 is none; None: as steps
  temperature: float  # 0 takes the likeliest token
  top_k: int  # likeliest tokens to choose from; 0 is all
  top_p: float  # probability mass to choose from
  repetition_penalty: float  # above 1: less of it
  repetition_window: int  # last tokens that repetitions are counted in
  repetition_share: float  # of them, above which a token is drawn again
  shortest: float  # share of a text's average length to speak at least
  speed: float  # 0.5 to 2, at the same pitch
  pitch: float  # semitones, -12 to 12
  volume: float  # factor, up to 10
  rate: int | None  # Hz of the sound, if not the system's
  reference_text: str | None  # words of the first recording: one-shot
  reference_language: str | None  # of these words, if not the text's
  pronunciation: str | os.PathLike | Pronunciation | None  # .tsv or .json
  markup: str  # kind of marks in the text: none, markdown, ssml, srt
  emotion: Emotion  # such as "sad", "sad:0.6" or {"sad": 0.5, "happy": 0.3}


class VoiceSystem:
  """Models of a bundle with its kept voices; speaks texts of any length.

  Attributes:
    path: folder of the bundle.
    synthesizer: the models, for what this class does not offer.
    rate: Hz of the sound.
    languages: codes of the languages in the training data, most heard first.
    context: most seconds of one pass.
    aligner: of words with the tokens that say them; None: it cannot tell.
    shared: engine of all who listen at once; its thread starts with the first.
  """

  def __init__(self, path, bundle: Bundle):
    """Builds the models of a bundle in memory.

    Args:
      path: folder of the bundle, for its voices and adapters.
      bundle: read from there.
    """
    adapters = adapter_store.load_all(path, bundle.fingerprint)
    synthesizer = Synthesizer(bundle, adapters)
    self._set_up(
      path,
      synthesizer,
      bundle.audience,
      long_text.trained_context(bundle),
      synthesizer.aligner,
    )

  def _set_up(
    self,
    path,
    pipeline: Pipeline,
    audience: Audience,
    context: float,
    aligner: Aligner | None,
  ) -> None:
    """Stores the parts; an export's are not those of a bundle.

    Args:
      path: folder of the bundle or export.
      pipeline: its models.
      audience: the same, as the front end of texts knows them.
      context: most seconds of one pass.
      aligner: of words; None: their times cannot be told.
    """
    self.path = pathlib.Path(path)
    self.synthesizer: Pipeline = pipeline
    self.rate: int = pipeline.rate
    self.languages = audience.languages
    self._audience, self.context = audience, context
    self.aligner = aligner
    self._designer: VoiceDesigner | None = None
    self._designing = threading.Lock()
    self.shared = SharedEngine(pipeline)

  @classmethod
  def load(cls, path) -> "VoiceSystem":
    """Loads the bundle at `path`; raises UserError as `Bundle.load` does.

    Compiled programs are kept for later processes, see `core.startup`.
    """
    startup.use_compilation_cache()
    return cls(path, Bundle.load(path))

  def __repr__(self) -> str:
    spoken = ", ".join(self.languages)
    return f"VoiceSystem({str(self.path)!r}: {spoken}; {self.rate} Hz)"

  @property
  def tells_times(self) -> bool:
    """True if this system tells when words are heard; older exports do not."""
    return self.aligner is not None

  # ------------------------------------------------------------------ voices

  @property
  def voices(self) -> list[str]:
    """Names of the voices that are kept in the bundle, sorted."""
    return voice_store.names(self.path)

  @property
  def emotions(self) -> list[str]:
    """Names of the emotions that the bundle's adapters speak in, sorted."""
    return list(self.synthesizer.emotions)

  def voice(
    self,
    source: VoiceSource,
    *,
    reference_text: str | None = None,
    reference_language: str | None = None,
    language: str | None = None,
  ) -> Voice:
    """Finds or makes a voice, to be used as often as wanted.

    Recordings are trimmed and levelled as those of a corpus are, at any rate
    and number of channels.

    Args:
      source: see `VoiceSource`.
      reference_text: what the first recording says: the voice continues it
        (one-shot). Without it a voice is cloned zero-shot.
      reference_language: of `reference_text`; None takes `language`.
      language: of what will be spoken; None detects it in `reference_text`.

    Raises:
      UserError: no voice, or a recording of which none can be made.
    """
    if isinstance(source, str) and source in self.voices:
      source = {source: 1.0}
    kept = isinstance(source, Voice | Mapping) or _is_voice_file(source)
    if kept and reference_text is not None:
      raise UserError(
        "reference_text is the transcript of a recording; a voice that was"
        " made before brings its own."
      )
    if isinstance(source, Voice):
      return source
    if isinstance(source, Mapping):
      weights = {str(name): float(w) for name, w in source.items()}
      return voice_store.mixed(self.synthesizer, self.path, weights)
    if isinstance(source, str | os.PathLike) and _is_voice_file(source):
      return Voice.load(source, self.synthesizer.fingerprint)
    if isinstance(source, str) and not pathlib.Path(source).exists():
      known = self.voices
      held = ", ".join(known) or "none yet: `s02 voice add` makes one"
      raise UserError(
        f"{source!r} is neither a file nor a voice of {self.path}"
        f"{inputs.hint(source, known)}; it has {held}."
      )
    made, _ = self.clone(source, reference_text, reference_language or language)
    return made

  def clone(
    self,
    source: Recording | Sequence[Recording],
    reference_text: str | None = None,
    language: str | None = None,
  ) -> tuple[Voice, float]:
    """Makes a voice of recordings; returns it and their seconds of speech.

    Arguments and errors are those of `voice`; the language is that of the
    transcript.
    """
    transcript = None
    if reference_text is not None:
      transcript = self.transcript(reference_text, language)
    recordings = self._recordings(source)
    return voice_store.recorded(self.synthesizer, recordings, transcript)

  @property
  def designs(self) -> bool:
    """True if there is a voice prior, so that voices can be described."""
    return voice_design.is_there(self.path)

  def design(
    self,
    description: str,
    *,
    tags: str = "",
    seed: int = 0,
    candidates: int = 1,
  ) -> list[Voice]:
    """Designs voices that fit a description; safe to call from threads.

    Args:
      description: in words, such as "a calm, low-pitched man".
      tags: attributes, such as "gender=male,pitch=1".
      seed: of the first candidate; each one after it has the next.
      candidates: number of voices.

    Raises:
      UserError: no voice prior, nothing to go by, or no such attribute.
    """
    attributes, text = descriptions.parse_tags(tags), self._audience.model
    assert text is not None  # that of a bundle or an export
    with self._designing:
      if self._designer is None:
        self._designer = VoiceDesigner.load(
          self.path, text, self.synthesizer.fingerprint
        )
      return self._designer.design(
        description, attributes, seed=seed, candidates=candidates
      )

  def transcript(self, text: str, language: str | None = None) -> Transcript:
    """Writes the transcript of a recording in spoken words.

    Args:
      text: what the recording says.
      language: code or alias of its language; None detects it.

    Raises:
      UserError: it has no words, or its language is unknown.
    """
    check_words(text, "reference's transcript")
    if language is None:
      language = language_id.detect(text, self.languages)
    code = languages.resolve(language).code
    said = front.words(
      text, code, folds=self._audience.folds, sounds=self._audience.sounds
    )
    return Transcript(
      text=check_words(said, "reference's transcript"), language=code
    )

  def _recordings(self, source) -> list[Recording]:
    """Recordings of one speaker, each as `audio.recording` takes it."""
    several = isinstance(source, Sequence) and not isinstance(
      source, str | bytes | bytearray | tuple
    )
    recordings = list(source) if several else [source]
    if not recordings:
      raise UserError("there is no recording; give at least one.")
    return [self._recording(one) for one in recordings]

  def _recording(self, one) -> Recording:
    """Checks the kind of one recording; raises UserError with the remedy."""
    if isinstance(one, bytearray | memoryview):
      return bytes(one)
    pair = isinstance(one, tuple) and len(one) == 2
    if pair and np.ndim(one[0]) and not np.ndim(one[1]):
      return np.asarray(one[0]), int(one[1])
    if isinstance(one, str | os.PathLike | bytes):
      return one
    raise UserError(
      f"a {type(one).__name__} is no recording; give the path of a file, its"
      " bytes, or (samples, rate) with the rate in Hz."
    )

  # ------------------------------------------------------------------ speech

  def say(
    self,
    text: str,
    voice: VoiceSource | None = None,
    language: str | None = None,
    **settings: Unpack[Options],
  ) -> Sound:
    """Speaks a text of any length.

    Args:
      text: numbers, capitals and signs as people write them; <#1.5#> is a
        pause of 1.5 s, <emotion name="sad">…</emotion> is spoken sadly.
      voice: of whom, see `VoiceSource`.
      language: code such as "en"; None detects it.
      **settings: see `Options`.

    Raises:
      UserError: no voice, a text that cannot be spoken, a setting that is
        misspelt or out of range.
    """
    rate = settings.get("rate") or self.rate
    blocks = self._say(text, voice, language, settings, whole=True)
    nothing = np.zeros(0, np.float32)
    return Sound(samples=np.concatenate([nothing, *blocks]), rate=rate)

  def stream(
    self,
    text: str,
    voice: VoiceSource | None = None,
    language: str | None = None,
    **settings: Unpack[Options],
  ) -> Iterator[np.ndarray]:
    """Speaks a text; blocks float32 [n] as soon as they can be heard.

    The words are those of `say`, the sound is a little worse. Arguments and
    errors are those of `say`; errors come at once, not with the first block.
    """
    return self._say(text, voice, language, settings, whole=False)

  async def asay(
    self,
    text: str,
    voice: VoiceSource | None = None,
    language: str | None = None,
    **settings: Unpack[Options],
  ) -> Sound:
    """Speaks a text while other tasks go on; arguments are those of `say`.

    What several tasks wait for is spoken side by side by one engine. Where a
    task is cancelled, its speech is dropped before the engine's next step.
    """
    rate = settings.get("rate") or self.rate
    made = [np.zeros(0, np.float32)]
    with self.shared.session(whole=True) as session:
      blocks = session.heard(
        self._say, text, voice, language, settings, session=session
      )
      made += [block async for block in blocks]
    return Sound(samples=np.concatenate(made), rate=rate)

  async def astream(
    self,
    text: str,
    voice: VoiceSource | None = None,
    language: str | None = None,
    **settings: Unpack[Options],
  ) -> AsyncGenerator[np.ndarray]:
    """Speaks a text while other tasks go on; see `stream` and `asay`.

    Errors come with the first block.
    """
    with self.shared.session() as session:
      blocks = session.heard(
        self._say, text, voice, language, settings, session=session
      )
      async for block in blocks:
        yield block

  def _say(
    self,
    text,
    voice,
    language,
    settings: Options,
    *,
    whole: bool = False,
    session: Session | None = None,
  ) -> Iterator[np.ndarray]:
    """Checks everything that `say` was given, and speaks.

    With a session the shared engine speaks, and not one of its own.
    """
    given: dict[str, Any] = dict(settings)
    known = [*Options.__annotations__, "voice", "language"]
    inputs.check_names(given, known, "a setting of speech")
    if voice is None:
      names = ", ".join(self.voices)
      kept = f"the name of one that it keeps ({names}) or " if names else ""
      raise UserError(f"whose voice? Give voice={kept}a recording.")
    said = given.pop("reference_text", None)
    said_in = given.pop("reference_language", None)
    draws = Settings.of({k: given[k] for k in Settings.names() if k in given})
    draws.check()
    changes = Changes(**{k: given[k] for k in Changes.names() if k in given})
    read = self.read(
      text, language, given.get("pronunciation"), given.get("markup", "none")
    )
    made = self.voice(
      voice,
      reference_text=said,
      reference_language=said_in,
      language=read.language,
    )
    return self.speak(
      read,
      made,
      settings=draws,
      changes=changes,
      whole=whole,
      emotion=given.get("emotion"),
      play=None if session is None else session.play,
    )

  def read(
    self,
    text: str,
    language: str | None = None,
    pronunciation=None,
    markup: str = "none",
  ) -> LongText:
    """Writes a text in the words to be spoken; arguments are those of `say`."""
    if not isinstance(text, str):
      raise UserError(f"the text is a {type(text).__name__}; give a string.")
    if isinstance(pronunciation, str | os.PathLike):
      pronunciation = Pronunciation.load(pronunciation)
    return long_text.read(
      text, language, pronunciation, audience=self._audience, markup=markup
    )

  def speak(
    self,
    text: LongText,
    voice: Voice,
    *,
    settings: Settings = DEFAULTS,
    changes: Changes = long_text.NO_CHANGES,
    whole: bool = True,
    emotion: Emotion = None,
    play: long_text.Play | None = None,
    timed: Callable[[list[Word]], None] | None = None,
  ) -> Iterator[np.ndarray]:
    """Speaks a text that was read; blocks float32 [n], as they are made.

    Args:
      text: by `read`.
      voice: by `voice`.
      settings: of the draws.
      changes: of speed, pitch, volume and rate; what the text itself asks of
        the speed comes on top.
      whole: the sound of each passage is made in one piece; False gives sound
        as soon as it can be heard, which is a little worse. Where `play` is
        given, it decides.
      emotion: of the sentences to which the text gives none.
      play: of an engine that others use too; None takes one of its own.
      timed: is told the words of every passage with their times, once it is
        spoken.

    Raises:
      UserError: an emotion that the bundle has no adapter for.
    """
    parts = text.parts(long_text.room(self.context, voice))
    said = [p.emotion for p in parts if isinstance(p, long_text.Passage)]
    for one in (emotion, *said):
      strengths(one, self.synthesizer.emotions)
    self._warn_of_language(text.language)
    blocks = long_text.speak(
      self.synthesizer,
      parts,
      voice=voice,
      context=self.context,
      settings=settings,
      changes=changes.faster(text.speed),
      whole=whole,
      emotion=emotion,
      play=play,
      hear=None if timed is None else self._hearer(timed),
    )
    return (block for block in blocks if len(block))

  def _warn_of_language(self, code: str) -> None:
    """Warns where the models never heard a language."""
    if code not in self.languages:
      logging.warning(
        "this bundle never heard %s; it knows %s",
        languages.BY_CODE[code].name,
        ", ".join(self.languages),
      )

  def _hearer(self, timed: Callable[[list[Word]], None]) -> long_text.Hear:
    """Function that tells the words of a passage; raises UserError."""
    aligner = self.aligner
    if aligner is None:
      raise UserError(
        f"{self.path} cannot tell when words are heard: it was exported without"
        " the CTC head; export it again."
      )

    def hear(passage: Heard) -> None:
      timed(aligner.heard(passage))

    return hear


def _is_voice_file(source) -> bool:
  """Whether a source is the path of a file that `Voice.save` wrote."""
  paths = isinstance(source, str | os.PathLike)
  return paths and pathlib.Path(source).suffix == voice_store.SUFFIX
