"""Several processes as one program, on JAX's own runtime. With a single process every function here does nothing.

Every process runs the same command and dispatches the same programs in the same order; whatever is decided from
something that only one of them knows (the clock, a signal, a file) is decided with `agree`.
"""

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def count() -> int:
    """Processes that train together."""
    processes: int = jax.process_count()
    return processes


def primary() -> bool:
    """Whether this process writes what all of them share: logs, reports, the run's manifest."""
    return jax.process_index() == 0


def agree(values: Any) -> np.ndarray:
    """Gathers small values, alike in shape, from all processes -> [processes, ...], the same on each of them."""
    if count() == 1:
        return np.asarray(values)[None]
    gathered: np.ndarray = multihost_utils.process_allgather(np.asarray(values))
    return gathered


def fetch(leaf: Any) -> np.ndarray:
    """The whole of an array on this host, also where its parts lie on devices of other processes."""
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        return np.asarray(leaf)
    whole: np.ndarray = multihost_utils.process_allgather(leaf, tiled=True)
    return whole
