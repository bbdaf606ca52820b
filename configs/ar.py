"""AR Transformer with its speaker encoder: text and a voice to audio tokens.

  s02 train --config configs/ar.py:demo --config.corpus DIR --workdir runs/ar

The corpus needs `s02 text` and `s02 extract` first. Sizes: `test` seconds on a
CPU, `demo` (2.8 M parameters) minutes and `mini` (5.2 M) an hour on one core,
`base` (0.3 B) accelerators.
"""

from configs import common

_SIZES = {
  "test": dict(width=32, layers=2, heads=2, kv_heads=1, hidden=64, speaker=32),
  "demo": dict(
    width=192, layers=5, heads=4, kv_heads=2, hidden=576, speaker=128
  ),
  "mini": dict(
    width=256, layers=6, heads=4, kv_heads=2, hidden=704, speaker=128
  ),
  "base": dict(
    width=1024, layers=24, heads=16, kv_heads=4, hidden=2816, speaker=512
  ),
}
_STEPS = {"test": 20, "demo": 1450, "mini": 2800, "base": 500_000}
_BATCH = {"test": 2, "demo": 4, "mini": 2, "base": 256}
# A row holds the longest one-shot pair: two clips and their texts.
_ROW_TOKENS = {"test": 256, "demo": 256, "mini": 512, "base": 2048}
_SEGMENTS = {"test": 4, "demo": 4, "mini": 6, "base": 16}
_REFERENCE = {"test": 2.0, "demo": 2.0, "mini": 3.0, "base": 10.0}


def get_config(size: str = "demo"):
  """The experiment of one size."""
  common.check(size)
  s = _SIZES[size]
  config = common.base("ar", size)
  config.batch_size = _BATCH[size]
  config.steps = _STEPS[size]
  config.mel = common.mel(size)
  config.model = dict(
    text_size=common.integer(),  # from the text model
    speaker_id=common.integer(),  # from the text model
    text_rate=common.number(),  # from the corpus
    text_rates=(),  # of each language, from the corpus
    num_codes=common.integer(),  # from the extracted features
    mel_bins=config.mel.bins,
    transformer=dict(
      width=s["width"],
      layers=s["layers"],
      heads=s["heads"],
      kv_heads=s["kv_heads"],
      hidden=s["hidden"],
      remat="full" if size == "base" else "none",
      unroll=1 if size == "base" else s["layers"],
    ),
    speaker=dict(
      width=s["speaker"],
      layers=2 if size == "test" else 3 if size != "base" else 8,
      out=s["speaker"],
      join=2,
    ),
    dtype="bfloat16" if size == "base" else "float32",
  )
  config.data = dict(
    row_tokens=_ROW_TOKENS[size],
    max_segments=_SEGMENTS[size],
    reference_seconds=_REFERENCE[size],
    prompt_probability=0.5,
  )
  config.loss = dict(noise=0.1)
  config.optimizer.update(dict(learning_rate=2e-3, b2=0.98, ema=0.99))
  if size == "base":
    config.optimizer.update(
      dict(learning_rate=3e-4, warmup=5000, b2=0.95, ema=0.9999)
    )
    config.optimizer.weight_decay = 0.1
  return config
