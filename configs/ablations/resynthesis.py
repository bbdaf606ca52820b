"""Ablation: copies by a plain VAE or by the Flow-VAE (report, table 5).

  s02 ablate resynthesis --corpus DIR --out runs/ablations/resynthesis

Two runs of configs/flow_vae.py, of any size, under its number of steps and its
seed: with `flow_layers=0` the flow is the identity and the KL term that of a
plain VAE.
"""

from configs import flow_vae


def get_ablation(size: str = "demo"):
  """Ablation of one size; the fields of `ablation_table.Ablation`."""
  config = flow_vae.get_config(size)
  return {
    "config": f"configs/flow_vae.py:{size}",
    "budget": {"steps": config.steps},
    "variants": {
      "vae": {"model.flow_layers": 0},
      "flow_vae": {"model.flow_layers": config.model.flow_layers},
    },
    "cases": 4 if size == "test" else 48,
    "columns": (
      _column("self_sim", "SELF-SIM", "higher"),
      _column("prompt_sim", "PROMPT-SIM", "higher"),
      _column("nb_pesq", "NB-PESQ", "higher"),
      _column("wb_pesq", "WB-PESQ", "higher"),
      _column("stoi", "STOI", "higher"),
      _column("stft_loss", "MS-STFT loss", "lower"),
      {"measure": "kl", "label": "KL, nats a dimension", "better": "lower"},
    ),
    "rows": (
      {"label": "Ground truth", "variant": "ground_truth"},
      {
        "label": "VAE",
        "variant": "vae",
        "paper": _paper(0.980, 0.748, 4.27, 4.20, 0.993, 0.67),
      },
      {
        "label": "Flow-VAE",
        "variant": "flow_vae",
        "paper": _paper(0.986, 0.750, 4.34, 4.30, 0.993, 0.62),
      },
    ),
    "source": "table 5",
    "note": (
      "Ours: SELF-SIM and PROMPT-SIM are cosines of GE2E embeddings, and the"
      " MS-STFT loss is spectral convergence plus the difference of natural"
      " logarithms, over windows of 512, 1,024 and 2,048 samples at 16 kHz."
      " KL is what the latents cost at that sound, on crops: it has the same"
      " weight in both losses, and both are to be read together."
    ),
  }


_NAMES = ("SELF-SIM", "PROMPT-SIM", "NB-PESQ", "WB-PESQ", "STOI", "MS-STFT")


def _paper(*figures: float) -> dict[str, float]:
  return dict(zip(_NAMES, figures, strict=True))


def _column(measure: str, label: str, better: str):
  return {
    "measure": measure,
    "label": label,
    "better": better,
    "paper": (label.removesuffix(" loss"),),
  }
