"""`python -m s02jax.bench`."""

import sys

from s02jax import bench, cli

sys.exit(cli.run(bench.main))
