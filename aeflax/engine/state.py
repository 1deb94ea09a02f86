"""What the engine computes on: the training state, the source of a batch, and the pure parts of a model."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax

from aeflax.engine.compiling import quickly
from aeflax.engine.keys import Keys, Stream

PyTree = Any
Hyper = Any  # nested mapping of float32 scalars


class TrainState(flax.struct.PyTreeNode):
    """Everything that going on needs besides configuration and data; exactly what a checkpoint holds."""

    step: jax.Array  # int32, updates tried so far
    params: PyTree
    opt_state: PyTree
    model: PyTree  # non-trained state of the model, empty for the five presets
    ema: PyTree | None  # averaged parameters, None where off
    skipped: jax.Array  # int32, non-finite updates so far
    skipped_in_row: jax.Array  # int32, non-finite updates since the last good one
    most_skipped_in_row: jax.Array  # int32, the largest that `skipped_in_row` has been

    @property
    def inference_params(self) -> PyTree:
        """The averaged parameters where they are kept, else the last ones."""
        return self.params if self.ema is None else self.ema


def parameters_of(params: PyTree) -> int:
    """Number of trained values."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def leaf_name(path: Any) -> str:
    """The name of a leaf in a tree, from JAX's path to it: `params/encoder/dense_0/kernel`."""
    name: str = jax.tree_util.keystr(path, simple=True, separator="/")
    return name


def mismatches(found: PyTree, wanted: PyTree) -> list[str]:
    """Where two trees of arrays differ in leaves or shapes."""
    shapes = [
        {leaf_name(path): leaf.shape for path, leaf in leaves}
        for leaves, _ in map(jax.tree_util.tree_flatten_with_path, (found, wanted))
    ]
    names = dict.fromkeys((*shapes[0], *shapes[1]))
    pairs = ((name, shapes[0].get(name), shapes[1].get(name)) for name in names)
    return [f"{name} is {a or 'missing'}, expected {b or 'none'}" for name, a, b in pairs if a != b]


class Source(flax.struct.PyTreeNode):
    """Examples as they are stored, uint8 or float32, and the affine map to the model's range.

    Either all of them [N, F], or those of the next steps in order [S, B, F].
    """

    rows: jax.Array
    shift: jax.Array  # [1] or [F]
    divisor: jax.Array  # [1] or [F]


class Order(NamedTuple):
    """Which examples each step sees: their global indices [S, B] int32, and how many they are, [S] float32.

    A last, partial batch is padded with the index -1.
    """

    example: jax.Array
    size: jax.Array


class Batch(NamedTuple):
    """A device's share of one step's examples.

    Attributes:
      source: stored rows [B, F] with their scaling.
      example: their global indices [B], -1 for padding.
      size: examples of the step on all devices; known beforehand, so that no device asks the others.
    """

    source: Source
    example: jax.Array
    size: jax.Array

    @property
    def weight(self) -> jax.Array:
        """1 for an example, 0 for padding, [B] float32."""
        return (self.example >= 0).astype(jnp.float32)


class Parts(NamedTuple):
    """All that the engine knows of a model: pure functions, hashable, so that programs are shared.

    `hyper` holds the traced numbers; `keys` addresses the batch's randomness.
    """

    init: Callable[[jax.Array], tuple[PyTree, PyTree]]
    """key -> (params, model state)."""
    prepare: Callable[[Source, Keys], jax.Array]
    """Stored rows [B, F] -> targets [B, ...] in the model's range."""
    corrupt: Callable[[jax.Array, jax.Array, Hyper], jax.Array]
    """(keys [B], targets, hyper) -> inputs of the same shape."""
    apply: Callable[..., Any]
    """(params, model state, inputs, keys [B] or None, hyper, batch mean or None) -> outputs.

    A batch mean, [B, ...] -> [...], is over the examples of the whole batch, without padding; it is there in training.
    None is inference, where what comes out for an example depends on that example alone.
    """
    objective: Callable[..., tuple[jax.Array, dict[str, jax.Array]]]
    """(outputs, targets, batch mean, hyper, step) -> (loss [B], reported terms, each [B])."""
    tx: Callable[[Hyper, jax.Array], optax.GradientTransformation]
    """(hyper, step) -> the Optax transformation of this step."""
    observe: Callable[[Any], PyTree]
    """outputs -> what `update` needs the mean of, float32 [B, ...]; an empty tree where it needs nothing."""
    update: Callable[[PyTree, PyTree, PyTree, jax.Array], tuple[PyTree, PyTree]]
    """(params, model state, means, examples) -> both, after the optimizer.

    `means` are those of what `observe` gave, over the examples of the whole batch, and `examples` is their number.
    """
    average: Callable[[PyTree, PyTree, Hyper, jax.Array], PyTree] | None
    """(averaged params, params, hyper, step) -> averaged params; None where off."""
    terms: tuple[str, ...]
    """Names of the reported terms."""


def init_state(parts: Parts, root: jax.Array, hyper: Hyper, weights: tuple[PyTree, PyTree] | None = None) -> TrainState:
    """The state before the first step; pure: `create` makes a program of it.

    Args:
      parts: the model and its optimizer.
      root: the run's root key.
      hyper: the traced numbers.
      weights: (params, model state) to begin with; None draws them.
    """
    params, model = parts.init(jax.random.fold_in(root, Stream.INIT)) if weights is None else weights
    return TrainState(
        step=jnp.int32(0),
        params=params,
        opt_state=parts.tx(hyper, jnp.int32(0)).init(params),
        model=model,
        ema=None if parts.average is None else params,
        skipped=jnp.int32(0),
        skipped_in_row=jnp.int32(0),
        most_skipped_in_row=jnp.int32(0),
    )


def create(
    parts: Parts, root: jax.Array, hyper: Hyper, weights: tuple[PyTree, PyTree] | None = None, *, where: Any
) -> TrainState:
    """`init_state` as one program; `where` are the shardings of the result."""
    program = jax.jit(init_state, static_argnums=0, out_shardings=where, compiler_options=quickly())
    state: TrainState = program(parts, root, hyper, weights)
    return state


def all_finite(tree: PyTree) -> jax.Array:
    """Whether every entry of every leaf is finite: one program and one answer, however many leaves there are."""
    return _all_finite()(tree)


@functools.cache
def _all_finite() -> Callable[[PyTree], jax.Array]:
    def found(tree: PyTree) -> jax.Array:
        return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))

    return jax.jit(found, compiler_options=quickly())
