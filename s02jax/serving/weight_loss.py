"""Loss of quality by weights in fewer bits, measured on held-out clips."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from s02jax.audio.spectra import log_mel
from s02jax.bundle import Bundle
from s02jax.core import tensors
from s02jax.data import records
from s02jax.synthesis.synthesizer import Synthesizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
  """Figures of a bundle with whole and with stored weights."""

  clips: int  # held-out clips measured
  nats: float  # AR model's cost of a token, with the whole weights
  nats_stored: float  # AR model's cost of a token, with the stored weights
  mel: float  # mean |log-mel| difference of speech from the clips' tokens


def loss(bundle: Bundle, kind: str, corpus: pathlib.Path, clips: int) -> Loss:
  """Measures `reduced` weights on held-out clips.

  Args:
    bundle: with the whole weights.
    kind: how the weights are stored, see `tensors.pack`.
    corpus: folder of recordings.
    clips: most that are measured.

  Raises:
    UserError: no corpus, or one that holds out no clip.
  """
  held_out = records.held_out(corpus)
  chosen = np.random.default_rng(0).permutation(len(held_out))[:clips]
  items, waves = [], []
  for i in chosen.tolist():
    code = held_out.languages[held_out.language[i]]
    wave = held_out.wave(i)
    items.append((held_out.text(i), code, wave, wave))
    waves.append(wave)
  nats, mels = [], []
  for one in (bundle, reduced(bundle, kind)):
    synthesizer = Synthesizer(one)
    nats.append(synthesizer.ar_cost(items))
    tokens = synthesizer.tokenize(waves)
    spoken = synthesizer.from_tokens(tokens, waves)
    mel = synthesizer.tokenizer.mel
    mels.append(
      [np.array(log_mel(jnp.asarray(x)[None], mel))[0] for x in spoken]
    )
  gaps = [
    np.abs(a - b).mean() for a, b in zip(*mels, strict=True) if len(a) == len(b)
  ]
  return Loss(
    clips=len(waves),
    nats=nats[0],
    nats_stored=nats[1],
    mel=float(np.mean(gaps)),
  )


def reduced(bundle: Bundle, kind: str) -> Bundle:
  """Bundle with the weights that its export in this kind would have."""

  def again(x: np.ndarray) -> np.ndarray:
    stored, notes = tensors.pack({"x": x}, kind)
    return tensors.restore(stored, notes)["x"]

  def narrow(path, x):
    # Decoding stores every layer by itself, see `decode_weights`.
    if jax.tree_util.keystr(path, simple=True, separator="/").startswith(
      "params/stack/blocks"
    ):
      return np.stack([again(layer) for layer in x])
    return again(x)

  params = dict(bundle.params)
  params["ar"] = jax.tree_util.tree_map_with_path(narrow, params["ar"])
  for name in ("flow_matching", "flow_vae", "audio_tokenizer"):
    params[name] = jax.tree.map(again, params[name])
  return dataclasses.replace(bundle, params=params)
