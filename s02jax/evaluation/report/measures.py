"""Measures of the report: names for people and for programs."""

import dataclasses
from collections.abc import Mapping

from s02jax.evaluation.figure import Figure
from s02jax.pretrained import dnsmos, signal

GROUND_TRUTH = "ground_truth"  # row of the recordings themselves
TRANSCRIBED_CASES = 6  # English cases of a split for `wer`, which is slow
QUALITY_CASES = 12  # cases of a split for `dnsmos`, which is slow too


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
  """Measure of one row: a column of the table."""

  name: str  # in metrics.json
  label: str  # on the page
  explanation: str  # on the page
  better: str  # "higher" or "lower"
  style: str  # "share" (per cent) or "number"
  relative: bool = True  # the share of the ground truth's is shown too
  left_out: str = ""  # sentence of a report without it, where there may be one
  # Figure of the recordings themselves from which on, for the worse, the judge
  # hears nothing, and its other figures say nothing.
  floor: float | None = None


MEASURES: tuple[Measure, ...] = (
  Measure(
    name="dtw_top1",
    label="Right text of 10",
    explanation=(
      "MFCC-DTW judge, any language: how often the audio is nearer to espeak-ng"
      " speaking its own text than to espeak-ng speaking nine other texts of"
      " like length. Chance is 10 %."
    ),
    better="higher",
    style="share",
    floor=0.2,
  ),
  Measure(
    name="sentence_choice",
    label="Right sentence, English",
    explanation=(
      "pocketsphinx, English only: how often it recognises the sentence among"
      " the same ten. Chance is 10 %."
    ),
    better="higher",
    style="share",
    floor=0.2,
  ),
  Measure(
    name="wer",
    label="WER, English",
    explanation=(
      "Word error rate of pocketsphinx with its whole dictionary, over the"
      f" first {TRANSCRIBED_CASES} English cases. It is a weak recogniser, and"
      " the demo's sentences are random words, which its language model does"
      " not expect: read it only beside the ground truth's."
    ),
    better="lower",
    style="number",
    relative=False,
    floor=0.9,
  ),
  Measure(
    name="ctc_cer",
    label="CTC CER (own head)",
    explanation=(
      "Character error rate of the audio tokenizer's own CTC head on the audio."
      " Not an independent judge: it was trained here, with these models."
    ),
    better="lower",
    style="number",
    relative=False,
    floor=0.9,
  ),
  Measure(
    name="similarity",
    label="Voice similarity",
    explanation=(
      "Cosine of GE2E speaker embeddings, against clips of the speaker that are"
      " not the judged one. Clips of a speaker are joined to about three"
      " seconds. Never compare it with cosines of another encoder."
    ),
    better="higher",
    style="number",
  ),
  Measure(
    name="nearest_speaker",
    label="Nearest of 16 voices",
    explanation=(
      "How often, by GE2E, the right speaker is the nearest of a line-up of 16."
      " Chance is 6 %."
    ),
    better="higher",
    style="share",
    left_out="The nearest of several voices is left out: there is one speaker.",
    floor=0.125,
  ),
  Measure(
    name="stoi",
    label="STOI",
    explanation=(
      "Short-time objective intelligibility against the recording, 0 to 1."
    ),
    better="higher",
    style="number",
    relative=False,
  ),
  Measure(
    name="pesq",
    label="WB-PESQ",
    explanation=(
      "Wide-band PESQ against the recording, 1.0 to 4.64. Only copies of the"
      " recording can be held against it."
    ),
    better="higher",
    style="number",
    relative=False,
    left_out=signal.NO_PESQ,
  ),
  Measure(
    name="spectral_distance",
    label="Spectral distance",
    explanation=(
      "Mean difference of the logarithmic spectra (base 10, three window"
      " lengths) from the recording's; 0.1 is 2 dB."
    ),
    better="lower",
    style="number",
    relative=False,
  ),
  Measure(
    name="dnsmos",
    label="DNSMOS",
    explanation=(
      "Overall quality by DNSMOS P.835, 1 to 5, of the first"
      f" {QUALITY_CASES} cases: what a network expects listeners to say of"
      " noise and distortion. It compares nothing with the recording, and hears"
      " neither words nor voices."
    ),
    better="higher",
    style="number",
    left_out=dnsmos.NOT_INSTALLED,
  ),
  Measure(
    name="ended",
    label="Ended by itself",
    explanation=(
      "How often the AR Transformer emitted its end token before the limit."
    ),
    better="higher",
    style="share",
    relative=False,
  ),
)


def shown(truth: Mapping[str, Figure]) -> list[Measure]:
  """Columns of a table whose ground truth has these figures."""
  without = left_out(truth)
  return [measure for measure in MEASURES if measure.name not in without]


def left_out(truth: Mapping[str, Figure]) -> dict[str, str]:
  """Columns that such a table lacks, and the sentence that says why.

  Their judge is not there, or fails on the recordings themselves.
  """
  found = {}
  for measure in MEASURES:
    if measure.name not in truth:
      found[measure.name] = measure.left_out
    elif _fails(measure, truth[measure.name].value):
      found[measure.name] = (
        f"{measure.label} is left out: its judge has"
        f" {truth[measure.name].value:.2f} on the recordings themselves."
      )
  return found


def _fails(measure: Measure, value: float | None) -> bool:
  """Whether a judge's figure for the recordings is at its floor."""
  if measure.floor is None or value is None:
    return False
  if measure.better == "higher":
    return value <= measure.floor
  return value >= measure.floor


# Diagnostics by name: label and explanation.
DIAGNOSTICS: dict[str, tuple[str, str]] = {
  "ctc_cer": (
    "Audio tokenizer: CTC character error rate",
    "Of its own head on the recordings: how much of the text the codes keep.",
  ),
  "codes_in_use": (
    "Audio tokenizer: share of codes in use",
    "Of the codebook, over the clips counted here.",
  ),
  "codes_tell_speaker": (
    "Audio tokenizer: the codes tell the speaker",
    "Share of clips whose histogram of codes is nearest to that of their"
    " speaker's other clips, among the speakers of their language. Codes of"
    " words alone would be at chance.",
  ),
  "codes_tell_speaker_chance": (
    "Audio tokenizer: the codes tell the speaker, by chance",
    "The share that guessing would give.",
  ),
  "ar_cost": (
    "AR: cost with the right text and reference",
    "Cross-entropy in nats an audio token.",
  ),
  "ar_wrong_reference": (
    "AR: a wrong reference costs, more",
    "Nats an audio token when another speaker is the reference."
    " Nothing would mean that the voice is not listened to.",
  ),
  "ar_wrong_text": (
    "AR: a wrong text costs, more",
    "Nats an audio token when another sentence is the text."
    " Nothing would mean that the text is not read.",
  ),
}
