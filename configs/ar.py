"""AR Transformer with its speaker encoder: text and a voice to audio tokens.

  s02 train --config configs/ar.py:demo --config.corpus DIR --workdir runs/ar

The corpus needs `s02 text` and `s02 extract` first. Sizes: `test` seconds on a
CPU, `demo` (2.8 M parameters) minutes and `mini` (5.2 M) an hour on one core,
`voice` (12 M) hours, for open vocabulary; for accelerators `small` (0.1 B),
`base` (0.5 B), `large` (1.5 B) and `xl` (7 B), on a corpus of 24 kHz or, as
`small-32khz`, of 32.

`qwen3_0_6b` has the sizes of a language model, whose text embeddings and layers
it begins with:

  s02 text --corpus DIR --checkpoint Qwen3-0.6B
  s02 train --config configs/ar.py:qwen3_0_6b --config.corpus DIR \
    --config.init_from Qwen3-0.6B --workdir runs/ar

The sizes for accelerators take three epochs of 100,000 h (2.7e10 audio tokens):
270, 54, 18 and 4 tokens a parameter. A step reads 1,024 rows of about 60 s of
speech. Learning rates fall with the size, as the field's language models have
them; a sweep on the corpus at hand is worth more.
"""

from ml_collections import config_dict

from configs import common

_SIZES = {
  "test": dict(width=32, layers=2, heads=2, kv_heads=1, hidden=64, speaker=32),
  "demo": dict(
    width=192, layers=5, heads=4, kv_heads=2, hidden=576, speaker=128
  ),
  "mini": dict(
    width=256, layers=6, heads=4, kv_heads=2, hidden=704, speaker=128
  ),
  "voice": dict(
    width=384, layers=7, heads=6, kv_heads=2, hidden=1024, speaker=160
  ),
  # Widths are multiples of 256, heads of 128: they fill the matrix units. A
  # hidden width of 2,048 costs a CPU more than 2,304: see docs/decisions.md.
  "small": dict(
    width=768, layers=12, heads=6, kv_heads=2, hidden=2304, speaker=512
  ),
  "base": dict(
    width=1536, layers=18, heads=12, kv_heads=4, hidden=4096, speaker=512
  ),
  "large": dict(
    width=2048, layers=32, heads=16, kv_heads=4, hidden=5632, speaker=768
  ),
  "xl": dict(
    width=4096, layers=32, heads=32, kv_heads=8, hidden=14336, speaker=1024
  ),
  "qwen3_0_6b": dict(
    width=1024,
    layers=28,
    heads=16,
    kv_heads=8,
    hidden=3072,
    speaker=768,
    head_dim=128,
    rope_base=1e6,
    rotary="position",
  ),
}
_TEXT_SIZE = {"qwen3_0_6b": 151_936}  # about; the text model says it
_STEPS = {"test": 20, "demo": 1450, "mini": 2800, "voice": 20_000}
_EPOCHS, _ROW_SECONDS = 3, 60
_LEARNING_RATE = {
  "small": 6e-4,
  "base": 4e-4,
  "large": 3e-4,
  "xl": 1.5e-4,
  "qwen3_0_6b": 1e-4,
}
_BATCH = {"test": 2, "demo": 4, "mini": 2, "voice": 2}
# A row holds the longest one-shot pair: two clips and their texts.
_ROW_TOKENS = {"test": 256, "demo": 256, "mini": 512, "voice": 1024}
_SEGMENTS = {"test": 4, "demo": 4, "mini": 6, "voice": 10}
_REFERENCE = {"test": 2.0, "demo": 2.0, "mini": 3.0, "voice": 4.0}
# Devices that share one copy of the state.
_FSDP = {"base": 8, "large": 16, "xl": 64, "qwen3_0_6b": 8}


def get_config(size: str = "demo"):
  """Config of one size."""
  size, rate = common.parse(size, tuple(_SIZES))
  s, large = _SIZES[size], common.large(size)
  config = common.base("ar", size)
  config.batch_size = _BATCH.get(size, 1024)
  config.steps = _STEPS.get(
    size, common.steps(_EPOCHS, config.batch_size * _ROW_SECONDS)
  )
  config.mesh.fsdp = _FSDP.get(size, 1)
  config.mel = common.mel(size, rate)
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
      head_dim=s.get("head_dim", 0),  # 0: width // heads
      hidden=s["hidden"],
      rope_base=s.get("rope_base", 10_000.0),
      remat="full" if large else "none",
      unroll=1 if large else s["layers"],
    ),
    speaker=dict(
      kind="encoder",
      width=s["speaker"],
      layers=8 if large else 2 if size == "test" else 3,
      out=s["speaker"],
      join=2,
    ),
    # Places that rotary pairs turn by: both (position and cursor) or position.
    rotary=s.get("rotary", "both"),
    dtype=common.dtype(size),
  )
  if size in _TEXT_SIZE:
    config.model.text_size = _TEXT_SIZE[size]
  # Folder of a Qwen3 checkpoint to begin from, whose sizes the model then has.
  config.init_from = config_dict.placeholder(str)
  config.data = dict(
    row_tokens=_ROW_TOKENS.get(size, 2048),
    max_segments=_SEGMENTS.get(size, 16),
    reference_seconds=_REFERENCE.get(size, 10.0),
    reference_shortest=2.0,
    # Share of references heard through a room, line or noise.
    reference_augmented=0.5 if large else 0.0,
    prompt_probability=0.5,
    alpha=common.MANY_LANGUAGES if large else 1.0,
  )
  # Small corpora would be recited without much noise.
  config.loss = dict(noise=0.02 if large else 0.1, chunk=512)
  config.optimizer.update(dict(learning_rate=2e-3, b2=0.98, ema=0.99))
  if size == "voice":
    config.loss.noise = 0.05
    config.optimizer.update(dict(learning_rate=1e-3, ema=0.998))
  if large:
    config.optimizer.update(
      dict(learning_rate=_LEARNING_RATE[size], warmup=1000, b2=0.95, ema=0.999)
    )
    config.optimizer.weight_decay = 0.1
  return config
