"""Ablation: the reference before an emotive target (report, 4.1).

  s02 ablate emotion-reference --corpus DIR --base runs/demo \
    --out runs/ablations/emotion_reference

Three runs of configs/adapters/lora.py on the AR Transformer of BASE/bundle,
which differ in the clip that an emotive target is spoken after: neutral speech
of the speaker, any of it, or speech of the same emotion. The corpus is one with
the bundle's tokens and latents, as `s02 adapt emotion` leaves it in WORK/corpus
and `s02 adapt` would train on. At synthesis all are given neutral references.
"""

from configs import common

_MEASURES = (
  {
    "measure": "emotion",
    "label": "Emotion told by prosody, %",
    "better": "higher",
    "percent": True,
  },
  {"measure": "similarity", "label": "SIM (GE2E)", "better": "higher"},
  {
    "measure": "wrong_text",
    "label": "Wrong text of 10 (DTW), %",
    "better": "lower",
    "percent": True,
  },
)


def get_ablation(size: str = "demo"):
  """Ablation of one size; the fields of `ablation_table.Ablation`."""
  size, _ = common.parse(size)
  names = ("neutral", "random", "same")
  return {
    "config": "configs/adapters/lora.py:ar",
    "budget": {"steps": 2 if size == "test" else 300},
    "variants": {name: {"adapter.reference": name} for name in names},
    "cases": 2 if size == "test" else 8,
    "synthesis": {"temperature": 0.3},
    "columns": _MEASURES,
    "rows": (
      {"label": "Ground truth", "variant": "ground_truth"},
      {"label": "Base, no emotion", "variant": "base"},
      {"label": "Neutral reference", "variant": "neutral"},
      {"label": "Random reference", "variant": "random"},
      {"label": "Reference of the emotion", "variant": "same"},
    ),
    "source": "section 4.1, which has no figures",
    "note": (
      "Emotions are told by the nearest centroid of measured prosody (median"
      " and range of F0, pace, loudness, each against the speaker's neutral"
      " recording of the text), on speakers and texts that no adapter has seen."
      " The report found neutral references the most expressive, random ones"
      " the most robust, and those of the emotion bad."
    ),
  }
