"""`python -m s02jax VERB`: the same as the console command `s02 VERB`."""

from s02jax import cli

cli.main()
