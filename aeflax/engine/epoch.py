"""The one compiled loop: any number of steps over a table of batches, on the device from end to end."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from aeflax.engine.state import Batch, Hyper, Order, Parts, Source, TrainState
from aeflax.engine.step import Sums, make_step
from aeflax.engine.team import ALONE, WHOLE, Division, Team

Epoch = Callable[
    [TrainState, Sums, Source, Order, jax.Array | int, jax.Array | int, jax.Array, Hyper],
    tuple[TrainState, Sums],
]


def make_epoch(parts: Parts, team: Team = ALONE, division: Division = WHOLE) -> Epoch:
    """Builds epoch(state, sums, source, order, first, count, key, hyper) -> (state, sums).

    Runs rows first .. first + count - 1 of the order. Both are traced, so every chunk length, a partial epoch and a
    resumed one run one program. The metric sums are carried in and out: how a record's steps are cut into chunks does
    not change a bit of it. Resident and streamed data differ only in how `source` holds them.
    """
    train_step = make_step(parts, team, division)

    def epoch(
        state: TrainState,
        sums: Sums,
        source: Source,
        order: Order,
        first: jax.Array | int,
        count: jax.Array | int,
        key: jax.Array,
        hyper: Hyper,
    ) -> tuple[TrainState, Sums]:
        resident = source.rows.ndim == 2

        # `source` and `order` stay outside the carry: a loop copies what it carries.
        def body(index: jax.Array, carry: tuple[TrainState, Sums]) -> tuple[TrainState, Sums]:
            state, sums = carry
            example = order.example[index]
            # Clipped, padding is any row; it has no weight.
            rows = jnp.take(source.rows, example, axis=0, mode="clip") if resident else source.rows[index]
            batch = Batch(source.replace(rows=team.spread(rows)), example, order.size[index])
            state, new = train_step(state, batch, key, hyper)
            return state, jax.tree.map(jnp.add, sums, new)

        return lax.fori_loop(first, first + count, body, (state, sums))  # type: ignore[no-any-return]

    return epoch
