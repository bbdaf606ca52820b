"""Sweeps: one file each, `get_sweep(size)`.

It returns the config that the runs share and the fields in which each differs:
`{"config": "configs/ar.py:demo", "runs": [{"optimizer.learning_rate": 1e-3},
…]}`. `s02 sweep` trains them.
"""
