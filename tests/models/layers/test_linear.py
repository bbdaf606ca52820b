"""Dense layers: the gradients that JAX would derive, in the kernel's layout."""

import jax
import jax.numpy as jnp
import numpy as np

from s02jax.models.layers.linear import product


def test_gradients_are_those_of_a_product():
  x, kernel, weight = (
    jax.random.normal(jax.random.key(i), shape)
    for i, shape in enumerate([(2, 5, 8), (8, 6), (2, 5, 6)])
  )

  def loss(multiply):
    return jax.value_and_grad(
      lambda x, kernel: jnp.sum(weight * jnp.sin(multiply(x, kernel))), (0, 1)
    )(x, kernel)

  (a, da), (b, db) = loss(product), loss(jnp.matmul)
  np.testing.assert_allclose(a, b, rtol=1e-6)
  for one, other in zip(da, db, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_kernels_gradient_in_low_precision_is_rounded_once():
  """A gradient summed over 256 positions is rounded once, at the end."""
  x, kernel, change = (
    jax.random.normal(jax.random.key(i), shape, jnp.bfloat16)
    for i, shape in enumerate([(4, 64, 8), (8, 6), (4, 64, 6)])
  )

  def gradient(multiply, x, kernel, change):
    _, back = jax.vjp(lambda k: multiply(x, k), kernel)
    return back(change)[0]

  ours = gradient(product, x, kernel, change)
  exact = gradient(
    jnp.matmul, *(y.astype(jnp.float32) for y in (x, kernel, change))
  )
  assert ours.dtype == jnp.bfloat16
  np.testing.assert_allclose(ours.astype(jnp.float32), exact, rtol=2**-8)


def test_a_single_row_is_the_row_among_others():
  x, kernel = (
    jax.random.normal(jax.random.key(i), shape)
    for i, shape in enumerate([(3, 1, 8), (8, 6)])
  )
  rows = jnp.stack([product(row[None], kernel)[0] for row in x])
  assert rows.shape == (3, 1, 6)
  np.testing.assert_allclose(rows, product(x, kernel), rtol=1e-5, atol=1e-6)
