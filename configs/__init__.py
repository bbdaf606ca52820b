"""Configs of the stages: one file per stage, `get_config(size)`.

Sizes: `test` (seconds, what the tests run), `demo` (minutes on two cores),
`mini` (two hours on two cores), `base` (accelerators).
"""
