"""Sweep of flow matching: learning rate against the decay of the averages.

  s02 sweep --sweep configs/sweeps/flow_matching_rate.py:demo \
    --workdir runs/sweeps/flow_matching_rate --config.corpus=DIR

A higher rate makes noisier weights, which a longer average smooths: the two are
chosen together. Compare unseen/loss, which is measured on the average. Six
runs, of any size of configs/flow_matching.py.
"""

from configs import flow_matching


def get_sweep(size: str = "demo"):
  """Runs of one size: half, once and twice its learning rate."""
  optimizer = flow_matching.get_config(size).optimizer
  longer = 1 - (1 - optimizer.ema) / 4  # averages over four times the steps
  return {
    "config": f"configs/flow_matching.py:{size}",
    "runs": [
      {
        "optimizer.learning_rate": factor * optimizer.learning_rate,
        "optimizer.ema": round(ema, 6),
      }
      for factor in (0.5, 1, 2)
      for ema in (optimizer.ema, longer)
    ],
  }
