"""Flow matching: audio tokens and a voice to Flow-VAE latents.

  s02 train --config configs/flow_matching.py:demo --config.corpus DIR \
    --workdir runs/flow_matching

The corpus needs `s02 extract` first. Sizes: `test` seconds on a CPU, `demo`
minutes on one core, `mini` about an hour on one core, `base` accelerators.
"""

from configs import common

_SIZES = {
  "test": dict(width=32, layers=2, condition=32, speaker=32, steps=20),
  "demo": dict(width=160, layers=4, condition=192, speaker=96, steps=950),
  "mini": dict(width=192, layers=5, condition=224, speaker=128, steps=2500),
  "base": dict(
    width=1024, layers=20, condition=768, speaker=512, steps=600_000
  ),
}
_BATCH = {"test": 4, "demo": 16, "mini": 16, "base": 256}
_BUCKETS = {
  "test": (4.0,),
  "demo": (1.8, 2.6),
  "mini": (2.0, 3.2, 6.4),
  "base": (2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0),
}


def get_config(size: str = "demo"):
  """The resolved experiment of one size."""
  common.check(size)
  s = _SIZES[size]
  config = common.base("flow_matching", size)
  config.batch_size = _BATCH[size]
  config.steps = s["steps"]
  config.mel = common.mel(size)
  heads = max(2, s["width"] // 64)
  config.model = dict(
    transformer=dict(
      width=s["width"],
      layers=s["layers"],
      heads=heads,
      kv_heads=heads,
      hidden=s["width"] * 2,
      unroll=1 if size == "base" else s["layers"],
      remat="full" if size == "base" else "none",
    ),
    num_codes=common.integer(),  # from the extracted features
    channels=common.integer(),  # from the extracted features
    latents_per_token=common.integer(),  # from the extracted features
    mel_bins=config.mel.bins,
    condition_width=s["condition"],
    token_lookahead=(2, 2) if size != "base" else (2, 2, 0, 0),
    latent_lookahead=(2, 2) if size != "base" else (2, 2, 0, 0),
    speaker_width=s["speaker"],
    speaker_layers=2 if size == "test" else 3,
    speaker_dim=s["speaker"],
    dtype="bfloat16" if size == "base" else "float32",
  )
  config.data = dict(
    buckets=_BUCKETS[size],
    reference_seconds=10.0 if size == "base" else 2.0,
  )
  config.loss = dict(
    mean=1.0,
    scale=0.1,
    drop=0.15,
    prompt=0.5,
    prompt_share=0.6,
    chunk=50,
    chunked=0.3,
  )
  config.optimizer.update(dict(learning_rate=1.5e-3, b2=0.98, ema=0.995))
  if size == "base":
    config.optimizer.update(dict(learning_rate=2e-4, warmup=5000, ema=0.9999))
  return config
