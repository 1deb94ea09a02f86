"""Parts of a user's own, tried before a training: noise that is addressed, rows for themselves, numbers that count."""

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp

from aeflax import config
from aeflax.build import Built
from aeflax.engine.compiling import PROGRAMS
from aeflax.engine.keys import root_key
from aeflax.engine.state import Hyper, leaf_name
from aeflax.errors import warn
from aeflax.own_parts import ADDRESSED, ELSEWHERE, mixes_rows, require_addressed
from aeflax.structure import unknown


@functools.lru_cache(maxsize=PROGRAMS)
def require_own_noise(built: Built) -> None:
    """Raises ConfigError where parts of a user's own draw noise that is not each example's own at every step."""
    if not (own := _own(built.model)):
        return
    stages, hyper = _Stages(built), _hyper(built.model)
    for slots, mend, process, others in (
        (("corruption",), ADDRESSED, stages.corrupt, (stages.images,)),
        (("backbone", "bottleneck"), ADDRESSED, stages.apply, (stages.variables, stages.images)),
        (("likelihood", "penalties"), ELSEWHERE, stages.judge, (stages.outputs, stages.images)),
    ):
        if found := [name for path, name in own.items() if path.partition("/")[0] in slots]:
            require_addressed(" or ".join(found), process, stages.keys, *others, hyper, mend=mend)


def warn_of_own_parts(built: Built, hyper: Hyper) -> None:
    """Warns of a corruption of a user's own that mixes the rows of a batch, and of numbers that nothing reads."""
    own = _own(built.model)
    if "corruption" in own:
        keys, images = jax.random.split(root_key(0), 3), jax.random.uniform(root_key(1), (3, *built.shape))
        if mixes_rows(built.parts.corrupt, keys, images, hyper):
            said = f"{own['corruption']} makes an example depend on the others of its batch"
            mend = "let row i depend on image i and key i alone, as jax.vmap over both does"
            warn(f"{said}, so that other devices and the padding of a last batch change the result; {mend}")
    for name in _idle(built) if own else ():
        mend = "read it from `values` in the function that the factory returns, or leave the field out"
        warn(f"{name} changes nothing: no part reads it; {mend}")


@functools.lru_cache(maxsize=PROGRAMS)
def _idle(built: Built) -> tuple[str, ...]:
    """Numbers of a user's own parts that the loss of a batch does not depend on."""
    stages, hyper = _Stages(built), _hyper(built.model)

    def loss(hyper: Hyper, keys: jax.Array, variables: Any, images: jax.Array) -> Any:
        inputs = stages.corrupt(keys, images, hyper)
        return stages.judge(keys, stages.apply(keys, variables, inputs, hyper), images, hyper)

    program = jax.make_jaxpr(loss)(hyper, stages.keys, stages.variables, stages.images).jaxpr
    read = {id(atom) for equation in program.eqns for atom in equation.invars} | {id(atom) for atom in program.outvars}
    numbers = [leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(hyper["model"])]
    idle = [name for name, atom in zip(numbers, program.invars, strict=False) if id(atom) not in read]
    return tuple(f"model.{name.replace('/', '.')}" for name in idle if name.startswith(tuple(_own(built.model))))


def _own(model: config.Model) -> dict[str, str]:
    """Parts of a user's own kinds: what a message calls each, by the path of its numbers."""
    slots = {name: getattr(model, name) for name in ("corruption", "backbone", "bottleneck", "likelihood")}
    penalties = {field.name: getattr(model.penalties, field.name) for field in fields(model.penalties)}
    named = {path: (f"model.{path} {part.kind}", part) for path, part in slots.items()}
    named |= {f"penalties/{name}": (f"model.penalties.{name}", part) for name, part in penalties.items()}
    ours = __name__.partition(".")[0]
    return {
        path: name
        for path, (name, part) in named.items()
        if part is not None and type(part).__module__.partition(".")[0] != ours
    }


def _hyper(model: config.Model) -> Hyper:
    """Numbers of a model's structure, for what does not look at them."""
    return {"model": jax.tree.map(jnp.float32, unknown(model))}


class _Stages:
    """The stages of a step's loss, and shapes of what a batch of two gives them; all that is random comes first.

    Attributes:
      keys: one an example.
      images: [2, ...].
      variables: parameters and model state.
      corrupt: (keys, images, hyper) -> inputs.
    """

    def __init__(self, built: Built) -> None:
        self._parts = built.parts
        self.keys = jax.random.split(root_key(0), 2)
        self.images = jax.ShapeDtypeStruct((2, *built.shape), jnp.float32)
        self.variables = jax.eval_shape(built.parts.init, root_key(0))
        self.corrupt: Callable[..., jax.Array] = built.parts.corrupt
        self._hyper = _hyper(built.model)

    @property
    def outputs(self) -> Any:
        """Shapes of what the model says of the batch."""
        return jax.eval_shape(self.apply, self.keys, self.variables, self.images, self._hyper)

    def apply(self, keys: jax.Array, variables: Any, inputs: jax.Array, hyper: Hyper) -> Any:
        """The model's outputs."""
        return self._parts.apply(*variables, inputs, keys, hyper, _mean)

    def judge(self, _: jax.Array, outputs: Any, targets: jax.Array, hyper: Hyper) -> Any:
        """Loss and terms, which draw nothing."""
        return self._parts.objective(outputs, targets, _mean, hyper, jnp.int32(0))


def _mean(values: jax.Array) -> jax.Array:
    return jnp.mean(values, axis=0)
