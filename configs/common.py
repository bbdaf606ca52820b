"""Config fields that every stage has, and what follows from a size."""

from ml_collections import ConfigDict, config_dict

from s02jax.core.errors import UserError

# Sizes for a CPU, which train in seconds to an hour, and `voice` in a day; the
# others are for accelerators.
CPU_SIZES = ("test", "demo", "mini", "voice")
SIZES = (*CPU_SIZES, "small", "base", "large")

# Hours of the corpus that the sizes for accelerators are planned for. For
# another corpus multiply `config.steps` by its share of these.
HOURS = 100_000
# Balance of the languages where many differ in hours by orders of magnitude,
# see data/mixture.py: between that of the hours (1) and equal shares (0).
MANY_LANGUAGES = 0.4


def base(stage: str, size: str) -> ConfigDict:
  """Config with the loop's fields; the stage adds model, data and loss."""
  config = ConfigDict()
  # Name in `s02jax.stages`, or "module:Class".
  config.stage = stage
  # Folder that `s02 corpus` wrote.
  config.corpus = config_dict.placeholder(str)
  config.seed = 0
  # Fields that a run may go on with although other rows follow then, by name
  # and with commas: batch_size, seed, corpus_digest, or any of data.
  config.may_change = ""

  # Devices along each axis; -1 takes what the others leave.
  config.mesh = ConfigDict({"data": -1, "fsdp": 1, "sequence": 1, "tensor": 1})

  # Rows of one step, over all devices and hosts.
  config.batch_size = 8
  # Microbatches whose gradients are averaged into one step.
  config.accumulate = 1
  config.steps = 1000
  # Threads of each host that prepare rows.
  config.threads = 16 if large(size) else 2

  _add_intervals(config, size)

  # Seconds after which a step that does not end ends the run; 0 for never.
  config.stuck_seconds = 1800.0
  # Largest share of rows that may be unreadable, and are replaced by others.
  config.unreadable_share = 0.01

  config.model = ConfigDict()
  config.data = ConfigDict()
  config.loss = ConfigDict()
  config.optimizer = _optimizer()
  return config


def _add_intervals(config: ConfigDict, size: str) -> None:
  """Adds the steps between logs, evaluations, checkpoints and benchmarks."""
  # The last step is always logged, evaluated and kept. Runs for accelerators
  # take ten to a hundred thousand steps of a large state.
  config.log_every = 100 if large(size) else 10
  config.eval_every = 2000 if large(size) else 500
  config.checkpoint_every = 1000 if large(size) else 200
  # Minutes after which one is saved besides, at the next log; 0 for never.
  config.checkpoint_minutes = 30.0 if large(size) else 0.0
  # Batches of one evaluation, and the splits it reads.
  config.eval_batches = 4
  config.eval_splits = ("seen", "unseen")
  config.benchmark = ConfigDict(
    {
      # Steps between two runs of `s02 evaluate` behind the training; 0: none.
      "every": 0,
      # Finished bundle that lends the other models.
      "bundle": config_dict.placeholder(str),
      # Other arguments, such as "--benchmark minimax24 --data DIR"; see
      # s02jax/training/benchmark.py.
      "arguments": "",
      # Seconds after which an evaluation is stopped.
      "timeout": 6 * 3600.0,
    }
  )
  # Newest checkpoints kept.
  config.keep = 5 if large(size) else 2
  # Steps traced into WORKDIR/profile, after `start` steps; none where 0.
  config.profile = ConfigDict({"start": 0, "steps": 0})


def _optimizer() -> ConfigDict:
  """Fields of `stages.train_state.OptimizerConfig`."""
  return ConfigDict(
    {
      "learning_rate": 1e-3,
      # Steps of linear warm-up.
      "warmup": 100,
      "b1": 0.9,
      "b2": 0.99,
      "weight_decay": 0.01,
      # Largest global gradient norm.
      "clip": 1.0,
      # Decay of the averaged parameters, reached by a warm-up.
      "ema": 0.999,
      # Learning rate at the last step, as a share of the peak.
      "final_ratio": 0.1,
    }
  )


def large(size: str) -> bool:
  """True for a size for accelerators: bfloat16, scanned, recomputed."""
  return size not in CPU_SIZES


def parse(argument: str, sizes: tuple[str, ...] = SIZES) -> tuple[str, int]:
  """Parses `SIZE` or `SIZE-32khz` to a size and the corpus's rate in Hz.

  Raises:
    UserError: any other argument.
  """
  size, _, rate = argument.partition("-")
  if size in sizes and rate == "":
    return size, 24000 if large(size) or size == "voice" else 16000
  if size in sizes and rate == "32khz" and large(size):
    return size, 32000
  raise UserError(
    f"there is no size {argument!r}; the sizes are {', '.join(sizes)}, and "
    "those for accelerators also with -32khz."
  )


def steps(epochs: float, seconds: float) -> int:
  """Steps that read a corpus of HOURS some times, in whole hundreds.

  Args:
    epochs: times that every clip is read.
    seconds: speech of one step, padding not counted.
  """
  return max(round(HOURS * 3600 * epochs / seconds / 100), 1) * 100


def frames_per_token(size: str) -> int:
  """Log-mel frames of one audio token, at 25 tokens a second."""
  return 4 if large(size) else 2


def dtype(size: str) -> str:
  """Dtype of matrix products; parameters are float32 in every size."""
  return "bfloat16" if large(size) else "float32"


def integer():
  """Placeholder of an integer that `stages.resolve` fills from the corpus."""
  return config_dict.placeholder(int)


def number():
  """Placeholder of a number that `stages.resolve` fills from the corpus."""
  return config_dict.placeholder(float)


def mel(size: str, rate: int) -> ConfigDict:
  """Log-mel settings of a size at a rate in Hz, see `audio/spectra.py`."""
  hop = rate // (25 * frames_per_token(size))
  window = 4 * hop if large(size) else 2 * hop
  bins = 80 if rate <= 16000 else 100
  return ConfigDict(
    dict(rate=rate, hop=hop, window=window, bins=bins, floor=1e-3)
  )
