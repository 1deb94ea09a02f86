"""Whether what parts of a user's own compute trains anything: gradients that arrive, numbers that are read.

It is asked of the programs, not of values: a gradient that is 0 whatever the inputs are is a constant there.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeflax.build import Built
from aeflax.engine.compiling import PROGRAMS
from aeflax.engine.keys import root_key
from aeflax.engine.state import Hyper, leaf_name
from aeflax.loss import penalties
from aeflax.objectives import Penalty
from aeflax.trial.stages import LATE, Stages, own_parts


@functools.lru_cache(maxsize=PROGRAMS)
def untrained(built: Built, batch: int) -> tuple[str, ...]:
    """Names of parameters that no gradient of a batch's loss reaches, whatever the batch is."""
    stages = Stages(built, batch)

    def loss(params: Any, state: Any, keys: jax.Array, images: jax.Array, hyper: Any) -> jax.Array:
        inputs = built.parts.corrupt(keys, images, hyper)
        outputs = stages.apply(keys, (params, state), inputs, hyper)
        return jnp.mean(stages.judge(outputs, images, hyper)[0])

    given = *stages.variables, stages.keys, stages.images, stages.hyper
    reached = _reached(jax.grad(loss), *given)
    names = [leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(stages.variables[0])]
    return tuple(name for name, there in zip(names, reached, strict=True) if not there)


def weightless(built: Built, hyper: Hyper, batch: int) -> list[str]:
    """Paths of a user's own penalties that cost something, and whose costs have no gradient by any parameter."""
    stages, found = Stages(built, batch), []

    def charged(cost: Penalty, name: str, params: Any, state: Any, keys: Any, images: Any, hyper: Hyper) -> jax.Array:
        outputs = stages.apply(keys, (params, state), images, hyper)
        return jnp.sum(cost(outputs, stages.mean, hyper["model"]["penalties"][name], jnp.int32(LATE))[0])

    given = *stages.variables, stages.keys, stages.images, stages.hyper
    for name, cost in penalties(built.model).items():
        path, function = f"penalties/{name}", functools.partial(charged, cost, name)
        if path not in own_parts(built.model) or any(_reached(jax.grad(function), *given)):
            continue
        images = jax.random.uniform(root_key(1), stages.images.shape)
        if float(jax.jit(function)(*built.parts.init(root_key(0)), stages.keys, images, hyper)):  # 0: only reported
            found.append(path)
    return found


def _reached(gradient: Callable[..., Any], *given: Any) -> list[bool]:
    """Which leaves of a gradient are more than zeros that nothing was computed for."""
    try:
        program = jax.make_jaxpr(gradient)(*given).jaxpr
    except (TypeError, ValueError, NotImplementedError):  # what has none fails in training, and is told of there
        return [True]
    zeros = {id(out) for equation in program.eqns if _is_zero(equation) for out in equation.outvars}
    return [id(atom) not in zeros for atom in program.outvars]


def _is_zero(equation: Any) -> bool:
    """Whether an operation spreads the number 0 over an array, as is done for a gradient that there is none of."""
    value = getattr(equation.invars[0], "val", None) if equation.invars else None
    return equation.primitive.name == "broadcast_in_dim" and value is not None and not np.any(value)


@functools.lru_cache(maxsize=PROGRAMS)
def unread(built: Built, batch: int) -> dict[str, bool]:
    """Paths of numbers of a user's own parts on which neither a batch's loss nor its codes in inference depend.

    Of each whether a term that is reported does.
    """
    stages = Stages(built, batch)

    def computed(hyper: Hyper, keys: jax.Array, variables: Any, images: jax.Array) -> Any:
        inputs = built.parts.corrupt(keys, images, hyper)
        loss, terms = stages.judge(stages.apply(keys, variables, inputs, hyper), images, hyper)
        return terms, (loss, built.parts.apply(*variables, images, None, hyper, None))

    closed, shape = jax.make_jaxpr(computed, return_shape=True)(
        stages.hyper, stages.keys, stages.variables, stages.images
    )
    reported = len(jax.tree.leaves(shape[0]))
    whole, trained = (_read(closed.jaxpr, first) for first in (0, reported))
    numbers = [leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(stages.hyper["model"])]
    own = tuple(f"{path}/" for path in own_parts(built.model))
    atoms = {name: id(atom) for name, atom in zip(numbers, closed.jaxpr.invars, strict=False) if name.startswith(own)}
    return {name: atom in whole for name, atom in atoms.items() if atom not in trained}


def _read(program: Any, first: int) -> set[int]:
    """What outputs from the first on are computed from."""
    read = {id(atom) for atom in program.outvars[first:]}
    for equation in reversed(program.eqns):
        if any(id(atom) in read for atom in equation.outvars):
            read |= {id(atom) for atom in equation.invars}
    return read
