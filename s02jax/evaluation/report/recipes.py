"""Recipes of the table's rows: ways of making the sentences of a panel."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from s02jax.evaluation.report.judge import Renditions
from s02jax.evaluation.report.measures import GROUND_TRUTH
from s02jax.evaluation.report.panel import Case
from s02jax.synthesis.request import Request, Settings, Utterance


class RecipeMethods(Protocol):
  """Methods of the synthesizer that recipes call."""

  rate: int

  def synthesize(
    self, requests: Sequence[Request], **settings: Any
  ) -> list[Utterance]: ...
  def from_tokens(
    self,
    tokens: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    *,
    seed: int,
    steps: int | None,
    guidance: float | None,
  ) -> list[np.ndarray]: ...
  def tokenize(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]: ...
  def tokenizer_reconstruction(
    self, waves: Sequence[np.ndarray], references: Sequence[np.ndarray]
  ) -> list[np.ndarray]: ...
  def resynthesize(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]: ...
  def ctc_transcribe(self, waves: Sequence[np.ndarray]) -> list[str]: ...


@dataclasses.dataclass(frozen=True)
class Made:
  """Waves that a recipe made."""

  waves: Sequence[np.ndarray]  # float32[n], one for each case
  # Whether each ended with the end token; None if made from audio.
  ended: Sequence[bool] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
  """Recipe of a row and its names."""

  name: str  # in metrics.json
  label: str  # on the page
  explanation: str  # on the page
  aligned: bool  # waves are copies of the recordings, sample by sample
  make: Callable[[RecipeMethods, Sequence[Case], Settings], Made]


def _ground_truth(models, cases, settings) -> Made:
  """Recordings themselves."""
  del models, settings
  return Made([case.wave for case in cases])


def _resynthesis(models, cases, settings) -> Made:
  """Recordings through the Flow-VAE."""
  del settings
  return Made(models.resynthesize([case.wave for case in cases]))


def _tokenizer(models, cases, settings) -> Made:
  """Recordings through the audio tokenizer and Griffin-Lim."""
  del settings
  waves = [case.wave for case in cases]
  references = [case.reference for case in cases]
  return Made(models.tokenizer_reconstruction(waves, references))


def _from_tokens(models, cases, settings) -> Made:
  """Recordings' tokens through flow matching and the Flow-VAE."""
  tokens = models.tokenize([case.wave for case in cases])
  return Made(
    models.from_tokens(
      tokens,
      [case.reference for case in cases],
      seed=settings.seed,
      steps=settings.steps,
      guidance=settings.guidance,
    )
  )


def _zero_shot(models, cases, settings) -> Made:
  """Texts in the voice of a reference's audio."""
  return _speak(models, cases, [None] * len(cases), settings)


def _one_shot(models, cases, settings) -> Made:
  """Texts in the voice of a reference's audio and transcript."""
  transcripts = [case.reference_text for case in cases]
  return _speak(models, cases, transcripts, settings)


def _speak(models, cases, transcripts, settings) -> Made:
  """Synthesizes the cases' texts."""
  spoken = models.synthesize(
    [
      Request(
        text=case.text,
        language=case.language,
        reference=case.reference,
        reference_text=transcript,
      )
      for case, transcript in zip(cases, transcripts, strict=True)
    ],
    **dataclasses.asdict(settings),
  )
  return Made([x.wave for x in spoken], [x.ended for x in spoken])


RECIPES: tuple[Recipe, ...] = (
  Recipe(
    name=GROUND_TRUTH,
    label="Ground truth",
    explanation="The recording itself: what each judge makes of the speaker.",
    aligned=True,
    make=_ground_truth,
  ),
  Recipe(
    name="zero_shot",
    label="Zero-shot",
    explanation=(
      "From the text, in the voice of a reference of which only the audio is"
      " given."
    ),
    aligned=False,
    make=_zero_shot,
  ),
  Recipe(
    name="one_shot",
    label="One-shot",
    explanation=(
      "From the text, in the voice of a reference given with its transcript."
    ),
    aligned=False,
    make=_one_shot,
  ),
  Recipe(
    name="from_tokens",
    label="Flow matching, true tokens",
    explanation=(
      "The recording's own codes, spoken by flow matching and the Flow-VAE in"
      " the voice of the reference: the pipeline without the AR Transformer."
    ),
    aligned=True,
    make=_from_tokens,
  ),
  Recipe(
    name="tokenizer",
    label="Tokenizer reconstruction",
    explanation=(
      "The recording through the audio tokenizer alone: 25 codes a second, in"
      " the voice of the reference, mel spectrogram, Griffin-Lim. It keeps"
      " words more than voices."
    ),
    aligned=True,
    make=_tokenizer,
  ),
  Recipe(
    name="resynthesis",
    label="Flow-VAE resynthesis",
    explanation="The recording, encoded and decoded by the Flow-VAE alone.",
    aligned=True,
    make=_resynthesis,
  ),
)


def make_renditions(
  recipe: Recipe,
  models: RecipeMethods,
  cases: Sequence[Case],
  settings: Settings,
) -> Renditions:
  """Makes the waves of a row and transcribes them by the CTC head."""
  made = recipe.make(models, cases, settings)
  return Renditions(
    waves=made.waves,
    aligned=recipe.aligned,
    transcripts=_transcripts(models, made.waves),
    ended=made.ended,
  )


def _transcripts(
  models: RecipeMethods, waves: Sequence[np.ndarray]
) -> list[str]:
  """Transcripts by the CTC head; empty for less than 0.2 s."""
  long = [i for i, wave in enumerate(waves) if len(wave) >= models.rate // 5]
  heard = models.ctc_transcribe([waves[i] for i in long]) if long else []
  found = dict(zip(long, heard, strict=True))
  return [found.get(i, "") for i in range(len(waves))]
