"""Qwen3 checkpoints in the AR model: the same numbers, and none left over."""

import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from configs import ar as ar_config
from s02jax import sharding, stages
from s02jax.core.errors import UserError
from s02jax.pretrained.language_models import qwen3
from s02jax.pretrained.language_models.qwen3 import Checkpoint
from s02jax.text.tokenizer import TextModel, model_of_tokens
from s02jax.training import programs

CONFIG = {
  "hidden_size": 24,
  "num_hidden_layers": 2,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "head_dim": 8,  # not hidden_size / heads
  "intermediate_size": 40,
  "rope_theta": 1000000,
  "rms_norm_eps": 1e-6,
  "hidden_act": "silu",
  "attention_bias": False,
  "tie_word_embeddings": True,
}
WORDS = (b"th", b"the", b" the", b" c", b"at", b" cat", "é".encode(), b"\xc3")


def tensors_of(vocabulary: int) -> dict[str, np.ndarray]:
  """Random tensors of CONFIG, named and shaped as in a published file."""
  random, c = np.random.default_rng(0), CONFIG
  d, m, f = c["hidden_size"], c["intermediate_size"], c["head_dim"]
  q, k = (f * c[f"num_{x}_heads"] for x in ("attention", "key_value"))
  shapes = {
    "input_layernorm.weight": (d,),
    "self_attn.q_proj.weight": (q, d),
    "self_attn.k_proj.weight": (k, d),
    "self_attn.v_proj.weight": (k, d),
    "self_attn.o_proj.weight": (d, q),
    "self_attn.q_norm.weight": (f,),
    "self_attn.k_norm.weight": (f,),
    "post_attention_layernorm.weight": (d,),
    "mlp.gate_proj.weight": (m, d),
    "mlp.up_proj.weight": (m, d),
    "mlp.down_proj.weight": (d, m),
  }
  named = {
    f"model.layers.{i}.{name}": shape
    for i in range(c["num_hidden_layers"])
    for name, shape in shapes.items()
  }
  named |= {"model.embed_tokens.weight": (vocabulary, d)}
  named |= {"model.norm.weight": (d,)}
  made = {}
  for name, shape in named.items():
    x = random.normal(size=shape) * (shape[-1] ** -0.5 if shape[1:] else 0.2)
    made[name] = (x + ("norm" in name)).astype(ml_dtypes.bfloat16)
  return made


def write(folder, changes=None, config=None, shards=1):
  """Writes a checkpoint; returns the folder and its tensors."""
  folder.mkdir(parents=True, exist_ok=True)
  letters = {byte: letter for letter, byte in qwen3.byte_letters().items()}
  tokens = [bytes([b]) for b in range(256)]
  tokens += [t for t in WORDS if t not in tokens]
  vocab = {"".join(letters[b] for b in t): i for i, t in enumerate(tokens)}
  model = {"type": "BPE", "vocab": vocab, "merges": []}
  added = [{"id": len(tokens), "content": "<|endoftext|>"}]
  text = json.dumps({"model": model, "added_tokens": added})
  (folder / "tokenizer.json").write_text(text)
  (folder / "config.json").write_text(json.dumps(CONFIG | (config or {})))
  made = tensors_of(len(tokens) + 8) | (changes or {})
  made = {name: x for name, x in made.items() if x is not None}
  if shards == 1:
    safetensors.numpy.save_file(made, folder / "model.safetensors")
    return folder, made
  files = {
    name: f"model-{i % shards}.safetensors" for i, name in enumerate(made)
  }
  for file in set(files.values()):
    part = {name: made[name] for name in made if files[name] == file}
    safetensors.numpy.save_file(part, folder / file)
  index = json.dumps({"metadata": {}, "weight_map": files})
  (folder / "model.safetensors.index.json").write_text(index)
  return folder, made


def reference(made, ids) -> np.ndarray:
  """Logits float64 [s, v] of the published equations, for one row of ids."""
  c = CONFIG
  w = {name: x.astype(np.float64) for name, x in made.items()}
  heads, groups = c["num_attention_heads"], c["num_key_value_heads"]
  f, s = c["head_dim"], len(ids)

  def norm(x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale

  inverse = c["rope_theta"] ** -(np.arange(0, f, 2) / f)
  angles = np.arange(s)[:, None] * inverse[None]
  cos, sin = (np.concatenate([g(angles)] * 2, 1) for g in (np.cos, np.sin))

  def rotated(x):  # [s, h, f]
    half = np.concatenate([-x[..., f // 2 :], x[..., : f // 2]], -1)
    return x * cos[:, None] + half * sin[:, None]

  x = w["model.embed_tokens.weight"][ids]
  for i in range(c["num_hidden_layers"]):
    layer = {
      name.split(".", 3)[3].removesuffix(".weight"): value
      for name, value in w.items()
      if name.startswith(f"model.layers.{i}.")
    }
    y = norm(x, layer["input_layernorm"])
    q, k, v = (
      (y @ layer[f"self_attn.{n}_proj"].T).reshape(s, -1, f) for n in "qkv"
    )
    q = rotated(norm(q, layer["self_attn.q_norm"]))
    k = rotated(norm(k, layer["self_attn.k_norm"]))
    k, v = (np.repeat(z, heads // groups, axis=1) for z in (k, v))
    scores = np.einsum("shf,thf->hst", q, k) / np.sqrt(f)
    scores = np.where(np.tri(s, dtype=bool)[None], scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    out = np.einsum("hst,thf->shf", weights, v).reshape(s, -1)
    x = x + out @ layer["self_attn.o_proj"].T
    y = norm(x, layer["post_attention_layernorm"])
    gate = y @ layer["mlp.gate_proj"].T
    gate = gate / (1 + np.exp(-gate))
    x = x + (gate * (y @ layer["mlp.up_proj"].T)) @ layer["mlp.down_proj"].T
  return norm(x, w["model.norm.weight"]) @ w["model.embed_tokens.weight"].T


def stage_of(folder, corpus):
  """AR stage of the checkpoint's sizes, for a corpus with its text model."""
  checkpoint = Checkpoint(folder)
  tokens = checkpoint.tokens()
  data = model_of_tokens(sorted(tokens, key=tokens.__getitem__))
  corpus.mkdir()
  (corpus / "text.model").write_bytes(data)
  text = TextModel(data)
  config = ar_config.get_config("test")
  config.update(corpus=str(corpus), init_from=str(folder))
  config.model.update(
    text_size=text.size, speaker_id=text.speaker_id, text_rate=0.5,
    num_codes=12, rotary="position",
  )  # fmt: skip
  config.model.transformer.update(checkpoint.sizes())
  config.model.speaker.layers = 1
  return stages.make(config), text


@pytest.mark.parametrize("shards", [1, 3])
def test_a_state_begins_with_the_language_models_own_logits(tmp_path, shards):
  folder, made = write(tmp_path / "qwen", shards=shards)
  stage, text = stage_of(folder, tmp_path / "corpus")
  mesh = sharding.make_mesh(dict(data=2, fsdp=2, tensor=2))
  with jax.set_mesh(mesh):
    abstract = programs.abstract_state(stage, mesh)
    init = programs.init_program(stage, abstract)
    state = programs.begun(stage, init(jax.random.key(0)))
  params = jax.device_get(state.params)
  jax.tree.map(np.testing.assert_array_equal, params, jax.device_get(state.ema))

  tokens = Checkpoint(folder).tokens()
  ids = np.array(text.pieces("the cat thé"))
  rows = np.array([tokens[text.contents()[i]] for i in ids])
  assert len(ids) < 8 and tokens[b" the"] not in rows
  expected = reference(made, rows)

  @jax.jit
  def hidden(ids):
    ones = jnp.ones_like(ids)
    places = jnp.arange(ids.shape[1])[None]
    speakers = jnp.zeros((1, 1, stage.model_config.speaker.features))
    return stage.model.apply(
      {"params": params}, ids, ones, places, 0.0 * places, speakers,
      method="hidden",
    )  # fmt: skip

  table = made["model.embed_tokens.weight"].astype(np.float32)
  found = np.asarray(hidden(ids[None])[0]) @ table.T
  np.testing.assert_allclose(
    found, expected, atol=1e-4 * np.abs(expected).max()
  )
  # What the checkpoint has no row for is as large as what it has.
  fresh = params["embed"]["embedding"][text.size :]
  assert 0.8 < fresh.std() / table.std() < 1.25


def test_texts_are_cut_as_the_tokens_say(tmp_path):
  folder, _ = write(tmp_path / "qwen")
  tokens = Checkpoint(folder).tokens()
  assert b"<|endoftext|>" not in tokens and len(tokens) == 256 + 7
  text = TextModel(model_of_tokens(sorted(tokens, key=tokens.__getitem__)))

  def cut(string):
    return [text.contents()[i] for i in text.pieces(string)]

  assert cut("the cat") == [b"the", b" cat"]
  assert cut("thé") == [b"th", "é".encode()]
  assert cut("ü") == [b"\xc3", b"\xbc"]
  assert text.decode(text.pieces("in the cat, thé ü")) == "in the cat, thé ü"


@pytest.mark.parametrize(
  ("changes", "config", "complaint"),
  [
    ({"model.norm.weight": None}, {}, "lacks the tensor model.norm.weight"),
    (
      {"model.layers.2.mlp.up_proj.weight": np.zeros((40, 24), np.float32)},
      {},
      "has the tensor model.layers.2.mlp.up_proj.weight, for which",
    ),
    (
      {"model.layers.0.self_attn.q_proj.bias": np.zeros(32, np.float32)},
      {},
      "has the tensor model.layers.0.self_attn.q_proj.bias, for which",
    ),
    ({}, {"rms_norm_eps": 1e-5}, "rms_norm_eps 1e-05; only"),
    ({}, {"rope_scaling": {"type": "yarn"}}, "rope_scaling .*; only"),
  ],
)
def test_what_does_not_fit_is_one_sentence(
  tmp_path, changes, config, complaint
):
  folder, _ = write(tmp_path / "qwen", changes, config)
  with pytest.raises(UserError, match=complaint):
    Checkpoint(folder).weights()


def test_a_head_for_text_is_left_out(tmp_path):
  head = np.zeros((271, 24), np.float32)
  folder, _ = write(tmp_path / "qwen", {"lm_head.weight": head})
  paths = set(Checkpoint(folder).weights())
  assert {p for p in paths if "/" not in p} == {"embedding"}


def test_sizes_that_do_not_fit_are_one_sentence(tmp_path):
  folder, _ = write(tmp_path / "qwen")
  stage, _ = stage_of(folder, tmp_path / "corpus")
  with stage.config.unlocked():
    stage.config.model.transformer.hidden = 44
  other = stages.make(stage.config)
  state = jax.eval_shape(other.init_state, jax.random.key(0))
  with pytest.raises(UserError, match="mlp/.* begins from .*init_from"):
    programs.begun(other, state)
  with pytest.raises(UserError, match="cannot be read"):
    Checkpoint(tmp_path / "none").sizes()
