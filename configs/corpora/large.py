"""Recognisers of large corpora: Whisper large-v3 and, by language, another.

The weights are fetched beforehand, into the libraries' caches or a folder
(`s02jax/pretrained/registry.py`); not run here, for want of them:

  s02 corpus build recordings --config configs/corpora/large.py --out corpus
"""

from ml_collections import ConfigDict

_SECOND = {
  "zh": "funasr:paraformer-zh",
  "yue": "funasr:iic/SenseVoiceSmall",
  "ja": "funasr:iic/SenseVoiceSmall",
  "ko": "funasr:iic/SenseVoiceSmall",
}


def get_config() -> ConfigDict:
  """Config of `data_pipelines.recordings.settings.Settings`."""
  config = ConfigDict()
  config.rate = 24_000
  first = "faster-whisper:large-v3"
  others = {"first": first, "second": "faster-whisper:medium"}
  config.heard = {"*": others | {"disagreement": 0.1}} | {
    code: {"first": first, "second": second, "disagreement": 0.1}
    for code, second in _SECOND.items()
  }
  config.least_quality = 2.4
  return config
