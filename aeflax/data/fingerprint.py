"""What tells whether data are those that a run was trained on."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from aeflax.data.rows import Rows, evenly

SAMPLE, SAMPLE_BYTES = 1000, 64 * 2**20  # evenly spaced examples of the sampled digest, at most


def fingerprint(values: Rows) -> dict[str, Any]:
    """Shape, dtype and SHA-256 of examples.

    `sha256` is of all the values, and given where they are in memory; `sample_sha256` is of up to 1,000 evenly spaced
    examples, and given always, so that it can be compared wherever the data lie.
    """
    found: dict[str, Any] = {"shape": list(values.shape), "dtype": str(values.dtype)}
    if isinstance(values, np.ndarray):
        found["sha256"] = hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
    return found | {"sample_sha256": _sampled(values)}


def _sampled(values: Rows) -> str:
    each = math.prod(values.shape[1:]) * values.dtype.itemsize
    count = min(len(values), SAMPLE, max(16, SAMPLE_BYTES // each))
    digest = hashlib.sha256()
    for index in np.array_split(evenly(len(values), count), max(1, count * each // 2**22)):
        digest.update(np.ascontiguousarray(values[index]).data)
    return digest.hexdigest()


def agree(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> bool:
    """Whether two fingerprints are of the same data, as far as both tell; a split that is in one alone is another."""
    if first is None or second is None:
        return first is second
    return all(first[name] == second[name] for name in first.keys() & second.keys())
