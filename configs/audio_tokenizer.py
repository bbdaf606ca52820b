"""Audio tokenizer: Encoder–VQ–Decoder over log-mel, 25 tokens/s, CTC.

  s02 train --config configs/audio_tokenizer.py:demo --config.corpus DIR \
    --workdir runs/audio_tokenizer

Sizes: `test` seconds on a CPU, `demo` minutes on one core, `mini` a quarter of
an hour on one core, `voice` hours, for open vocabulary at 24 kHz; for
accelerators `small`, `base` and `large`, on a corpus of 24 kHz or, as
`small-32khz`, of 32. Those take four epochs of 100,000 h; a step reads 1,024
rows of about 24 s of speech.
"""

from configs import common

# Blocks: at the mel rate, of the encoder (convolutions, attention), and of the
# decoder. Heads of the large sizes have 128 features, as the TPU's kernel asks.
_SIZES = {
  "test": dict(width=32, blocks=(1, 1, 1, 1), heads=2, codes=64, batch=4),
  "demo": dict(width=192, blocks=(1, 2, 1, 2), heads=4, codes=512, batch=10),
  "mini": dict(width=256, blocks=(1, 2, 1, 2), heads=4, codes=512, batch=4),
  "voice": dict(width=256, blocks=(1, 2, 2, 2), heads=4, codes=1024, batch=4),
  "small": dict(
    width=512, blocks=(2, 4, 4, 4), heads=4, codes=8192, batch=1024
  ),
  "base": dict(width=768, blocks=(3, 6, 6, 8), heads=6, codes=8192, batch=1024),
  "large": dict(
    width=1024, blocks=(4, 8, 8, 12), heads=8, codes=8192, batch=1024
  ),
}
_STEPS = {"test": 20, "demo": 600, "mini": 1200, "voice": 8000}
# Seconds of a row, into which utterances are packed.
_ROW = {"test": 4.0, "demo": 3.6, "mini": 12.8, "voice": 16.0}
_LARGE_ROW = 25.6
_SEGMENTS = {"test": 4, "demo": 3, "mini": 8, "voice": 8}
_EPOCHS, _ROW_SECONDS = 4, 24


def get_config(size: str = "demo"):
  """Config of one size."""
  size, rate = common.parse(size)
  s, large = _SIZES[size], common.large(size)
  mel_blocks, encoder_blocks, attention_layers, decoder_blocks = s["blocks"]
  config = common.base("audio_tokenizer", size)
  config.batch_size = s["batch"]
  config.steps = _STEPS.get(
    size, common.steps(_EPOCHS, config.batch_size * _ROW_SECONDS)
  )
  config.mel = common.mel(size, rate)
  config.model = dict(
    mel_bins=config.mel.bins,
    frames_per_token=common.frames_per_token(size),
    width=s["width"],
    mel_blocks=mel_blocks,
    encoder_blocks=encoder_blocks,
    attention_layers=attention_layers,
    heads=s["heads"],
    remat="full" if large else "none",
    decoder_blocks=decoder_blocks,
    ctc_blocks=2,
    num_codes=s["codes"],
    code_dim=16,
    speaker_width=256 if large else 64,
    speaker_layers=4 if large else 2,
    speaker_dim=8,
    vocab_size=common.integer(),  # from the corpus
    dtype=common.dtype(size),
  )
  config.data = dict(
    row_seconds=_ROW.get(size, _LARGE_ROW),
    max_segments=_SEGMENTS.get(size, 10),
    reference_seconds=3.0 if large else 2.0,
    alpha=common.MANY_LANGUAGES if large else 1.0,
  )
  config.loss = dict(
    ctc=1.0,
    commitment=0.25,
    # Share of the utterances whose voice the decoder is not told.
    voiceless=0.2,
    codebook_decay=0.98,
    restart_below=0.1,
  )
  config.optimizer.update(
    dict(learning_rate=4e-4 if large else 2e-3, b2=0.99, ema=0.995)
  )
  if size == "voice":
    config.optimizer.update(dict(learning_rate=1e-3, ema=0.998))
  if large:
    config.optimizer.update(dict(warmup=2000, ema=0.9999))
  return config
