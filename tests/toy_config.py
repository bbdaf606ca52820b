"""The toy stage's experiment."""

from configs import common


def get_config(size: str = "test"):
  del size
  config = common.base("tests.toy_stage:ToyStage", "test")
  config.corpus = "none"
  config.batch_size = 8
  config.steps = 12
  config.log_every = 1
  config.eval_every = 5
  config.eval_batches = 2
  config.checkpoint_every = 3
  config.model = dict(hidden=16)
  config.data = dict(poison=-1, hang=-1, unreadable=-1, unreadable_on=-1)
  config.optimizer.warmup = 2
  config.optimizer.ema = 0.9
  return config
