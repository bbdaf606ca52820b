"""Ablation: speaker conditioning of the AR model (report, table 4).

  s02 ablate speaker-conditioning --corpus DIR --base runs/demo \
    --out runs/ablations/speaker_conditioning

Three runs of configs/ar.py, of any size, under its number of steps and its
seed: with the speaker encoder that learns with the model, with a fixed vector
of a speaker-verification model in its place, and with neither, so that the
voice comes from a prompt alone; every sequence of this one has a prompt. The
other stages are those of --base; flow matching has its own speaker encoder in
every row. resemblyzer must be installed.
"""

from configs import ar, common

_MEASURES = (
  {
    "measure": "wrong_text",
    "label": "Wrong text of 10 (DTW), %",
    "better": "lower",
    "percent": True,
  },
  {
    "measure": "asr_cer",
    "label": "CER (Whisper base), %",
    "better": "lower",
    "percent": True,
    "paper": ("WER zh, %",),
  },
  {
    "measure": "similarity",
    "label": "SIM (GE2E)",
    "better": "higher",
    "paper": ("SIM zh",),
  },
)


def get_ablation(size: str = "demo"):
  """Ablation of one size; the fields of `ablation_table.Ablation`."""
  config = ar.get_config(size)
  some = config.data.prompt_probability
  return {
    "config": f"configs/ar.py:{size}",
    "budget": {"steps": config.steps},
    "variants": {
      "encoder": _variant("encoder", some),
      "embedding": _variant("embedding", some),
      "prompt": _variant("none", 1.0),
    },
    "cases": 4 if size == "test" else 48,
    # Models as small as these speak more clearly from likely tokens.
    "synthesis": {} if common.large(size) else {"temperature": 0.3},
    "columns": _MEASURES,
    "rows": (
      {"label": "Ground truth", "variant": "ground_truth"},
      _row("Learnable encoder", "encoder", "zero", 1.252, 0.730),
      _row("Learnable encoder", "encoder", "one", 1.243, 0.746),
      _row("Fixed embedding", "embedding", "zero", 1.400, 0.746),
      _row("Fixed embedding", "embedding", "one", 1.704, 0.744),
      _row("Prompt only", "prompt", "one", 1.207, 0.726),
    ),
    "source": "table 4",
    "note": (
      "Ours: how often a clip is nearer to espeak-ng speaking another of ten"
      " texts (MFCC-DTW, all languages; chance 90 %), the character error rate"
      " of Whisper base on the first clips, and the cosine of GE2E"
      " embeddings to other clips of the speaker. The fixed embedding is GE2E"
      " too: in its rows the similarity is judged by what the model was given,"
      " and is biased in their favour."
    ),
  }


def _variant(kind: str, prompts: float):
  return {"model.speaker.kind": kind, "data.prompt_probability": prompts}


def _row(label: str, variant: str, shot: str, *figures: float):
  names = (name for column in _MEASURES for name in column.get("paper", ()))
  return {
    "label": f"{label}, {shot}-shot",
    "variant": variant,
    "recipe": f"{shot}_shot",
    "paper": dict(zip(names, figures, strict=True)),
  }
