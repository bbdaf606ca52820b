"""Tables of embeddings.

Shape letters: b batch, s positions, v rows of the table, d width.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from s02jax.sharding import shard


def look_up(
  table: Float[Array, "v d"], ids: Int[Array, "b s"]
) -> Float[Array, "b s d"]:
  """Rows of a table.

  On a mesh the table is gathered along d first: looked up in a table that is
  split along d, rows come split along d, and the partitioner has to make all of
  them whole to split them along b.
  """
  return jnp.take(shard(table, "vocab", "embed"), ids, axis=0)
