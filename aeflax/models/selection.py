"""The n-th largest of values, found by counting: over a batch that is spread over devices, or of each example."""

import jax
import jax.numpy as jnp
from jax import lax

from aeflax.outputs import BatchMean

BITS = 31  # of a non-negative float32
# A share is met where the count is exact and the division by the number of examples rounds by a unit or two.
SLACK = 1.0 - 2.0**-22


def largest(values: jax.Array, share: jax.Array, mean: BatchMean) -> tuple[jax.Array, jax.Array]:
    """Marks the largest of non-negative float32 values [B, ...] over the whole batch.

    Non-negative floats order as their bits do, so that the threshold is found bit by bit, the highest first, each by
    one mean over the batch: the same on any number of devices, without a value leaving its own.

    Args:
      values: of the device's examples.
      share: what the mean of the marked ones must reach, positive.
      mean: of marks [B, ...], 0 or 1, over all that are compared with each other; [...] where several selections are
        made at once, such as one a unit. Padding has no part in it.

    Returns:
      Marks [B, ...], 0 or 1, ties with the last one included, and the threshold [...], the smallest value that is
      marked; it is 0, and all are marked, where there are not that many positive values. Neither has a gradient.
    """
    order = lax.bitcast_convert_type(lax.stop_gradient(values), jnp.int32)

    def marks(bits: jax.Array) -> jax.Array:
        return (order >= bits).astype(jnp.float32)

    bits = jnp.zeros(jax.eval_shape(mean, values).shape, jnp.int32)
    # Written out and no loop: on CPU, sums over devices inside a loop may meet others in another order on each device,
    # and wait for each other for ever.
    for place in reversed(range(BITS)):
        higher = bits | jnp.int32(1 << place)
        bits = jnp.where(mean(marks(higher)) >= SLACK * share, higher, bits)
    return marks(bits), lax.bitcast_convert_type(bits, jnp.float32)


def largest_of_each(values: jax.Array, k: jax.Array) -> jax.Array:
    """Marks, 0 or 1, of the k largest of each example's non-negative float32 values [B, D] and ties with the last.

    `k` is traced, so that it can vary without compiling; and counting takes a fraction of a sort's time on CPU.
    """
    marked: jax.Array = _largest_of_each(values, k)
    return marked


@jax.jit  # a name, by which exporters know it
def _largest_of_each(values: jax.Array, k: jax.Array) -> jax.Array:
    marks, _ = largest(values, k, lambda marks: jnp.sum(marks, axis=-1, keepdims=True))
    return marks
