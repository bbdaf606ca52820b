"""Ablations of the report: one file each, `get_ablation(size)`.

It returns the config that the variants share, the fields in which each differs,
and the columns and rows of the table: the fields of
`s02jax.experiments.ablation_table.Ablation`. `s02 ablate` trains and compares
them.
"""
