"""What devices do together inside the compiled loop, and how one device's share of a batch is cut into pieces."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

SHARDS = 8  # parts of a batch in exact mode, whatever number of devices computes them


class Team(NamedTuple):
    """The devices that share a batch. Where the compiler shares it out (mesh), sums are over all of it already."""

    sum: Callable[[Any], Any]
    """Sums a tree over the devices."""
    gather: Callable[[Any], Any]
    """Joins the devices' arrays [n, ...] in order."""
    spread: Callable[..., Any]
    """Spreads a tree of arrays over the devices along the axis of examples (the first one, or `axis`)."""
    keep: Callable[[Any], Any]
    """Puts a state, or a part of one, where it belongs."""
    lend: Callable[[Any, int], Any]
    """(parameters, examples in the batch) -> the parameters where the computation wants them."""


ALONE = Team(
    sum=lambda tree: tree,
    gather=lambda tree: tree,
    spread=lambda tree, axis=0: tree,
    keep=lambda tree: tree,
    lend=lambda params, examples: params,
)


class Division(NamedTuple):
    """How a share is computed: in so many pieces, one after another; `exact`: as so many of the SHARDS of a batch."""

    pieces: int = 1
    exact: bool = False

    @property
    def whole(self) -> bool:
        """Whether a share is computed at once."""
        return self.pieces == 1 and not self.exact


WHOLE = Division()


def total(function: Callable[[Any], Any], share: Any, division: Division, team: Team, step: jax.Array) -> Any:
    """Applies function(share) -> sums, piece by piece, and adds them up over pieces and devices.

    Args:
      function: of a tree like `share`, with a smaller first axis.
      share: arrays [b, ...], a device's part of a batch.
      division: into pieces.
      team: the devices.
      step: of the state, not negative; keeps the bound of the loop traced, and is used for nothing else.

    In exact mode the sums are those of the SHARDS parts of the batch, added in their order by every device: the same
    bits, however many devices computed them. Each part is a run of the same loop body, so it is the same code, too.
    """
    if division.whole:
        return team.sum(function(share))
    count, exact = division
    # In exact mode the loop's code must not depend on how often it runs. So the bound is traced and one more piece lies
    # behind the last: a loop that is known to run once is unrolled, a slice that is all of its array is no slice.
    slots = count + exact

    def cut(leaf: jax.Array) -> jax.Array:
        """Examples [b, ...] -> pieces [slots, b / count, ...]; a piece has every count-th, an exact part neighbours."""
        if exact:
            pieces = leaf.reshape(count, -1, *leaf.shape[1:])
        else:
            pieces = leaf.reshape(-1, count, *leaf.shape[1:]).swapaxes(0, 1)
        return jnp.concatenate([pieces, pieces[: slots - count]])

    def zero(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.zeros((slots, *leaf.shape) if exact else leaf.shape, leaf.dtype)

    pieces = team.spread(jax.tree.map(cut, share), axis=1)
    zeros = jax.tree.map(zero, jax.eval_shape(function, jax.tree.map(lambda leaf: leaf[0], pieces)))

    def body(index: jax.Array, sums: Any) -> Any:
        def put(held: jax.Array, new: jax.Array) -> jax.Array:
            return held.at[index].set(new)

        piece = jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, index, keepdims=False), pieces)
        return jax.tree.map(put if exact else jnp.add, sums, function(piece))

    sums = lax.fori_loop(0, jnp.minimum(count, count + step), body, zeros)
    if not exact:
        return team.sum(sums)
    parts = team.gather(jax.tree.map(lambda leaf: leaf[:count], sums))
    return jax.tree.map(lambda leaf: functools.reduce(jnp.add, [leaf[i] for i in range(SHARDS)]), parts)
