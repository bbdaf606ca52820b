"""Stage: AR Transformer and its speaker encoder, together (report 3.1, 3.2).

Loss = -sum w log p(target) / sum w, over audio tokens and END of packed rows.
The reference of a segment is another clip of its speaker; the only clip of a
speaker is read with a vector of zeros. A share of the audio tokens that the
model reads, a prompt's apart, is random, so that it cannot recite the training
set and has to read the text.

Evaluation computes the loss again with the reference of another segment, then
with its text: the differences, in nats per token, say how much the model takes
from each.

Shape letters: as in `models/ar.py`; n samples of a reference.
"""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from s02jax import stages
from s02jax.audio import spectra
from s02jax.core.config import build
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND, samples
from s02jax.data.digest import corpus_digest
from s02jax.data.features import Features, open_speaker_vectors
from s02jax.data.records import Corpus
from s02jax.data.rows.packed_sequences import PackedSequences
from s02jax.flops import kernel_flops
from s02jax.models import ar
from s02jax.models.layers.convnext import lengths_to_mask
from s02jax.pretrained.language_models import qwen3
from s02jax.pretrained.language_models.qwen3 import Checkpoint
from s02jax.sharding import shard
from s02jax.stages.losses import cross_entropy, weighted_mean
from s02jax.stages.train_state import (
  OptimizerConfig,
  TrainState,
  accumulate,
  make_optimizer,
  step_key,
  update,
)
from s02jax.text.tokenizer import TextModel


def next_real(real: Bool[Array, "n"]) -> Int[Array, "n"]:
  """Index of the next real item, cyclically."""
  order = jnp.argsort(~real, stable=True)
  rank = jnp.cumsum(real) - 1
  return order[(rank + 1) % jnp.maximum(real.sum(), 1)]


def swap_texts(
  ids: Int[Array, "b s"],
  segment: Int[Array, "b s"],
  position: Int[Array, "b s"],
  is_text: Bool[Array, "b s"],
  segments: int,
) -> Int[Array, "b s"]:
  """Replaces the text of every segment by that of the next one in the batch.

  The new text is cut or repeated to the length of the old one.

  Args:
    ids: tokens of packed rows.
    segment: number of each position's segment in its row, from 1; 0 is padding.
    position: place of each position in its segment.
    is_text: positions of text; in a segment they are consecutive.
    segments: most segments of a row.
  """
  s = ids.shape[1]
  member = segment[:, None] == jnp.arange(1, segments + 1)[None, :, None]
  text = member & is_text[:, None]  # [b, r, s]
  length = text.sum(2).reshape(-1)
  first = jnp.argmax(text, axis=2)
  row = jnp.arange(ids.shape[0])[:, None]
  start = (first + row * s).reshape(-1)  # into the flattened ids
  other = next_real(length > 0)
  mine = (jnp.maximum(segment - 1, 0) + row * segments).reshape(-1)
  flat_first = first.reshape(-1)
  offset = jnp.tile(jnp.arange(s)[None], (len(ids), 1)).reshape(-1)
  offset = offset - flat_first[mine]
  source = other[mine]
  place = start[source] + offset % jnp.maximum(length[source], 1)
  swapped = ids.reshape(-1)[place].reshape(ids.shape)
  return jnp.where(is_text, swapped, ids)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
  """Input noise of the AR model, and the chunk size of its loss."""

  noise: float = 0.1  # share of the audio read that is random tokens
  chunk: int = 512  # positions of a row whose logits exist at once


class ARStage:
  """Stage that trains `ARTransformer` on packed rows."""

  name = "ar"
  starts = ()

  def __init__(self, config):
    self.config = config
    self.model_config = build(ar.ARConfig, config.model, "model")
    self.loss = build(LossConfig, config.loss, "loss")
    self.mel = build(spectra.LogMel, config.mel, "mel")
    self.optimizer_config = build(
      OptimizerConfig, config.optimizer, "optimizer"
    )
    self.model = ar.ARTransformer(self.model_config)
    self.optimizer = make_optimizer(self.optimizer_config, config.steps)

  def rows(self, corpus: str, split: str, batch_size: int, seed: int):
    """Packed sequences; a segment may have another clip of its speaker."""
    opened = Corpus.open(corpus, split)
    return PackedSequences(
      **self.row_arguments(corpus, opened, batch_size, seed)
    )

  def row_arguments(
    self, corpus: str, opened: Corpus, batch_size: int, seed: int
  ) -> dict:
    """Arguments of `PackedSequences` for an opened split of a corpus."""
    return dict(
      corpus=opened,
      features=Features.open(corpus, opened.split),
      text=TextModel.load(f"{corpus}/text.model"),
      batch_size=batch_size,
      seed=seed,
      rate=self.model_config.rate,
      vectors=self._fixed_vectors(corpus, opened.split),
      **self.config.data,
    )

  @property
  def encodes(self) -> bool:
    """True where the model encodes references; else it is given vectors."""
    return self.model_config.speaker.kind == "encoder"

  def _fixed_vectors(self, corpus: str, split: str) -> np.ndarray | None:
    """Fixed speaker vectors f32[records, o]; None where the model encodes."""
    if self.encodes:
      return None
    if not self.model_config.speaker.features:
      return np.zeros((len(Corpus.open(corpus, split)), 0), np.float32)
    return open_speaker_vectors(corpus, split)

  def batch_specs(self, batch_size: int) -> list[stages.Spec]:
    """Shapes of packed rows, all of one size."""
    data = self.config.data
    s, m = data.row_tokens, data.max_segments
    n = samples(data.reference_seconds, self.mel.rate)
    speakers = {"references": (jnp.float32, m, n)}
    if not self.encodes:
      features = self.model_config.speaker.features
      speakers = {"speaker_vectors": (jnp.float32, m, features)}
    spec = stages.batch_spec(
      batch_size,
      **dict.fromkeys(
        ("ids", "segment", "position", "prompt", "target"), (jnp.int32, s)
      ),
      **dict.fromkeys(("weight", "cursor"), (jnp.float32, s)),
      reference_samples=(jnp.int32, m),
      **speakers,
    )
    return [spec]

  def init_state(self, key) -> TrainState:
    """State with random parameters."""
    variables = ar.init(self.model, key)
    return TrainState.create(variables["params"], self.optimizer)

  def beginning(self) -> dict[str, np.ndarray]:
    """Parameters by path that a checkpoint gives, config.init_from; or none.

    Codes, controls and the projected voice begin as large as its embeddings.
    """
    if not self.config.get("init_from"):
      return {}
    checkpoint = Checkpoint(pathlib.Path(self.config.init_from))
    made = checkpoint.weights()
    rows = made.pop("embedding")
    text = TextModel.load(f"{self.config.corpus}/text.model")
    cfg, seed = self.model_config, self.config.seed
    made["embed/embedding"] = qwen3.embedding(
      text.contents(), checkpoint.tokens(), rows, cfg.num_codes, seed
    )
    if cfg.speaker.features:
      shape = (cfg.speaker.features, cfg.transformer.width)
      fresh = np.random.default_rng(seed + 1).normal(size=shape)
      scale = rows.std() * shape[0] ** -0.5
      made["speaker_in/kernel"] = (scale * fresh).astype(np.float32)
    return made

  def speakers(self, params, batch) -> Float[Array, "b r o"]:
    """Speaker vectors of the references of a batch."""
    if not self.encodes:
      return shard(batch["speaker_vectors"], "batch", None, None)
    b, r, n = batch["references"].shape
    samples = batch["reference_samples"].reshape(b * r)
    wave = batch["references"].reshape(b * r, n)
    wave = jnp.where(lengths_to_mask(samples, n), wave, 0.0)
    wave = shard(wave, "batch", "time")
    mel = spectra.log_mel(wave, self.mel)
    mask = lengths_to_mask(samples // self.mel.hop, mel.shape[1])
    vectors = self.model.apply({"params": params}, mel, mask, method="speaker")
    vectors = shard(vectors, "batch", None)
    return shard(vectors.reshape(b, r, -1), "batch", None, None)

  def measure(self, params, batch, ids, speakers) -> tuple[Array, Array]:
    """Loss and accuracy, means over the target tokens.

    Args:
      params: parameters of the model.
      batch: packed rows.
      ids: tokens to read, int32 [b, s].
      speakers: speaker vectors [b, r, o], one per segment.
    """
    variables = {"params": params}
    hidden = self.model.apply(
      variables,
      ids,
      batch["segment"],
      batch["position"],
      batch["cursor"],
      speakers,
      method="hidden",
    )

    def head(x):
      return self.model.apply(variables, x, method="logits")

    nats, hits = cross_entropy(head, hidden, batch["target"], self.loss.chunk)
    weight = batch["weight"]
    return weighted_mean(nats, weight), weighted_mean(hits, weight)

  def nats(self, params, batch) -> tuple[Array, Array]:
    """Loss and accuracy of a batch with its own texts and references."""
    speakers = self.speakers(params, batch)
    return self.measure(params, batch, batch["ids"], speakers)

  def prepared(self, batch, key=None) -> dict:
    """Batch with noise in its input; without a key as it is evaluated."""
    if key is None:
      return batch
    return batch | {"ids": self.corrupt(key, batch["ids"], batch["prompt"])}

  def objective(
    self, params, batch, vector: Float[Array, "o"] | None = None
  ) -> tuple[Array, dict]:
    """Loss and metrics of a prepared batch.

    Args:
      params: parameters of the model.
      batch: result of `prepared`.
      vector: speaks all segments, in place of their references.
    """
    if vector is None:
      nats, accuracy = self.nats(params, batch)
    else:
      shape = (*batch["reference_samples"].shape, len(vector))
      speakers = jnp.broadcast_to(vector, shape)
      nats, accuracy = self.measure(params, batch, batch["ids"], speakers)
    return nats, {"loss": nats, "accuracy": accuracy}

  def weight(self, batch) -> Array:
    """Weight of a batch in an average of losses: its target tokens."""
    return batch["weight"].sum()

  def corrupt(self, key, ids, prompt) -> Int[Array, "b s"]:
    """Replaces a share of the audio tokens, `loss.noise`, by random ones.

    Args:
      key: of the draws.
      ids: joint ids, int32 [b, s].
      prompt: above 0 where a prompt's audio is, which stays as it is: nobody
        draws it.
    """
    cfg = self.model_config
    first, second = jax.random.split(key)
    chosen = jax.random.bernoulli(first, self.loss.noise, ids.shape)
    random = jax.random.randint(second, ids.shape, 0, cfg.num_codes)
    chosen &= (ids >= cfg.text_size) & (prompt == 0)
    return jnp.where(chosen, random + cfg.text_size, ids)

  def train_step(self, state: TrainState, batch) -> tuple[TrainState, dict]:
    """One pure training step on packed rows."""
    batch = self.prepared(batch, step_key(self.config.seed, state.step))

    def gradients(micro):
      return jax.grad(self.objective, has_aux=True)(state.params, micro)

    grads, metrics = accumulate(
      gradients, batch, self.config.accumulate, weight=self.weight
    )
    state, step_metrics = update(
      state, grads, self.optimizer, self.optimizer_config.ema
    )
    return state, metrics | step_metrics

  def eval_step(self, state: TrainState, batch) -> dict:
    """Loss of the averaged parameters, and what wrong conditions add to it."""
    cfg, ids = self.model_config, batch["ids"]
    speakers = self.speakers(state.ema, batch)
    b, r, o = speakers.shape
    real = batch["reference_samples"].reshape(b * r) > 0
    wrong = speakers.reshape(b * r, o)[next_real(real)].reshape(b, r, o)
    # [speaker] and [language] stand at positions 0 and 1
    before_audio = (ids < cfg.text_size) & (batch["weight"] == 0)
    is_text = before_audio & (batch["position"] > 1) & (batch["segment"] > 0)
    other = swap_texts(ids, batch["segment"], batch["position"], is_text, r)

    right, accuracy = self.measure(state.ema, batch, ids, speakers)
    reference, _ = self.measure(state.ema, batch, ids, wrong)
    text, _ = self.measure(state.ema, batch, other, speakers)
    return {
      "loss": right,
      "accuracy": accuracy,
      "wrong_reference_cost": reference - right,
      "wrong_text_cost": text - right,
    }

  def inference_params(self, state: TrainState) -> dict:
    """Variables of `ARTransformer.apply`, averaged."""
    return {"params": state.ema}

  def flops(self, batch, step=None) -> float:
    """FLOPs of the matrix products of any step; causal scores as half."""
    del step
    cfg = self.model_config.transformer
    b, s = batch["ids"].shape
    r = batch["reference_samples"].shape[1]
    params = jax.eval_shape(self.init_state, jax.random.key(0)).params
    total = float(
      kernel_flops((params["stack"], params["head"]), b * s)
      + kernel_flops(params.get("speaker_in", {}), b * r)
      + 6 * cfg.layers * b * s * s * cfg.heads * cfg.head_dim
    )
    if not self.encodes:
      return total
    samples = batch["references"].shape[2]
    joined = samples // self.mel.hop // self.model_config.speaker.join
    speaker = params["speaker_encoder"]
    return (
      total
      + kernel_flops((speaker["body"], speaker["pool_scores"]), b * r * joined)
      + kernel_flops(speaker["out"], b * r)
    )


def text_rates(corpus: Corpus) -> tuple[float, tuple[tuple[str, float], ...]]:
  """Text pieces per audio token: over all records, and by language code.

  Raises:
    UserError: no record has a text.
  """
  pieces = corpus.text_tokens.astype(int) - 1
  tokens = corpus.num_samples // (corpus.rate // TOKENS_PER_SECOND)

  def rate(records) -> float:
    return round(float(pieces[records].sum() / tokens[records].sum()), 4)

  spoken = (pieces > 0) & (tokens > 0)
  if not spoken.any():
    raise UserError(
      f"no record of {corpus.folder} has a text: the AR model needs some."
    )
  of = {
    code: spoken & (corpus.language == number)
    for number, code in enumerate(corpus.languages)
  }
  rates = tuple((c, rate(records)) for c, records in of.items() if any(records))
  return rate(spoken), rates


def assume(config):
  """Fills the vocabularies and rates of a usual large corpus."""
  size = config.model.text_size or 8192
  config.model.update(
    text_size=size, speaker_id=1, text_rate=0.3, num_codes=8192
  )
  return config


def resolve(config):
  """Fills the sizes of the text and audio vocabularies, and the text rates."""
  stages.check_rate(config, config.mel.rate)
  if config.get("init_from"):
    sizes = Checkpoint(pathlib.Path(config.init_from)).sizes()
    config.model.transformer.update(sizes)
    config.model.rotary = "position"
  text = TextModel.load(f"{config.corpus}/text.model")
  card = Features.open(config.corpus, "train").card
  config.model.text_size = text.size
  config.model.speaker_id = text.speaker_id
  overall, each = text_rates(Corpus.open(config.corpus, "train"))
  config.model.text_rate, config.model.text_rates = overall, each
  config.model.num_codes = card["num_codes"]
  config.features = stages.feature_sources(card, "audio_tokenizer")
  config.corpus_digest = corpus_digest(
    config.corpus, "records", "text", "features"
  )
  return config
