"""Runs to compare: one file per sweep, `get_sweep(size)`.

It returns the config they share and, for each run, the fields that differ:
`{"config": "configs/ar.py:demo", "runs": [{"optimizer.learning_rate": 1e-3},
…]}`. `s02 sweep` trains them.
"""
