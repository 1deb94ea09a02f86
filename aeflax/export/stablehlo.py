"""StableHLO by `jax.export`: a blob a function, for any batch size, on cpu, cuda and tpu; read by JAX alone."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax import export

from aeflax.export.check import Runnable
from aeflax.export.parts import Part

PLATFORMS = ("cpu", "cuda", "tpu")
SUFFIX = "stablehlo"


def blobs(parts: Mapping[str, Part]) -> dict[str, bytes]:
    """Each function as serialized StableHLO, its weights inside."""
    (batch,) = export.symbolic_shape("batch")
    made = {}
    for name, part in parts.items():
        given = jax.ShapeDtypeStruct((batch, *part.given.shape), np.float32)
        made[name] = bytes(export.export(jax.jit(part.call), platforms=PLATFORMS)(given).serialize())
    return made


def runnable(blob: bytes) -> Runnable:
    """A blob as a function of arrays."""
    call: Any = export.deserialize(bytearray(blob)).call
    return lambda given: np.asarray(call(given))


def requirements() -> dict[str, Any]:
    """What reads the blobs: a JAX that is as new as the one that wrote them, or newer."""
    return {"jax": f">={jax.__version__}", "flatbuffers": "any"}
