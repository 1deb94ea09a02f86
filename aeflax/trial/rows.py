"""Whether parts of a user's own keep the rows of a batch to themselves, on any devices and beside any padding."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeflax.build import Built
from aeflax.engine.keys import root_key
from aeflax.engine.state import Hyper
from aeflax.own_parts import depends_on_rows
from aeflax.trial.stages import Stages, batched

CLOSE = 0.03  # of the largest value: networks in bfloat16 round by so much, and what mixes rows differs by more
ROUNDING = 1e-4  # of the largest value: float32 sums of so many, some of which cancel, differ by less


def first(built: Built) -> Any:
    """Parameters and model state as they begin."""
    return jax.jit(built.parts.init)(root_key(0))


def inference_mixes(built: Built, variables: Any, hyper: Hyper) -> str:
    """On what of a batch a code or an output of the model depends in inference, beside its own example; or nothing."""

    def computed(_: jax.Array, images: jax.Array) -> jax.Array:
        outputs = built.parts.apply(*variables, images, None, hyper, None)
        rows = [leaf.reshape(len(images), -1).astype(jnp.float32) for leaf in (outputs.latent.code, outputs.logits)]
        return jnp.concatenate(rows, axis=1)

    return _mixed(computed, *three(built))


def likelihood_mixes(built: Built, variables: Any, hyper: Hyper) -> str:
    """On what of a batch the nats of an example depend, beside it and what the model says of it; or nothing."""
    _, images = three(built)

    def said(images: jax.Array) -> Any:
        return built.parts.apply(*variables, images, None, hyper, None)

    outputs = jax.jit(said)(images)
    axes = batched(lambda batch: jax.eval_shape(said, jax.ShapeDtypeStruct((batch, *built.shape), jnp.float32)))

    def nats(chosen: jax.Array, targets: jax.Array) -> jax.Array:
        alone = jax.tree.map(lambda leaf, axis: leaf if axis else leaf[chosen], outputs, axes)
        return built.likelihood.nats(alone, targets, hyper["model"]["likelihood"])

    return _mixed(nats, jnp.arange(len(images)), images)


def _mixed(process: Any, keys: jax.Array, images: jax.Array) -> str:
    try:
        with jax.default_matmul_precision("highest"):  # a GPU's own products round by a thousandth
            return depends_on_rows(process, keys, images, close=CLOSE)
    except Exception:  # what cannot be computed of so few tells nothing; training says what is wrong
        return ""


def three(built: Built) -> tuple[jax.Array, jax.Array]:
    """Keys and images, the last of which takes the place of another one."""
    return jax.random.split(root_key(0), 3), jax.random.uniform(root_key(1), (3, *built.shape))


def counting_rows(
    built: Built, variables: Any, hyper: Hyper, batch: int, penalties: Sequence[str], *, apart: bool = False
) -> list[str]:
    """Those of some penalties whose values are others where the halves of a batch are computed for themselves.

    On several devices they are, and only `mean` is over all of them; `apart`: nor is that, as of accumulated pieces.
    """
    half = batch // 2
    if not penalties or not half:
        return []
    whole = Stages(built, 2 * half, lambda values: jnp.mean(values, axis=0))
    one_of_two = jnp.mean if apart else lambda values, axis: jax.lax.pmean(jnp.mean(values, axis), "devices")
    halves = Stages(built, half, functools.partial(one_of_two, axis=0))
    images = jax.random.uniform(root_key(1), (2 * half, *built.shape))
    outputs = jax.jit(whole.apply)(whole.keys, variables, images, hyper)

    def terms(stages: Stages, outputs: Any, images: jax.Array) -> dict[str, jax.Array]:
        loss, reported = stages.judge(outputs, images, hyper)
        return {"charged": loss - reported["reconstruction_nats"], **reported}

    one = jax.device_get(jax.jit(functools.partial(terms, whole))(outputs, images))
    parts, axes = _halves(outputs, half, batched(lambda examples: Stages(built, examples).outputs))
    on_devices = jax.vmap(functools.partial(terms, halves), in_axes=(axes, 0), axis_name="devices")
    try:
        two = jax.device_get(jax.jit(on_devices)(parts, images.reshape(2, half, *built.shape)))
    except (TypeError, ValueError):  # of half as many rows, which do not suit a penalty
        return list(penalties)
    except Exception:  # what vmap does not bear tells nothing
        return []
    rest = ROUNDING**1.5 * _size(one["reconstruction_nats"])  # of what is charged, which is left of a difference
    differ = {name for name in one if not _near(one[name], two[name].reshape(-1), rest * (name == "charged"))}
    found = [path for path in penalties if path.partition("/")[-1] in differ]
    # What is charged and not reported is by one of them.
    return found or [path for path in penalties if "charged" in differ]


def _halves(outputs: Any, half: int, places: Any) -> tuple[Any, Any]:
    """Outputs of a batch as those of its two halves, and the axis of each leaf: 0, or None where both have the same."""

    def split(leaf: jax.Array, axis: int) -> jax.Array:
        return jnp.moveaxis(leaf.reshape(*leaf.shape[:axis], 2, half, *leaf.shape[axis + 1 :]), axis, 0)

    leaves, tree = jax.tree.flatten(outputs)
    axes = jax.tree.leaves(places)
    parts = [leaf if axis < 0 else split(leaf, axis) for leaf, axis in zip(leaves, axes, strict=True)]
    return jax.tree.unflatten(tree, parts), jax.tree.unflatten(tree, [None if axis < 0 else 0 for axis in axes])


def _near(one: np.ndarray, two: np.ndarray, rest: float) -> bool:
    """Whether values are the same but for the order in which they were added up, and for some rest."""
    return np.allclose(one, two, rtol=0.0, atol=ROUNDING * _size(one) + rest, equal_nan=True)


def _size(values: np.ndarray) -> float:
    return float(np.max(np.abs(values), initial=0.0, where=np.isfinite(values)))
