"""Checks on what the factories of a user's own parts return; errors name the part."""

import contextlib
import inspect
import random
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeflax.errors import ConfigError

DRAWN = "draws from NumPy or Python, once when it is compiled and never again"
OTHER = "draws from NumPy or Python, or reads what it changes itself: it is another one each time it is compiled"
MADE = "draws from NumPy or Python, which is something else in every process"
SEEDED = "draw from np.random.default_rng(SEED)"
ADDRESSED = "draw from `keys`, by aeflax.noise or under jax.vmap"
ELSEWHERE = "noise is a corruption's or a bottleneck's"
KEYED = ("random_unwrap", "random_bits")  # how noise is drawn from keys: by aeflax.noise, or under vmap
DRAWS = ("random_bits", "threefry2x32", "rng_uniform", "rng_bit_generator")


def function(name: str, made: Any, *given: str) -> Any:
    """What a factory made, once it can be called with what it is given. Raises ConfigError where it cannot."""
    try:
        inspect.signature(made).bind(*given)
    except ValueError:  # of a builtin, which says nothing of what it takes
        return made
    except TypeError as error:
        said = f"the factory of {name} must return a function of ({', '.join(given)})"
        called = type(made).__name__ if callable(made) else repr(made)  # a module's own tells all of its fields
        raise ConfigError(f"{said}, and returned a {called}: {error}") from error
    return made


def made(name: str, factory: Callable[..., Any], *given: Any) -> Any:
    """What a factory makes. Raises ConfigError where it draws from the generators that NumPy and Python keep."""
    with without_generators(f"the factory of {name}", SEEDED, MADE):
        return factory(*given)


def mean_of(examples: int) -> Callable[[Any], jax.Array]:
    """The mean over a batch of so many examples, as parts are given one, which refuses anything else."""

    def mean(values: Any) -> jax.Array:
        shape = getattr(values, "shape", None)
        if shape is None or shape[:1] != (examples,):
            got = f"the shape {shape}" if shape is not None else f"{type(values).__name__}"
            raise TypeError(f"`mean` averages an array [B, ...] over the B = {examples} examples of a batch, not {got}")
        return jnp.mean(values, axis=0)

    return mean


def require_floats(name: str, found: Any, shape: tuple[int, ...]) -> None:
    """Raises ConfigError where a part of a kind that a user may have added gives no floats of a shape."""
    if not hasattr(found, "shape"):
        what = "nothing" if found is None else f"a {type(found).__name__}"
        raise ConfigError(f"{name} returns {what} where an array of the shape {shape} is needed; mend its factory")
    if jnp.shape(found) != shape:
        raise ConfigError(
            f"{name} gives an array of the shape {jnp.shape(found)} where {shape} is needed; mend its factory"
        )
    if not jnp.issubdtype(kind := jnp.result_type(found), jnp.floating):
        raise ConfigError(f"{name} gives {kind} where floats are needed, which have gradients; mend its factory")


@contextlib.contextmanager
def without_generators(name: str, mend: str, how: str = DRAWN) -> Iterator[None]:
    """Raises ConfigError where what runs in it draws from the generators of NumPy and Python; `how` says what of it."""
    before = _generators()
    yield
    if _generators() != before:
        raise ConfigError(f"{name} {how}; {mend}")


def _generators() -> tuple[Any, ...]:
    """Where the generators are that NumPy and Python keep."""
    kind, keys, *place = np.random.get_state(legacy=True)  # noqa: NPY002 - to see whether somebody draws from it
    return random.getstate(), kind, np.asarray(keys).tobytes(), place


def require_pure(name: str, mend: str, process: Callable[..., Any], *given: Any) -> None:
    """Raises ConfigError where a process draws from NumPy or Python.

    It is traced twice: what is drawn is another constant each time, unless the generator is seeded each time, too.

    Args:
      name: of the process.
      mend: for the message.
      process: what takes what is given.
      given: arrays; shapes and types will do.
    """
    if not _same(process, process, *given):
        raise ConfigError(f"{name} {OTHER}; {mend}")


def require_repeated(name: str, one: Callable[..., Any], two: Callable[..., Any], *given: Any) -> None:
    """Raises ConfigError where two processes are not the same that the factory of `name` made one after the other."""
    if not _same(one, two, *given):
        raise ConfigError(f"the factory of {name} {MADE}; {SEEDED}")


def require_addressed(name: str, process: Callable[..., Any], keys: jax.Array, *others: Any) -> None:
    """Raises ConfigError where a process draws the same noise at every step, which training would learn by heart.

    Args:
      name: of the process.
      process: what takes the keys [B] and the others.
      keys: what it should draw from; as the others, shapes and types will do.
      others: what it takes beside them.
    """
    with jax.disable_jit():  # what is jitted within it is not traced again, and hides what becomes of the keys
        require_pure(name, ADDRESSED, process, keys, *others)
        program = jax.make_jaxpr(process)(keys, *others)
    unused = all(program.jaxpr.invars[0] not in equation.invars for equation in program.eqns)
    if unused and any(part in DRAWS for part in _parts(program) if isinstance(part, str)):
        said = f"{name} draws noise in which its `keys` have no part, so that it is no other one at every step"
        raise ConfigError(f"{said}; {ADDRESSED}")


def draws_again(process: Callable[..., Any], keys: jax.Array, *others: Any) -> bool:
    """Whether a process draws more than once from the same keys, which is the same noise each time."""
    with jax.disable_jit():
        program = jax.make_jaxpr(process)(keys, *others).jaxpr
    draws = [eqn for eqn in program.eqns if eqn.primitive.name in KEYED and program.invars[0] in eqn.invars]
    return len(draws) > 1


def depends_on_rows(
    process: Callable[..., Any], keys: jax.Array, images: jax.Array, *others: Any, close: float = 1e-5
) -> str:
    """On what of a batch of two the result of a row depends, beside its own image and key; nothing where on nothing.

    Args:
      process: what takes keys [B], images [B, ...] and the others.
      keys: [3], the last of which takes the place of one.
      images: [3, ...], alike.
      others: what it takes beside them.
      close: by how much of the largest value a row may differ: a program for one example adds up in another order.
    """
    compute = jax.jit(process)
    before = np.asarray(compute(keys[:2], images[:2], *others))
    for changed, kept in ((0, 1), (1, 0)):
        rows = jnp.arange(2).at[changed].set(2)
        after = np.asarray(compute(keys[rows], images[rows], *others))
        if not _close(after[kept], before[kept], close):
            return "the others of its batch"
    alone = np.asarray(compute(keys[1:2], images[1:2], *others))
    return "" if _close(alone[0], before[1], close) else "its place in the batch"


def _close(one: np.ndarray, two: np.ndarray, close: float) -> bool:
    size = np.max(np.abs(two), initial=0.0, where=np.isfinite(two))
    return np.allclose(one, two, rtol=close, atol=close * float(size), equal_nan=True)


def _same(one: Callable[..., Any], two: Callable[..., Any], *given: Any) -> bool:
    """Whether two processes are the same program, constants included."""
    # A function of its own each time, or the first trace would stand for both.
    parts = [
        list(_parts(jax.make_jaxpr(lambda *arrays, process=process: process(*arrays))(*given)))
        for process in (one, two)
    ]
    return len(parts[0]) == len(parts[1]) and all(map(_alike, *parts))


def _parts(closed: Any) -> Iterator[Any]:
    """What a program is made of, in order: its constants, and the names of its operations."""
    consts = getattr(closed, "consts", ())
    yield from (jax.random.key_data(one) if jnp.issubdtype(one.dtype, jax.dtypes.prng_key) else one for one in consts)
    for equation in closed.eqns:
        yield equation.primitive.name
        yield from (atom.val for atom in equation.invars if hasattr(atom, "val"))
        for value in equation.params.values():
            inner = value if isinstance(value, tuple | list) else (value,)
            yield from (part for one in inner if hasattr(one, "eqns") for part in _parts(one))


def _alike(one: Any, two: Any) -> bool:
    if isinstance(one, str) != isinstance(two, str):
        return False
    return np.array_equal(np.asarray(one), np.asarray(two), equal_nan=not isinstance(one, str))
