"""Audio tokenizer: Encoder–VQ–Decoder over log-mel, 25 tokens/s, CTC.

  s02 train --config configs/audio_tokenizer.py:demo --config.corpus DIR \
    --workdir runs/audio_tokenizer

Sizes: `test` seconds on a CPU, `demo` minutes on one core, `mini` a quarter of
an hour on one core; for accelerators `small`, `base` and `large`, on a corpus
of 24 kHz or, as `small-32khz`, of 32. Those take four epochs of 100,000 h; a
step reads 1,024 rows of about 24 s of speech.
"""

from configs import common

_SIZES = {
  "test": dict(width=32, blocks=(1, 1, 1), codes=64, batch=4, steps=20),
  "demo": dict(width=192, blocks=(1, 4, 2), codes=512, batch=10, steps=600),
  "mini": dict(width=256, blocks=(1, 4, 2), codes=512, batch=4, steps=1200),
  "small": dict(width=512, blocks=(2, 8, 4), codes=8192, batch=1024),
  "base": dict(width=768, blocks=(3, 12, 8), codes=8192, batch=1024),
  "large": dict(width=1024, blocks=(4, 16, 12), codes=8192, batch=1024),
}
# Seconds of a row, into which utterances are packed.
_ROW = {"test": 4.0, "demo": 3.6, "mini": 12.8}
_LARGE_ROW = 25.6
_EPOCHS, _ROW_SECONDS = 4, 24


def get_config(size: str = "demo"):
  """Config of one size."""
  size, rate = common.parse(size)
  s, large = _SIZES[size], common.large(size)
  mel_blocks, encoder_blocks, decoder_blocks = s["blocks"]
  config = common.base("audio_tokenizer", size)
  config.batch_size = s["batch"]
  config.steps = s.get(
    "steps", common.steps(_EPOCHS, config.batch_size * _ROW_SECONDS)
  )
  config.mel = common.mel(size, rate)
  config.model = dict(
    mel_bins=config.mel.bins,
    frames_per_token=common.frames_per_token(size),
    width=s["width"],
    mel_blocks=mel_blocks,
    encoder_blocks=encoder_blocks,
    decoder_blocks=decoder_blocks,
    ctc_blocks=2,
    num_codes=s["codes"],
    code_dim=16,
    vocab_size=common.integer(),  # from the corpus
    dtype=common.dtype(size),
  )
  config.data = dict(
    row_seconds=_ROW.get(size, _LARGE_ROW),
    alpha=common.MANY_LANGUAGES if large else 1.0,
  )
  config.loss = dict(
    ctc=1.0, commitment=0.25, codebook_decay=0.98, restart_below=0.03
  )
  config.optimizer.update(
    dict(learning_rate=4e-4 if large else 2e-3, b2=0.99, ema=0.995)
  )
  if large:
    config.optimizer.update(dict(warmup=2000, ema=0.9999))
  return config
