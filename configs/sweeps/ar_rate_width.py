"""Sweep of the AR Transformer: learning rate against width.

  s02 sweep --sweep configs/sweeps/ar_rate_width.py:demo \
    --workdir runs/sweeps/ar_rate_width --config.corpus=DIR

Does the best rate fall as the model widens, and by how much? Compare
unseen/loss. Nine runs; `demo` takes nine times what the AR demo takes.
Sizes: `test`, `demo`, and `base` for accelerators.
"""

from s02jax.core.errors import UserError

# Heads keep their width, so only their number grows.
_WIDTHS = {
  "test": (dict(width=16, heads=1), dict(width=32, heads=2)),
  "demo": (
    dict(width=96, heads=2, hidden=288),
    dict(width=192, heads=4, hidden=576),
    dict(width=288, heads=6, hidden=864),
  ),
  "base": (
    dict(width=1024, heads=8, hidden=2816),
    dict(width=1536, heads=12, hidden=4096),
    dict(width=2048, heads=16, hidden=5632),
  ),
}
_RATES = {
  "test": (1e-3, 2e-3),
  "demo": (1e-3, 2e-3, 4e-3),
  "base": (1.5e-4, 3e-4, 6e-4),
}


def get_sweep(size: str = "demo"):
  """Runs of one size."""
  if size not in _WIDTHS:
    raise UserError(
      f"there is no size {size!r} of this sweep; give {', '.join(_WIDTHS)}."
    )
  runs = []
  for shape in _WIDTHS[size]:
    fields = {f"model.transformer.{k}": v for k, v in shape.items()}
    for rate in _RATES[size]:
      runs.append(fields | {"optimizer.learning_rate": rate})
  return {"config": f"configs/ar.py:{size}", "runs": runs}
