"""Where the first number came up that was not finite, in an update that was skipped for it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aeflax import hosts
from aeflax.data.dataset import Dataset
from aeflax.data.order import permutation
from aeflax.engine.compiling import PROGRAMS
from aeflax.engine.keys import Keys, Stream
from aeflax.engine.state import Batch, Parts, Source, TrainState, leaf_name
from aeflax.program import Program

ROOT = " (as of a root or a norm at 0: add a small number under it)"  # of which the derivative is infinite


def find(program: Program, dataset: Dataset, state: TrainState) -> str | None:
    """What was not finite first in the update that was tried last, which is computed again, as one batch.

    Returns:
      A few words; None where that update was applied, where several processes hold the data and the weights, and where
      it cannot be told: what explains an error must not take its place.
    """
    if hosts.count() > 1 or not int(state.skipped_in_row):
        return None
    try:
        return _first(program, _last_batch(program, dataset, int(state.step) - 1), jax.device_get(state))
    except Exception:  # data that are gone, memory that is short, a part of a user's own
        return None


def _last_batch(program: Program, dataset: Dataset, step: int) -> Batch:
    """The examples of a step."""
    data, values = program.experiment.data, dataset.train.values
    epoch, index = divmod(step, data.steps_per_epoch(len(values)))
    order = permutation(program.experiment.train.seed, epoch, examples=len(values))
    example = np.sort(order[index * data.batch_size : (index + 1) * data.batch_size])
    rows = np.asarray(values[example]).reshape(len(example), -1)
    source = Source(rows, dataset.scaling.shift, dataset.scaling.divisor)  # type: ignore[arg-type]
    return Batch(source, example.astype(np.int32), np.float32(len(example)))  # type: ignore[arg-type]


def _first(program: Program, batch: Batch, state: TrainState) -> str | None:
    parts, model = program.built.parts, program.experiment.model
    before = state.replace(step=state.step - 1)
    finite = jax.device_get(_stages(parts)(before, batch, jax.device_get(program.key), program.hyper))
    grads = [(leaf_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(finite["gradient"])]
    costs = [name for name in parts.terms if name not in ("reconstruction_nats", "auxk")]
    charged = f"model.penalties.{costs[0]}" if len(costs) == 1 else "one of model.penalties"
    found = [
        ("the examples in the model's range", finite["targets"]),
        (f"the output of model.corruption {model.corruption.kind}", finite["inputs"]),
        ("the code", finite["code"]),
        ("the output of the decoder", finite["logits"]),
        *((f"the term {name}", finite["terms"][name]) for name in parts.terms),
        (f"the loss, though all of its reported terms are finite: what {charged} charges is not", finite["loss"]),
        *((f"the gradient of {name}, though the loss is finite{ROOT}", leaf) for name, leaf in grads),
        ("the norm of the gradient, all of whose numbers are finite", finite["norm"]),
    ]
    return next((what for what, is_finite in found if not is_finite), None)


@functools.lru_cache(maxsize=PROGRAMS)
def _stages(parts: Parts) -> Callable[..., Any]:
    """A step without its update: (state, batch, key, hyper) -> whether what each stage gives is finite."""

    def mean(values: jax.Array) -> jax.Array:
        return jnp.mean(values, axis=0)

    @jax.jit
    def stages(state: TrainState, batch: Batch, key: jax.Array, hyper: Any) -> Any:
        keys = Keys(key, state.step, batch.example)
        targets = parts.prepare(batch.source, keys)
        inputs = parts.corrupt(keys.of(Stream.CORRUPTION), targets, hyper)

        def loss_of(params: Any) -> tuple[jax.Array, Any]:
            outputs = parts.apply(params, state.model, inputs, keys.of(Stream.LATENT), hyper, mean)
            loss, terms = parts.objective(outputs, targets, mean, hyper, state.step)
            told = {"code": outputs.latent.code, "logits": outputs.logits, "terms": terms}
            return jnp.mean(loss), told

        (loss, told), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        told |= {"targets": targets, "inputs": inputs, "loss": loss, "gradient": grads, "norm": optax.tree.norm(grads)}
        return jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), told)

    return stages
