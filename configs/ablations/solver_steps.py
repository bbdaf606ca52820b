"""Ablation: steps of the flow-matching solver, by the teacher and by students.

  s02 ablate solver-steps --corpus DIR --base runs/demo \
    --out runs/ablations/solver_steps

Two runs of configs/distillation.py, of any size, on BASE/bundle: its students
of straight lines (Reflow) and of mean velocities. Each speaks in 1, 2 and 4
steps, the teacher in 1, 2, 4 and 16. The corpus is one with the bundle's tokens
and latents, such as the one that it was trained on.
"""

from configs import common, distillation

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
  },
  {"measure": "similarity", "label": "SIM (GE2E)", "better": "higher"},
  {
    "measure": "real_time_factor",
    "label": "Real-time factor",
    "better": "lower",
  },
)
_LABELS = {"teacher": "Teacher", "line": "Reflow", "mean": "Mean velocity"}
_STEPS = {"teacher": (16, 4, 2, 1), "line": (4, 2, 1), "mean": (4, 2, 1)}


def get_ablation(size: str = "demo"):
  """Ablation of one size; the fields of `ablation_table.Ablation`."""
  config = distillation.get_config(size)
  return {
    "config": f"configs/distillation.py:{size}",
    "budget": {"steps": config.steps},
    "variants": {
      "line": {"model.velocity": "line"},
      "mean": {"model.velocity": "mean"},
    },
    "cases": 4 if size == "test" else 48,
    # Models as small as these speak more clearly from likely tokens.
    "synthesis": {} if common.large(size) else {"temperature": 0.3},
    "columns": _MEASURES,
    "rows": (
      {"label": "Ground truth", "variant": "ground_truth"},
      *(
        {
          "label": f"{_LABELS[variant]}, steps: {steps}",
          "variant": variant,
          "recipe": "zero_shot",
          "steps": steps,
        }
        for variant, counts in _STEPS.items()
        for steps in counts
      ),
    ),
    "source": "",
    "note": (
      "How often a clip is nearer to espeak-ng speaking another of ten texts"
      " (MFCC-DTW, all languages; chance 90 %), the character error rate of"
      " Whisper base on the first clips, the cosine of GE2E embeddings to other"
      " clips of the speaker, and seconds of work a second of speech of all"
      " models together, all clips at once. Teacher and students say the same"
      " tokens."
    ),
  }
