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


def total(
    function: Callable[[Any], tuple[Any, Any]], share: Any, division: Division, team: Team, step: jax.Array
) -> tuple[Any, Any]:
    """Applies function(share) -> (sums, rest), piece by piece, and adds up the sums over pieces and devices.

    Args:
      function: of a tree like `share`, with a smaller first axis.
      share: arrays [b, ...], a device's part of a batch.
      division: into pieces.
      team: the devices.
      step: of the state, not negative.

    Returns:
      The sums over all devices, and the rest [b, ...] of this one's share.

    In exact mode the sums are those of the SHARDS parts of the batch, added in their order by every device: the same
    bits, however many devices computed them. Each part is a run of the same loop body, so it is the same code, too.
    """
    if division.whole:
        sums, rest = function(share)
        return team.sum(sums), rest
    count = division.pieces
    # In exact mode the loop's code must not depend on how often it runs. So the bound is traced and one more piece lies
    # behind the last: a loop that is known to run once is unrolled, a slice that is all of its array is no slice.
    slots = count + division.exact
    share = jax.tree.map(lambda leaf: leaf.reshape(count, -1, *leaf.shape[1:]), share)
    pieces = team.spread(jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf[: slots - count]]), share), axis=1)
    shapes = jax.eval_shape(function, jax.tree.map(lambda leaf: leaf[0], pieces))
    stacked = (division.exact, True)  # of the sums, of the rest
    start = tuple(
        jax.tree.map(lambda leaf, n=(slots,) * stack: jnp.zeros((*n, *leaf.shape), leaf.dtype), part)
        for stack, part in zip(stacked, shapes, strict=True)
    )

    def body(index: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        new = function(jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, index, keepdims=False), pieces))
        return tuple(
            jax.tree.map(lambda held, leaf, s=stack: held.at[index].set(leaf) if s else held + leaf, *parts)
            for stack, *parts in zip(stacked, carry, new, strict=True)
        )

    sums, rest = lax.fori_loop(0, jnp.minimum(count, count + step), body, start)
    rest = jax.tree.map(lambda leaf: leaf[:count].reshape(-1, *leaf.shape[2:]), rest)
    if not division.exact:
        return team.sum(sums), rest
    parts = team.gather(jax.tree.map(lambda leaf: leaf[:count], sums))
    return jax.tree.map(lambda leaf: functools.reduce(jnp.add, [leaf[i] for i in range(SHARDS)]), parts), rest
