"""Flow matching: audio tokens and a voice to Flow-VAE latents.

  s02 train --config configs/flow_matching.py:demo --config.corpus DIR \
    --workdir runs/flow_matching

The corpus needs `s02 extract` first. Sizes: `test` seconds on a CPU, `demo`
minutes on one core, `mini` about an hour on one core, `voice` hours, for open
vocabulary at 24 kHz; for accelerators `small` (0.1 B parameters), `base` (0.3
B) and `large` (0.6 B), on a corpus of 24 kHz or, as `small-32khz`, of 32. Those
take five epochs of 100,000 h; a step reads 2,048 rows of about 8 s.
"""

from configs import common

_SIZES = {
  "test": dict(width=32, layers=2, condition=32, speaker=32, steps=20),
  "demo": dict(width=160, layers=4, condition=192, speaker=96, steps=950),
  "mini": dict(width=192, layers=5, condition=224, speaker=128, steps=2500),
  "voice": dict(width=256, layers=5, condition=256, speaker=160, steps=16_000),
  # Widths are multiples of 256: they fill the matrix units.
  "small": dict(width=768, layers=10, condition=512, speaker=512),
  "base": dict(width=1024, layers=16, condition=768, speaker=512),
  "large": dict(width=1280, layers=22, condition=1024, speaker=768),
}
_EPOCHS, _ROW_SECONDS = 5, 8
_BATCH = {"test": 4, "demo": 16, "mini": 16, "voice": 8}
# Devices that share one copy of the state.
_FSDP = {"base": 8, "large": 16}
_BUCKETS = {
  "test": (4.0,),
  "demo": (1.8, 2.6),
  "mini": (2.0, 3.2, 6.4),
  "voice": (4.0, 8.0, 16.0),
}
# 128 to 1,024 latents, which the attention kernel's tiles divide. Rows are
# filled up, so that few lengths waste nothing.
_LARGE_BUCKETS = (2.56, 5.12, 10.24, 20.48)


def get_config(size: str = "demo"):
  """Config of one size."""
  size, rate = common.parse(size)
  s, large = _SIZES[size], common.large(size)
  config = common.base("flow_matching", size)
  config.batch_size = _BATCH.get(size, 2048)
  config.steps = s.get(
    "steps", common.steps(_EPOCHS, config.batch_size * _ROW_SECONDS)
  )
  config.mesh.fsdp = _FSDP.get(size, 1)
  config.mel = common.mel(size, rate)
  heads = s["width"] // 128 if large else max(2, s["width"] // 64)
  config.model = dict(
    transformer=dict(
      width=s["width"],
      layers=s["layers"],
      heads=heads,
      kv_heads=heads,
      hidden=s["width"] * 2,
      unroll=1 if large else s["layers"],
      remat="full" if large else "none",
    ),
    num_codes=common.integer(),  # from the extracted features
    channels=common.integer(),  # from the extracted features
    latents_per_token=common.integer(),  # from the extracted features
    mel_bins=config.mel.bins,
    condition_width=s["condition"],
    token_lookahead=(2, 2, 0, 0) if large else (2, 2),
    latent_lookahead=(2, 2, 0, 0) if large else (2, 2),
    speaker_width=s["speaker"],
    speaker_layers=2 if size == "test" else 3,
    speaker_dim=s["speaker"],
    dtype=common.dtype(size),
  )
  config.data = dict(
    buckets=_BUCKETS.get(size, _LARGE_BUCKETS),
    reference_seconds=15.0 if large else 4.0 if size == "voice" else 2.0,
    reference_shortest=2.0,
    # Share of references heard through a room, line or noise.
    reference_augmented=0.5 if large else 0.0,
    alpha=common.MANY_LANGUAGES if large else 1.0,
  )
  config.loss = dict(
    mean=1.0,
    scale=0.1,
    drop=0.15,
    cut=0.3,
    prompt=0.5,
    prompt_share=0.85,
  )
  config.optimizer.update(dict(learning_rate=1.5e-3, b2=0.98, ema=0.995))
  if size == "voice":
    config.optimizer.update(dict(learning_rate=1e-3, ema=0.998))
  if large:
    config.optimizer.update(dict(learning_rate=2e-4, warmup=2000, ema=0.9999))
  return config
