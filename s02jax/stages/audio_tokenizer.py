"""Stage: the audio tokenizer (report §3.1).

Loss = |mel − mel̂|₁ + ctc · CTC per text token + commitment · (1 − cos(e, c))
     + distillation · (1 − cos(teacher's state, its guess from the codes)).

The last is for corpora that a frozen multilingual encoder has heard
(`s02 extract --teacher`), and 0 without.
The decoder hears another clip of each utterance's speaker. For a share of the
utterances it does not, and the codes alone have to do: what they then carry of
a voice (pitch, pace) is what the AR model has to hear in its own reference.
The codebook follows exponential averages of the vectors assigned to each code;
an unused code restarts at a random vector of the batch.

Shape letters: as in `models/audio_tokenizer.py`, but n samples; l text tokens
of a row.
"""

import dataclasses

import flax
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from s02jax import stages
from s02jax.audio import spectra
from s02jax.core.config import build
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND, samples, tokens
from s02jax.data import teacher_states
from s02jax.data.digest import corpus_digest
from s02jax.data.records import Corpus
from s02jax.data.rows.packed_utterances import SEPARATOR, PackedUtterances
from s02jax.data.teacher_states import TeacherStates
from s02jax.flops import kernel_flops
from s02jax.models.audio_tokenizer import (
  AudioTokenizer,
  AudioTokenizerConfig,
  init,
  normalise,
)
from s02jax.models.layers.convnext import lengths_to_mask
from s02jax.sharding import shard
from s02jax.stages.train_state import (
  OptimizerConfig,
  TrainState,
  accumulate,
  make_optimizer,
  step_key,
  update,
)
from s02jax.text.tokenizer import TextModel

_IMPOSSIBLE = -1e5  # logit of a label that must not occur, as in optax's CTC


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
  """Loss weights, and constants of the codebook's averages."""

  ctc: float = 0.5  # weight of the CTC loss per text token
  commitment: float = 0.25  # weight of the commitment loss
  distillation: float = 0.0  # weight of a teacher's states
  voiceless: float = 0.2  # share of the utterances decoded from codes alone
  codebook_decay: float = 0.98  # decay of the codebook's averages per step
  # A code of fewer average uses is dead, as a share of the mean over codes.
  restart_below: float = 0.1


@flax.struct.dataclass
class Codebook:
  """Codes and the exponential averages that they are computed from."""

  codes: Float[Array, "k c"]  # unit norm
  uses: Float[Array, "k"]  # average uses per step
  sums: Float[Array, "k c"]  # average sum of the vectors assigned


@flax.struct.dataclass
class State:
  """Training state: parameters trained by gradients, and the codebook."""

  train: TrainState
  codebook: Codebook

  @property
  def step(self):
    """Steps taken, int32 scalar."""
    return self.train.step


def move_codebook(
  codebook: Codebook,
  vectors: Float[Array, "b s c"],
  codes: Int[Array, "b s"],
  valid: Bool[Array, "b s"],
  key,
  config: LossConfig,
) -> Codebook:
  """Moves the averages by one step; dead codes restart at batch vectors.

  Args:
    codebook: codebook before the step.
    vectors: encoder outputs before quantisation.
    codes: code assigned to each of them.
    valid: positions that are not padding.
    key: random key of the restarts.
    config: decay and the threshold of dead codes.
  """
  k = codebook.codes.shape[0]
  one_hot = jax.nn.one_hot(codes, k) * valid[:, :, None]
  decay = config.codebook_decay
  uses = decay * codebook.uses + (1 - decay) * one_hot.sum((0, 1))
  sums = decay * codebook.sums + (1 - decay) * jnp.einsum(
    "bsk,bsc->kc", one_hot, vectors, precision=jax.lax.Precision.HIGHEST
  )
  least = config.restart_below * uses.mean()
  dead = ((uses < least) & valid.any())[:, None]
  fresh_uses = 2 * least
  fresh = vectors[spread_evenly(valid, k, key)]
  sums = jnp.where(dead, fresh_uses * fresh, sums)
  uses = jnp.where(dead[:, 0], fresh_uses, uses)
  return Codebook(codes=normalise(sums), uses=uses, sums=sums)


def spread_evenly(
  valid: Bool[Array, "b s"], k: int, key
) -> tuple[Int[Array, "k"], Int[Array, "k"]]:
  """Rows and places of k valid positions, as far apart as they can be.

  The first is random, the others follow in equal strides (systematic
  sampling): all differ where at least k are valid. Only the rows' counts and
  the rows of the chosen positions are read, so that no device has to sort the
  positions of all.
  """
  counts = valid.sum(1)
  before = jnp.cumsum(counts)
  total = jnp.maximum(before[-1], 1)
  # i · total / k, in integers that do not overflow.
  i = jnp.arange(k)
  rank = i * (total // k) + i * (total % k) // k
  rank = (rank + jax.random.randint(key, (), 0, total)) % total
  row = jnp.searchsorted(before, rank, side="right", method="compare_all")
  row = jnp.minimum(row, len(counts) - 1)  # where nothing is valid
  within = rank - (before - counts)[row]
  place = jnp.argmax(jnp.cumsum(valid[row], axis=1) > within[:, None], axis=1)
  return row, place


def separate(
  logits: Float[Array, "b s v"], segment: Int[Array, "b s"]
) -> Float[Array, "b s v"]:
  """Logits that force SEPARATOR between utterances of a row, and only there.

  With SEPARATOR between the texts, CTC then aligns every text with its own
  utterance: the loss of a row is the sum of the utterances' own losses.
  """
  between = (segment == 0)[..., None]
  separator = jnp.arange(logits.shape[-1]) == SEPARATOR
  impossible = jnp.where(between, ~separator, separator)
  logits = jnp.where(between, 0.0, logits)
  return jnp.where(impossible, _IMPOSSIBLE, logits)


def ctc_per_token(
  logits: Float[Array, "b s v"],
  segment: Int[Array, "b s"],
  text: Int[Array, "b l"],
  text_length: Int[Array, "b"],
) -> Float[Array, ""]:
  """CTC loss per text token, over the rows that have a text; see `separate`."""
  labels = lengths_to_mask(text_length, text.shape[1])
  ends = jnp.max(
    jnp.where(segment > 0, jnp.arange(1, segment.shape[1] + 1), 0), 1
  )
  losses = optax.ctc_loss(
    separate(logits, segment),
    1.0 - lengths_to_mask(ends, segment.shape[1]),
    text,
    1.0 - labels,
    blank_id=logits.shape[-1] - 1,
  )
  told = text_length > 0
  spoken = jnp.sum(labels & (text != SEPARATOR), axis=1)
  total = jnp.sum(jnp.where(told, losses, 0.0))
  return total / jnp.maximum(jnp.sum(jnp.where(told, spoken, 0)), 1)


def distance(
  guess: Float[Array, "b s o"],
  states: Float[Array, "b s o"],
  valid: Bool[Array, "b s"],
) -> Float[Array, ""]:
  """Mean of 1 − cosine between a teacher's states and their guesses."""
  states = jnp.where(valid[..., None], states, 0.0)
  cosine = jnp.sum(normalise(guess) * normalise(states), axis=-1)
  total = jnp.sum(jnp.where(valid, 1.0 - cosine, 0.0))
  return total / jnp.maximum(valid.sum(), 1)


class AudioTokenizerStage:
  """Stage that trains `AudioTokenizer` on packed utterances."""

  name = "audio_tokenizer"
  starts = ()

  def __init__(self, config):
    self.config = config
    self.model_config = build(AudioTokenizerConfig, config.model, "model")
    self.loss = build(LossConfig, config.loss, "loss")
    self.mel = build(spectra.LogMel, config.mel, "mel")
    self.optimizer_config = build(
      OptimizerConfig, config.optimizer, "optimizer"
    )
    self.model = AudioTokenizer(self.model_config)
    self.optimizer = make_optimizer(self.optimizer_config, config.steps)

  def rows(self, corpus: str, split: str, batch_size: int, seed: int):
    """Whole utterances, packed, with their text."""
    return PackedUtterances(
      Corpus.open(corpus, split),
      TextModel.load(f"{corpus}/text.model"),
      batch_size=batch_size,
      seed=seed,
      teacher=self._teacher(corpus, split),
      **self.config.data,
    )

  def _teacher(self, corpus: str, split: str) -> TeacherStates | None:
    """States that the corpus has of a teacher, where the model has a head."""
    if not self.model_config.teacher_dim:
      return None
    return TeacherStates.open(corpus, split)

  def batch_specs(self, batch_size: int) -> list[stages.Spec]:
    """Shapes of packed rows, all of one size."""
    data = self.config.data
    size = tokens(data.row_seconds)
    reference = samples(data.reference_seconds, self.mel.rate)
    features, more = self.model_config.teacher_dim, {}
    if features:
      more["teacher"] = (jnp.float32, size, features)
    return [
      stages.batch_spec(
        batch_size,
        wave=(jnp.float32, samples(data.row_seconds, self.mel.rate)),
        segment=(jnp.int32, size),
        told=(jnp.bool_, size),
        text=(jnp.int32, size),
        text_length=(jnp.int32,),
        references=(jnp.float32, data.max_segments, reference),
        reference_samples=(jnp.int32, data.max_segments),
        **more,
      )
    ]

  def init_state(self, key) -> State:
    """Random parameters and an empty codebook, which the first batch fills."""
    variables = init(self.model, key)
    codes = variables["codebook"]["codes"]
    return State(
      train=TrainState.create(variables["params"], self.optimizer),
      codebook=Codebook(
        codes=codes,
        uses=jnp.zeros(codes.shape[0]),
        sums=jnp.zeros_like(codes),
      ),
    )

  def speakers(self, variables, batch) -> Float[Array, "b p o"]:
    """Speaker vectors of the references of a batch."""
    b, p, n = batch["references"].shape
    samples = batch["reference_samples"].reshape(b * p)
    wave = batch["references"].reshape(b * p, n)
    wave = jnp.where(lengths_to_mask(samples, n), wave, 0.0)
    mel = spectra.log_mel(shard(wave, "batch", "time"), self.mel)
    mask = lengths_to_mask(samples // self.mel.hop, mel.shape[1])
    vectors = self.model.apply(variables, mel, mask, method="speaker")
    vectors = shard(vectors, "batch", None)
    return shard(vectors.reshape(b, p, -1), "batch", None, None)

  def losses(self, params, codes, batch):
    """Loss, its metrics, and the arguments of `move_codebook` as a dict."""
    mel = spectra.log_mel(batch["wave"], self.mel)
    variables = {"params": params, "codebook": {"codes": codes}}
    speakers = self.speakers(variables, batch)
    out = self.model.apply(variables, mel, batch["segment"], speakers)
    token_mask = batch["segment"] > 0
    untold = token_mask & ~batch["told"]
    untold = jnp.repeat(untold, self.model_config.frames_per_token, axis=1)
    error = jnp.where(untold[..., None], jnp.abs(out["mel"] - mel), 0.0)
    mel_l1 = error.sum() / jnp.maximum(untold.sum(), 1) / mel.shape[-1]
    ctc = ctc_per_token(
      out["text"], batch["segment"], batch["text"], batch["text_length"]
    )
    cosine = jnp.sum(
      out["vectors"] * jax.lax.stop_gradient(codes[out["codes"]]), axis=-1
    )
    commitment = jnp.sum(jnp.where(token_mask, 1.0 - cosine, 0.0)) / (
      jnp.maximum(token_mask.sum(), 1)
    )
    loss = mel_l1 + self.loss.ctc * ctc + self.loss.commitment * commitment
    metrics = {"mel_l1": mel_l1, "ctc": ctc, "commitment": commitment}
    if self.model_config.teacher_dim:
      unlike = distance(out["teacher"], batch["teacher"], token_mask)
      loss += self.loss.distillation * unlike
      metrics["distillation"] = unlike
    used = {
      "vectors": jax.lax.stop_gradient(out["vectors"]),
      "codes": out["codes"],
      "valid": token_mask,
    }
    return loss, (metrics | {"loss": loss}, used)

  def train_step(self, state: State, batch) -> tuple[State, dict]:
    """One pure training step of parameters and codebook."""
    key, silent = jax.random.split(step_key(self.config.seed, state.train.step))
    samples = batch["reference_samples"]
    silent = jax.random.bernoulli(silent, self.loss.voiceless, samples.shape)
    batch = batch | {"reference_samples": jnp.where(silent, 0, samples)}

    def gradients(microbatch):
      grads, (metrics, used) = jax.grad(self.losses, has_aux=True)(
        state.train.params, state.codebook.codes, microbatch
      )
      return grads, metrics, used

    grads, metrics, used = accumulate(gradients, batch, self.config.accumulate)
    train, step_metrics = update(
      state.train, grads, self.optimizer, self.optimizer_config.ema
    )
    moved = move_codebook(
      state.codebook,
      used["vectors"],
      used["codes"],
      used["valid"],
      key,
      self.loss,
    )
    skipped = step_metrics["skipped"] > 0
    codebook = jax.tree.map(
      lambda old, new: jnp.where(skipped, old, new), state.codebook, moved
    )
    return State(train=train, codebook=codebook), (
      metrics | step_metrics | self.usage(codebook.uses)
    )

  def usage(self, uses: Float[Array, "k"]) -> dict[str, Array]:
    """Share of the codes in use, and exp(entropy) of their uses."""
    share = uses / jnp.maximum(uses.sum(), 1e-9)
    entropy = -jnp.sum(share * jnp.log(jnp.maximum(share, 1e-9)))
    least = self.loss.restart_below * uses.mean()
    return {
      "codes_in_use": jnp.mean(uses > least),
      "code_perplexity": jnp.exp(entropy),
    }

  def eval_step(self, state: State, batch) -> dict:
    """Losses of the averaged parameters."""
    _, (metrics, _) = self.losses(state.train.ema, state.codebook.codes, batch)
    return metrics

  def inference_params(self, state: State) -> dict:
    """Variables of `AudioTokenizer.apply`, averaged."""
    return {
      "params": state.train.ema,
      "codebook": {"codes": state.codebook.codes},
    }

  def flops(self, batch, step=None) -> int:
    """FLOPs of the matrix products of any step."""
    del step
    b, n = batch["wave"].shape
    frames = b * n // self.mel.hop
    spoken = frames // self.model_config.frames_per_token
    params = jax.eval_shape(self.init_state, jax.random.key(0)).train.params
    speaker = dict(params.pop("speaker_encoder"))
    at_frames = ("encoder", "decoder", "to_mel")
    attention = self.model_config.attention
    scores = attention.layers * attention.width * spoken * (spoken // b)
    _, p, heard = batch["references"].shape
    joined = heard // self.mel.hop // 2
    return (
      sum(
        kernel_flops(tree, frames if name in at_frames else spoken)
        for name, tree in params.items()
      )
      + 12 * scores
      + kernel_flops(speaker.pop("out"), b * p)
      + kernel_flops(speaker, b * p * joined)
    )


def assume(config):
  """Fills the sizes of a usual large corpus and teacher."""
  config.model.vocab_size = 8192
  if config.loss.distillation:
    config.model.teacher_dim = 512
  return config


def resolve(config):
  """Fills the sizes of the text vocabulary and of a teacher's states.

  Raises:
    UserError: the corpus has not the rate of the mel spectrogram, the hop does
      not make TOKENS_PER_SECOND, or a teacher is wanted that the corpus lacks.
  """
  stages.check_rate(config, config.mel.rate)
  samples = config.mel.hop * config.model.frames_per_token
  if samples * TOKENS_PER_SECOND != config.mel.rate:
    raise UserError(
      f"config.mel.hop is {config.mel.hop}; with frames_per_token "
      f"{config.model.frames_per_token} and {config.mel.rate} Hz it must be "
      f"{config.mel.rate / TOKENS_PER_SECOND / config.model.frames_per_token:g}"
      f", so that there are {TOKENS_PER_SECOND} tokens a second."
    )
  config.model.vocab_size = TextModel.load(f"{config.corpus}/text.model").size
  if config.loss.distillation:
    card = teacher_states.read_card(config.corpus)
    config.model.teacher_dim = int(card["size"])
  config.corpus_digest = corpus_digest(config.corpus, "records", "text")
  return config
