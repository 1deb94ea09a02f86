"""Weights by name as safetensors, for whoever rebuilds the network elsewhere."""

from typing import Any

import jax
import numpy as np

from aeflax.applications.inference import Inference
from aeflax.engine.state import leaf_name


def tensors(inference: Inference) -> dict[str, np.ndarray]:
    """Parameters and what the model keeps beside them, by dotted names such as `encoder.conv_0.kernel`.

    Kernels are [in, out] and [height, width, in, out], as Flax has them. The network takes
    (examples - `inputs.shift`) / `inputs.divisor`, each [1] or one value a feature, [F]; where the run filled missing
    values, with `inputs.fill` [F].
    """
    params = inference.program.built.complete(inference.weights["params"])  # tied kernels in both places
    weights = jax.device_get({"params": params, "model": inference.weights["model"]})
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
        name = leaf_name(path).replace("/", ".").removeprefix("params.")
        found[name] = np.ascontiguousarray(leaf)  # others would be written as if they were
    domain = inference.domain
    found["inputs.shift"], found["inputs.divisor"] = (
        np.asarray(part, np.float32).reshape(-1) for part in (domain.scaling.shift, domain.scaling.divisor)
    )
    if domain.fill is not None:
        found["inputs.fill"] = np.asarray(domain.fill, np.float32)
    return found


def blob(named: dict[str, np.ndarray], said: dict[str, str]) -> bytes:
    """The file's bytes, with words beside the tensors."""
    from safetensors.numpy import save

    made: Any = save(named, metadata=said)
    return bytes(made)
