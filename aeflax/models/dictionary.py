"""A decoder of one dense layer as a dictionary: its rows are the directions that units write along.

Functions of parameter trees and of the model state, for sparse codes of any kind (Bricken et al. 2023, Gao et al.
2024).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from aeflax.models.selection import largest_of_each

PyTree = Any

IDLE = "idle"  # in the model state: examples since each unit was last active, [D] int32
_LONGEST = 2**30  # examples; a unit idle for longer is not counted further
_NORM_FLOOR = 1e-12  # keeps a direction of zeros finite


def directions(params: PyTree) -> jax.Array:
    """One row a unit, [D, F]."""
    found: jax.Array = params["decoder"]["output"]["kernel"]
    return found


def with_directions(params: PyTree, rows: jax.Array) -> PyTree:
    """The parameters with other directions [D, F]."""
    decoder = params["decoder"]
    return {**params, "decoder": {**decoder, "output": {**decoder["output"], "kernel": rows}}}


def transposed(params: PyTree) -> PyTree:
    """The parameters with each direction that along which its unit reads; of one dense encoder layer, [F, D]."""
    return with_directions(params, params["bottleneck"]["code"]["kernel"].T)


def normalized(params: PyTree) -> PyTree:
    """The parameters with directions of length 1."""
    rows = directions(params)
    return with_directions(params, rows / jnp.maximum(jnp.linalg.norm(rows, axis=-1, keepdims=True), _NORM_FLOOR))


def across() -> optax.GradientTransformation:
    """Removes what of a gradient would lengthen or shorten the directions, which are of length 1."""

    def update(grads: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        rows, slope = directions(params), directions(grads)
        return with_directions(grads, slope - jnp.sum(slope * rows, axis=-1, keepdims=True) * rows), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def counted(idle: jax.Array, activity: jax.Array, examples: jax.Array) -> jax.Array:
    """Examples since each unit was last active, [D], after a batch of so many in which a share `activity` [D] was."""
    more = jnp.minimum(idle, _LONGEST) + examples.astype(jnp.int32)
    return jnp.where(activity > 0, 0, more)


def spare(code: jax.Array, dead: jax.Array, k: int) -> jax.Array:
    """The `k` largest dead units of each example's unselected code [B, D], ties included, the rest zero; dead: [D]."""
    idle = jnp.where(dead, code, 0.0)
    return idle * largest_of_each(idle, jnp.float32(k))
