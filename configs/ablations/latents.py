"""Ablation: latents of a plain VAE or of the Flow-VAE (report, table 6).

  s02 ablate latents --corpus DIR --base runs/demo \
    --out runs/ablations/latents [--vaes runs/ablations/resynthesis]

Two runs of configs/flow_matching.py, of any size, under its number of steps and
its seed, each on the latents of one autoencoder of `s02 ablate resynthesis`:
that of --vaes, or one trained first. Audio tokenizer and AR model are those of
--base.
"""

from configs import common, flow_matching

_MEASURES = (
  {
    "measure": "wrong_text",
    "label": "Wrong text of 10 (DTW), %",
    "better": "lower",
    "percent": True,
  },
  {
    "measure": "wrong_sentence",
    "label": "Wrong sentence of 10, English (pocketsphinx), %",
    "better": "lower",
    "percent": True,
  },
  {
    "measure": "asr_cer",
    "label": "CER (Whisper base), %",
    "better": "lower",
    "percent": True,
    "paper": ("WER zh, %", "WER en, %"),
  },
  {
    "measure": "similarity",
    "label": "SIM (GE2E)",
    "better": "higher",
    "paper": ("SIM zh", "SIM en"),
  },
)


def get_ablation(size: str = "demo"):
  """Ablation of one size; the fields of `ablation_table.Ablation`."""
  return {
    "config": f"configs/flow_matching.py:{size}",
    "budget": {"steps": flow_matching.get_config(size).steps},
    "variants": {"vae": {}, "flow_vae": {}},
    "cases": 4 if size == "test" else 48,
    # Models as small as these speak more clearly from likely tokens.
    "synthesis": {} if common.large(size) else {"temperature": 0.3},
    "columns": _MEASURES,
    "rows": (
      {"label": "Ground truth", "variant": "ground_truth"},
      _row("VAE", "zero", 0.753, 1.717, 0.747, 0.633),
      _row("Flow-VAE", "zero", 0.748, 1.639, 0.751, 0.639),
      _row("VAE", "one", 0.873, 2.242, 0.776, 0.707),
      _row("Flow-VAE", "one", 0.901, 2.231, 0.782, 0.709),
    ),
    "source": "table 6",
    "note": (
      "Ours: how often a clip is nearer to espeak-ng speaking another of ten"
      " texts (MFCC-DTW, all languages; chance 90 %), how often pocketsphinx"
      " recognises another of the ten (English; chance 90 %), the character"
      " error rate of Whisper base on the first clips, and the cosine of GE2E"
      " embeddings to other clips of the speaker."
    ),
  }


def _row(label: str, shot: str, *figures: float):
  names = (name for column in _MEASURES for name in column.get("paper", ()))
  return {
    "label": f"{label}, {shot}-shot",
    "variant": label.lower().replace("-", "_"),
    "recipe": f"{shot}_shot",
    "paper": dict(zip(names, figures, strict=True)),
  }
