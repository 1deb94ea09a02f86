"""What parts of a user's own make, once it is what it must be; else a sentence that names the part."""

import inspect
from typing import Any

import jax.numpy as jnp

from aeflax.errors import ConfigError


def function(name: str, made: Any, *given: str) -> Any:
    """What a factory made, once it can be called with what it is given."""
    try:
        inspect.signature(made).bind(*given)
    except ValueError:  # of a builtin, which says nothing of what it takes
        return made
    except TypeError as error:
        said = f"the factory of {name} must return a function of ({', '.join(given)})"
        raise ConfigError(f"{said}, and returned {made!r}: {error}") from error
    return made


def require_floats(name: str, found: Any, shape: tuple[int, ...]) -> None:
    """Raises ConfigError where a part of a kind that a user may have added gives no floats of a shape."""
    if found is None:
        raise ConfigError(f"{name} returns nothing where an array of the shape {shape} is needed; mend its factory")
    if jnp.shape(found) != shape:
        raise ConfigError(
            f"{name} gives an array of the shape {jnp.shape(found)} where {shape} is needed; mend its factory"
        )
    if not jnp.issubdtype(kind := jnp.result_type(found), jnp.floating):
        raise ConfigError(f"{name} gives {kind} where floats are needed, which have gradients; mend its factory")
