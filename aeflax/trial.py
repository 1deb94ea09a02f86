"""Parts of a user's own, tried before a training: noise that is addressed, rows for themselves, numbers that count."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeflax import config, factories
from aeflax.build import Built
from aeflax.config.structure import unknown
from aeflax.engine.compiling import PROGRAMS
from aeflax.engine.keys import root_key
from aeflax.engine.state import Hyper, leaf_name
from aeflax.errors import warn
from aeflax.own_parts import (
    ADDRESSED,
    ELSEWHERE,
    depends_on_rows,
    draws_again,
    mean_of,
    require_addressed,
    require_pure,
    require_repeated,
)
from aeflax.program import Program

LATE = 10**6  # a step at which every warm-up is over
MOST = 256  # examples that are computed
ROUNDING = 1e-4  # of the largest value: float32 sums of so many, some of which cancel, differ by less


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
        if draws_again(built.parts.corrupt, keys, images, hyper):
            said = f"{own['corruption']} draws more than once from the same `keys`, which is the same noise each time"
            warn(f"{said}; take those of `noise.split(keys, 2)`")
        if why := depends_on_rows(built.parts.corrupt, keys, images, hyper):
            said = f"{own['corruption']} makes an example depend on {why}"
            mend = "let row i depend on image i and key i alone, as jax.vmap over both does"
            warn(f"{said}, so that other devices and the padding of a last batch change the result; {mend}")
    penalties = [path for path in own if path.startswith("penalties")]
    for path in _counting_rows(built, hyper, min(MOST, program.experiment.data.batch_size), penalties):
        said = f"{own[path]} gives other values where a batch lies on two devices, or has another padding"
        mend = "average over examples by `mean`, and by nothing else: no pairs of them, no draws of a batch's shape"
        warn(f"{said}; {mend}")
    if (pieces := program.experiment.train.accumulate) > 1:
        for path in _counting_rows(built, hyper, min(MOST, program.experiment.data.batch_size), penalties, apart=True):
            said = f"{own[path]} is another one in train.accumulate={pieces} pieces of a batch"
            warn(f"{said}: its `mean` is over the examples of one of them")
    for path in _idle(built, program.experiment.data.batch_size):
        mend = "leave the field out: a backbone gets no numbers"
        if not path.startswith("backbone"):
            mend = "read it from `values` in the function that the factory returns, or leave the field out"
        warn(f"model.{path.replace('/', '.')} changes nothing that is trained: no part reads it there; {mend}")


def _counting_rows(
    built: Built, hyper: Hyper, batch: int, penalties: Sequence[str], *, apart: bool = False
) -> list[str]:
    """Those of some penalties whose values are others where the halves of a batch are computed for themselves.

    On several devices they are, and only `mean` is over all of them; `apart`: nor is that, as of accumulated pieces.
    """
    half = batch // 2
    if not penalties or not half:
        return []
    whole = _Stages(built, 2 * half, lambda values: jnp.mean(values, axis=0))
    one_of_two = jnp.mean if apart else lambda values, axis: jax.lax.pmean(jnp.mean(values, axis), "devices")
    halves = _Stages(built, half, functools.partial(one_of_two, axis=0))
    variables = jax.jit(built.parts.init)(root_key(0))
    images = jax.random.uniform(root_key(1), (2 * half, *built.shape))
    outputs = jax.jit(whole.apply)(whole.keys, variables, images, hyper)

    def terms(stages: _Stages, outputs: Any, images: jax.Array) -> dict[str, jax.Array]:
        loss, reported = stages.judge(outputs, images, hyper)
        return {"charged": loss - reported["reconstruction_nats"], **reported}

    one = jax.device_get(jax.jit(functools.partial(terms, whole))(outputs, images))
    parts, axes = _halves(outputs, half)
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


def _halves(outputs: Any, half: int) -> tuple[Any, Any]:
    """Outputs of a batch as those of its two halves, and the axis of each leaf: 0, or None where both have the same."""

    def split(path: Any, leaf: jax.Array) -> tuple[jax.Array, int | None]:
        axis = 1 if getattr(path[-1], "name", "") == "drawn" else 0  # behind the draws
        if leaf.shape[axis : axis + 1] != (2 * half,):
            return leaf, None
        return jnp.moveaxis(leaf.reshape(*leaf.shape[:axis], 2, half, *leaf.shape[axis + 1 :]), axis, 0), 0

    leaves, tree = jax.tree_util.tree_flatten_with_path(outputs)
    parts, axes = zip(*(split(path, leaf) for path, leaf in leaves), strict=True)
    return jax.tree.unflatten(tree, parts), jax.tree.unflatten(tree, axes)


def _near(one: np.ndarray, two: np.ndarray, rest: float) -> bool:
    """Whether values are the same but for the order in which they were added up, and for some rest."""
    return np.allclose(one, two, rtol=0.0, atol=ROUNDING * _size(one) + rest, equal_nan=True)


def _size(values: np.ndarray) -> float:
    return float(np.max(np.abs(values), initial=0.0, where=np.isfinite(values)))


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
        return self._parts.objective(outputs, targets, self._mean, hyper, jnp.int32(LATE))
