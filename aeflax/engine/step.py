"""One pure training step, the same for every variant and placement."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from aeflax.engine.keys import Keys, Stream
from aeflax.engine.state import Batch, Hyper, Parts, TrainState
from aeflax.engine.team import ALONE, WHOLE, Division, Team, total

Sums = dict[str, Any]  # arrays
Step = Callable[[TrainState, Batch, jax.Array, Hyper], tuple[TrainState, Sums]]
Tally = tuple[jax.Array, Sums, Any, optax.Params]  # loss, metrics, observed and gradient, each a sum over examples


def zero_sums(parts: Parts) -> Sums:
    """Accumulators of one record: Σ weight and Σ weight × value of every reported quantity."""
    return {name: np.float32(0) for name in ("weight", "loss", "gradient_norm", *parts.terms)}


def make_step(parts: Parts, team: Team = ALONE, division: Division = WHOLE) -> Step:
    """Builds train_step(state, batch, key, hyper) -> (state, weighted sums of the metrics).

    Each device differentiates its share, Σ weight × loss / examples of the batch, whole or in pieces, and the
    gradients are summed, once: exact for a masked last batch that falls unevenly on the devices, where a mean of the
    devices' means is not. What an objective takes from the whole batch, such as a mean activation, it takes from the
    pieces that are computed at one time; in exact mode from one of the batch's parts.
    """

    def train_step(state: TrainState, batch: Batch, key: jax.Array, hyper: Hyper) -> tuple[TrainState, Sums]:
        def tally(share: tuple[jax.Array, jax.Array]) -> Tally:
            part = Batch(batch.source.replace(rows=share[0]), share[1], batch.size)
            keys = Keys(key, state.step, part.example)
            targets = parts.prepare(part.source, keys)
            inputs = parts.corrupt(keys.of(Stream.CORRUPTION), targets, hyper)

            def loss_of(params: optax.Params) -> tuple[jax.Array, tuple[Sums, Any]]:
                lent, mean = team.lend(params, len(part.example)), piece_mean(part)
                outputs = parts.apply(lent, state.model, inputs, keys.of(Stream.LATENT), hyper, mean)
                loss, terms = parts.objective(outputs, targets, mean, hyper, state.step)
                summed = functools.partial(weighted, part.weight)
                return summed(loss) / batch.size, jax.tree.map(summed, (terms, parts.observe(outputs)))

            (loss, (sums, seen)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
            return loss, sums, seen, team.keep(grads)

        def piece_mean(part: Batch) -> Callable[[jax.Array], jax.Array]:
            """The mean over the pieces that the devices compute together, values [b, ...] -> [...]."""
            if division.whole:
                return lambda values: team.sum(weighted(part.weight, values)) / batch.size
            add = ALONE.sum if division.exact else team.sum
            # A piece of padding alone counts for nothing, but its mean must be finite.
            shares = jnp.where(add(jnp.sum(part.weight)) > 0, part.weight, 1.0)
            return lambda values: add(weighted(shares, values)) / add(jnp.sum(shares))

        loss, sums, seen, grads = total(tally, (batch.source.rows, batch.example), division, team, state.step)
        norm = optax.tree.norm(grads)
        sums |= {"weight": batch.size, "loss": batch.size * loss, "gradient_norm": batch.size * norm}

        def advance(state: TrainState) -> tuple[TrainState, Sums]:
            updates, opt_state = parts.tx(hyper, state.step).update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            means = jax.tree.map(lambda sum: sum / batch.size, seen)
            params, model = parts.update(params, state.model, means, batch.size)
            ema = None if parts.average is None else parts.average(state.ema, params, hyper, state.step)
            return (
                state.replace(params=params, opt_state=opt_state, model=model, ema=ema, skipped_in_row=jnp.int32(0)),
                sums,
            )

        def skip(state: TrainState) -> tuple[TrainState, Sums]:
            in_row = state.skipped_in_row + 1
            most = jnp.maximum(state.most_skipped_in_row, in_row)
            counted = state.replace(skipped=state.skipped + 1, skipped_in_row=in_row, most_skipped_in_row=most)
            return counted, jax.tree.map(jnp.zeros_like, sums)

        # A condition, not a selection: selecting between whole trees costs 10 % of a small step, this 2 %.
        state, sums = lax.cond(jnp.isfinite(loss) & jnp.isfinite(norm), advance, skip, state)
        return team.keep(state.replace(step=state.step + 1)), sums

    return train_step


def weighted(weight: jax.Array, values: jax.Array) -> jax.Array:
    """Sums weight × value over examples, [b] and [b, ...] -> [...]; in float32, also where products usually are not."""
    return jnp.tensordot(weight, values, axes=1, precision=lax.Precision.HIGHEST)
