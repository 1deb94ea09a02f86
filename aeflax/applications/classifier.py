"""A linear classifier over an encoder, trained by the engine's own loop.

The engine knows nothing of labels: an example's class is one more column of its stored row, which `prepare` carries to
the objective and `apply` leaves out. The pure step, the order, the feed and the compiled loop are those of every run.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aeflax import optimizers
from aeflax.build import Built, blank
from aeflax.config import Optimizer
from aeflax.config.structure import traced
from aeflax.data.order import permutation
from aeflax.engine.feed import Feed
from aeflax.engine.keys import Keys
from aeflax.engine.placement import one_device
from aeflax.engine.state import Hyper, Parts, PyTree, Source, create
from aeflax.engine.step import zero_sums
from aeflax.errors import DivergedError
from aeflax.models.bottlenecks import STATE
from aeflax.models.layers import initialized
from aeflax.outputs import BatchMean, Context, Values

BLOCK = 512  # examples that are classified at a time


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What training one classifier may spend."""

    steps: int = 1000
    batch_size: int = 128  # fewer where there are fewer labelled examples
    learning_rate: float = 1e-3  # of Adam


class Encoder(NamedTuple):
    """A network below the head, hashable, so that programs are shared."""

    init: Callable[[jax.Array], tuple[PyTree, PyTree]]
    """key -> (parameters, model state)."""
    apply: Callable[[PyTree, PyTree, Values, jax.Array], jax.Array]
    """(parameters, model state, traced numbers, rows [B, F] in the model's range) -> features [B, K]."""
    width: int | None = None
    """K; None: as many as the rows have."""


# Of the frozen arm: the rows are codes.
IDENTITY = Encoder(init=lambda key: ({}, {}), apply=lambda params, state, values, rows: rows)


@functools.lru_cache(maxsize=32)
def encoder_of(built: Built) -> Encoder:
    """An autoencoder's way from examples to codes; of a posterior the mean."""
    module, shape = built.module, built.shape

    def init(key: jax.Array) -> tuple[PyTree, PyTree]:
        variables = module.init(key, jnp.zeros((1, *shape), jnp.float32), blank(built.model), method="encode")
        return initialized(variables["params"], built.model.initialization), variables.get(STATE, {})

    def apply(params: PyTree, state: PyTree, values: Values, rows: jax.Array) -> jax.Array:
        images, context = rows.reshape(-1, *shape), Context(values=values)
        return module.apply({"params": params, STATE: state}, images, context, method="encode")  # type: ignore[return-value]

    return Encoder(init, apply, built.model.latent_dim)


@functools.lru_cache(maxsize=32)
def classifier(encoder: Encoder, features: int, classes: int) -> Parts:
    """The engine's parts of an encoder with a linear head, trained on the cross-entropy.

    Stored rows [B, features + 1] have the class in their last column, with shift 0 and divisor 1.
    """

    def init(key: jax.Array) -> tuple[PyTree, PyTree]:
        below, state = encoder.init(key)
        head = {"kernel": jnp.zeros((encoder.width or features, classes)), "bias": jnp.zeros(classes)}
        return {"encoder": below, "head": head}, state

    def prepare(source: Source, keys: Keys) -> jax.Array:
        return (source.rows - source.shift) / source.divisor

    def apply(
        params: PyTree, state: PyTree, rows: jax.Array, keys: jax.Array | None, hyper: Hyper, mean: BatchMean | None
    ) -> jax.Array:
        head = params["head"]
        below = encoder.apply(params["encoder"], state, hyper["bottleneck"], rows[:, :features])
        logits: jax.Array = below @ head["kernel"] + head["bias"]
        return logits

    def objective(
        logits: jax.Array, targets: jax.Array, batch_mean: Any, hyper: Hyper, step: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        known = targets[:, features].astype(jnp.int32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, known), {}

    return Parts(
        init=init,
        prepare=prepare,
        corrupt=lambda keys, rows, hyper: rows,
        apply=apply,
        objective=objective,
        tx=lambda hyper, step: optimizers.transformation("adam", hyper["learning_rate"], hyper),
        observe=lambda outputs: {},
        update=lambda params, state, means, examples: (params, state),
        average=None,
        terms=(),
    )


def train(
    encoder: Encoder,
    rows: np.ndarray,
    known: np.ndarray,
    classes: int,
    *,
    scaling: tuple[np.ndarray, np.ndarray],
    weights: tuple[PyTree, PyTree] | None,
    budget: Budget,
    seed: int,
    values: Values | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """Trains a classifier on one device.

    Args:
      encoder: the network below the head.
      rows: labelled examples [N, F] as stored.
      known: their classes [N].
      classes: how many there are.
      scaling: (shift, divisor), [1] or one a feature, to the range of the encoder.
      weights: the encoder's first parameters, and its model state; None draws them.
      budget: steps and how they are taken.
      seed: of the order and of the weights that are drawn.
      values: the encoder's traced numbers, None where it has none.

    Raises:
      DivergedError: where a loss or gradient was not finite.

    Returns:
      A function of rows [M, F] in the encoder's range -> their classes [M].
    """
    features = rows.shape[1]
    parts = classifier(encoder, features, classes)
    placement = one_device()
    shift, divisor = (np.broadcast_to(part, features).astype(np.float32) for part in scaling)
    feed = Feed(
        np.column_stack([rows, known]).astype(np.float32),
        (np.append(shift, np.float32(0)), np.append(divisor, np.float32(1))),
        min(budget.batch_size, len(rows)),
        functools.partial(permutation, seed, examples=len(rows)),
        placement,
    )
    key = placement.key(seed)
    numbers = traced(Optimizer(learning_rate=budget.learning_rate, b1=0.9, b2=0.999, eps=1e-8))
    hyper = placement.replicate(jax.tree.map(np.float32, numbers | {"bottleneck": values or {}}))
    state = create(parts, key, hyper, where=placement.sharding())
    if weights is not None:
        below, model = placement.replicate(weights)
        state = state.replace(params={**state.params, "encoder": below}, model=model)
    sums, epoch = placement.replicate(zero_sums(parts)), placement.compile(parts, streamed=False)
    step = 0
    while step < budget.steps:
        chunk = feed.chunk(step, budget.steps - step)
        state, sums = epoch(state, sums, chunk.source, chunk.order, chunk.first, chunk.steps, key, hyper)
        step += chunk.steps
    if skipped := int(state.skipped):
        raise DivergedError(
            f"a classifier diverged: {skipped} of {step} updates at the learning rate {budget.learning_rate:g} had a "
            "non-finite loss or gradient; lower the learning rate"
        )
    return functools.partial(_classify, parts, state.params, state.model, hyper)


def _classify(parts: Parts, params: PyTree, model: PyTree, hyper: Hyper, rows: np.ndarray) -> np.ndarray:
    padded = np.zeros((len(rows) + -len(rows) % BLOCK, rows.shape[1]), np.float32)
    padded[: len(rows)] = rows
    blocks = padded.reshape(-1, BLOCK, rows.shape[1])
    found = [np.asarray(_largest(parts, params, model, hyper, block)) for block in blocks]
    return np.concatenate(found)[: len(rows)]


@functools.partial(jax.jit, static_argnums=0)
def _largest(parts: Parts, params: PyTree, model: PyTree, hyper: Hyper, rows: jax.Array) -> jax.Array:
    return jnp.argmax(parts.apply(params, model, rows, None, hyper, None), axis=-1)
