"""Parts of a user's own, tried before a training: noise that is addressed, rows for themselves, numbers that count."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeflax import config, factories
from aeflax.build import Built
from aeflax.engine.compiling import PROGRAMS
from aeflax.engine.keys import root_key
from aeflax.engine.state import Hyper, leaf_name
from aeflax.errors import warn
from aeflax.own_parts import (
    ADDRESSED,
    ELSEWHERE,
    mean_of,
    mixes_rows,
    require_addressed,
    require_pure,
    require_repeated,
)
from aeflax.program import Program
from aeflax.structure import unknown

MOST = 256  # examples that are computed


def require_own_noise(program: Program) -> None:
    """Raises ConfigError where parts of a user's own draw from NumPy, or a corruption otherwise than by its keys."""
    _require_own_noise(program.built, program.experiment.data.batch_size)


@functools.lru_cache(maxsize=PROGRAMS)
def _require_own_noise(built: Built, batch: int) -> None:
    own = _own(built.model)
    if not own:
        return
    stages, again = _Stages(built, batch), _Stages(built.anew(), batch)
    if "corruption" in own:
        noise = stages.keys, stages.images, stages.hyper
        require_addressed(own["corruption"], stages.corrupt, *noise)
        require_repeated(own["corruption"], stages.corrupt, again.corrupt, *noise)
    # A key of one's own may be meant here: of a projection that is drawn once and kept.
    if named := _among(own, "backbone", "bottleneck"):
        batched = stages.keys, stages.variables, stages.images, stages.hyper
        require_pure(named, ADDRESSED, stages.apply, *batched)
        require_repeated(named, stages.apply, again.apply, *batched)
    if named := _among(own, "likelihood", "penalties"):
        judged = stages.outputs, stages.images, stages.hyper
        require_pure(named, ELSEWHERE, stages.judge, *judged)
        require_repeated(named, stages.judge, again.judge, *judged)
    other = _Stages(built, batch + 1)  # an evaluation's batches are of other sizes
    jax.eval_shape(other.judge, other.outputs, other.images, other.hyper)


def warn_of_own_parts(program: Program) -> None:
    """Warns of parts of a user's own that mix the rows of a batch, and of numbers that nothing reads."""
    built = program.built
    if not (own := _own(built.model)):
        return
    hyper = jax.device_get(program.hyper)
    if "corruption" in own:
        keys, images = jax.random.split(root_key(0), 3), jax.random.uniform(root_key(1), (3, *built.shape))
        if mixes_rows(built.parts.corrupt, keys, images, hyper):
            said = f"{own['corruption']} makes an example depend on the others of its batch"
            mend = "let row i depend on image i and key i alone, as jax.vmap over both does"
            warn(f"{said}, so that other devices and the padding of a last batch change the result; {mend}")
    penalties = [path for path in own if path.startswith("penalties")]
    for path in _counting_padding(built, hyper, min(MOST, program.experiment.data.batch_size), penalties):
        said = f"{own[path]} gives other values where the padding of a last batch is another"
        warn(f"{said}: average over examples by `mean`, and by nothing else")
    for path in _idle(built, program.experiment.data.batch_size):
        mend = "leave the field out: a backbone gets no numbers"
        if not path.startswith("backbone"):
            mend = "read it from `values` in the function that the factory returns, or leave the field out"
        warn(f"model.{path.replace('/', '.')} changes nothing that is trained: no part reads it there; {mend}")


def _counting_padding(built: Built, hyper: Hyper, batch: int, penalties: Sequence[str]) -> list[str]:
    """Those of some penalties whose values depend on the last row of a batch, which is padding."""
    if not penalties or batch < 2:
        return []
    real = batch - 1
    stages = _Stages(built, batch, lambda values: jnp.mean(values[:real], axis=0))
    variables = jax.jit(built.parts.init)(root_key(0))
    images = jax.random.uniform(root_key(1), (batch + 1, *built.shape))

    @jax.jit
    def terms(rows: jax.Array) -> dict[str, jax.Array]:
        outputs = stages.apply(stages.keys, variables, images[rows], hyper)
        loss, reported = stages.judge(outputs, images[rows], hyper)
        told = {"loss": loss, "code": outputs.latent.code, **reported}
        return {name: value[:real] for name, value in told.items()}

    one, two = (jax.device_get(terms(jnp.arange(batch).at[real].set(last))) for last in (real, batch))
    differ = {name for name in one if not np.array_equal(one[name], two[name], equal_nan=True)}
    if "code" in differ:
        return []  # a bottleneck of the whole batch, whose penalties cannot be told from it
    found = [path for path in penalties if path.partition("/")[-1] in differ]
    return found or [path for path in penalties if "loss" in differ]  # what is charged and not reported, by one of them


@functools.lru_cache(maxsize=PROGRAMS)
def _idle(built: Built, batch: int) -> tuple[str, ...]:
    """Paths of numbers of a user's own parts on which neither a batch's loss nor its codes in inference depend."""
    stages = _Stages(built, batch)

    def computed(hyper: Hyper, keys: jax.Array, variables: Any, images: jax.Array) -> Any:
        inputs = built.parts.corrupt(keys, images, hyper)
        loss, _ = stages.judge(stages.apply(keys, variables, inputs, hyper), images, hyper)
        return loss, built.parts.apply(*variables, images, None, hyper, None)

    program = jax.make_jaxpr(computed)(stages.hyper, stages.keys, stages.variables, stages.images).jaxpr
    read = {id(atom) for atom in program.outvars}
    for equation in reversed(program.eqns):
        if any(id(atom) in read for atom in equation.outvars):  # others compute what is reported alone
            read |= {id(atom) for atom in equation.invars}
    numbers = [leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(stages.hyper["model"])]
    idle = (name for name, atom in zip(numbers, program.invars, strict=False) if id(atom) not in read)
    own = tuple(f"{path}/" for path in _own(built.model))
    return tuple(name for name in idle if name.startswith(own))


def _own(model: config.Model) -> dict[str, str]:
    """Parts that factories of a user's own make: what a message calls each, by the path of its numbers."""
    paths = [path for path in factories.own(model) if path != "memory"]  # which is the bottleneck's
    kinds = {path: getattr(model, path).kind for path in paths if "/" not in path}
    return {path: f"model.{path.replace('/', '.')} {kinds.get(path, '')}".rstrip() for path in paths}


def _among(own: dict[str, str], *slots: str) -> str:
    """What a message calls the parts of some slots."""
    return " or ".join(name for path, name in own.items() if path.partition("/")[0] in slots)


class _Stages:
    """The stages of a step's loss, and shapes of what a batch gives them.

    Args:
      built: the model.
      batch: examples in it.
      mean: over them; None: what a step's does, and refuses anything but an array [B, ...].

    Attributes:
      corrupt: (keys, images, hyper) -> images.
      keys: one an example.
      images: [B, ...].
      hyper: its numbers, for what does not look at them.
    """

    def __init__(self, built: Built, batch: int, mean: Callable[[jax.Array], jax.Array] | None = None) -> None:
        self._parts, self._mean = built.parts, mean or mean_of(batch)
        self.corrupt = built.parts.corrupt
        self.keys = jax.random.split(root_key(0), batch)
        self.images = jax.ShapeDtypeStruct((batch, *built.shape), jnp.float32)
        self.hyper: Hyper = {"model": jax.tree.map(jnp.float32, unknown(built.model))}

    @functools.cached_property
    def variables(self) -> Any:
        """Parameters and model state."""
        return jax.eval_shape(self._parts.init, root_key(0))

    @functools.cached_property
    def outputs(self) -> Any:
        """What the model says of the batch."""
        return jax.eval_shape(self.apply, self.keys, self.variables, self.images, self.hyper)

    def apply(self, keys: jax.Array, variables: Any, inputs: jax.Array, hyper: Hyper) -> Any:
        """The model's outputs."""
        return self._parts.apply(*variables, inputs, keys, hyper, self._mean)

    def judge(self, outputs: Any, targets: jax.Array, hyper: Hyper) -> Any:
        """Loss and terms."""
        return self._parts.objective(outputs, targets, self._mean, hyper, jnp.int32(0))
