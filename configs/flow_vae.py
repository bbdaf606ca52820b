"""Flow-VAE: waveform autoencoder with a normalizing flow in its KL term.

  s02 train --config configs/flow_vae.py:demo --config.corpus DIR \
    --workdir runs/flow_vae

Sizes: `test` seconds on a CPU, `demo` minutes on one core, `mini` a quarter of
an hour on one core, `voice` hours, at 24 kHz; for accelerators `small`, `base`
and `large`, on a corpus of 24 kHz or, as `small-32khz`, of 32; those take two
epochs of 100,000 h. Adversarial losses start after `loss.adversarial_start`
steps: earlier they lose to plain regression at equal time.
"""

from configs import common

_SIZES = {
  "test": dict(
    width=32, blocks=2, fine=1, channels=16, flow=2, batch=2, steps=20
  ),
  "demo": dict(
    width=256, blocks=4, fine=1, channels=64, flow=4, batch=4, steps=1400
  ),
  "mini": dict(
    width=320, blocks=6, fine=1, channels=64, flow=4, batch=4, steps=2200
  ),
  "voice": dict(
    width=320, blocks=6, fine=1, channels=64, flow=4, batch=4, steps=16_000
  ),
  "small": dict(width=512, blocks=6, fine=1, channels=64, flow=8, batch=512),
  "base": dict(width=768, blocks=8, fine=2, channels=64, flow=8, batch=512),
  "large": dict(width=1024, blocks=12, fine=2, channels=64, flow=8, batch=512),
}
_EPOCHS = 2
# Step of the first adversarial update (demo and mini end before it), and the
# discriminators' widths.
_ADVERSARIAL = {
  "test": (10, (4, 8), 4),
  "demo": (1700, (8, 16, 32), 8),
  "mini": (3000, (16, 32, 64), 12),
  "voice": (10_000, (16, 32, 64), 12),
}
_LARGE_ADVERSARIAL = (50_000, (32, 128, 512, 1024), 32)


def get_config(size: str = "demo"):
  """Config of one size."""
  size, rate = common.parse(size)
  s, large = _SIZES[size], common.large(size)
  start, period_channels, spectral_channels = _ADVERSARIAL.get(
    size, _LARGE_ADVERSARIAL
  )
  config = common.base("flow_vae", size)
  config.batch_size = s["batch"]
  # Latent frames of a crop, 50 a second: about as many as encoder and vocoder
  # see around one.
  frames = 128 if large else 64
  seconds = config.batch_size * frames / 50
  config.steps = s.get("steps", common.steps(_EPOCHS, seconds))
  config.rate = common.integer()  # from the corpus
  hop = rate // 50
  config.model = dict(
    hop=hop,
    encoder_window=2 * hop,
    decoder_split=2,
    decoder_window=2 * hop,
    channels=s["channels"],
    encoder_width=s["width"],
    encoder_blocks=s["blocks"] // 2 + s["fine"],
    decoder_width=s["width"],
    decoder_lookahead=(3, 3) + (0,) * (s["blocks"] - 2),
    decoder_fine_lookahead=(0,) * s["fine"],
    flow_layers=s["flow"],
    flow_width=16 if size == "test" else 128,
    dtype=common.dtype(size),
  )
  config.discriminators = dict(
    periods=(2, 3) if size == "test" else (2, 3, 5, 7, 11),
    period_channels=period_channels,
    windows=(512, 256) if size == "test" else (2048, 1024, 512),
    spectral_channels=spectral_channels,
    dtype=common.dtype(size),
  )
  config.data = dict(
    crop_samples=frames * hop,
    alpha=common.MANY_LANGUAGES if large else 1.0,
  )
  config.loss = dict(
    windows=(2048, 1024, 512, 256),
    mel_bins=(80, 80, 40, 20),
    mel=1.0,
    complex=1.0,
    kl=0.02,
    adversarial=0.1,
    matching=0.5,
    adversarial_start=start,
    dither=1e-4,
  )
  config.optimizer.update(
    dict(learning_rate=1e-3, warmup=200, b1=0.8, b2=0.99, ema=0.998)
  )
  if size == "voice":
    config.optimizer.update(dict(learning_rate=7e-4, ema=0.999))
  if large:
    config.optimizer.update(dict(learning_rate=3e-4, warmup=2000, ema=0.9999))
  return config
