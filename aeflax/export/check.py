"""Whether what was exported computes what the model does: asked of every export, before it is kept."""

from collections.abc import Callable, Mapping

import numpy as np

from aeflax.applications.inference import Inference, joined
from aeflax.errors import AeflaxError

Runnable = Callable[[np.ndarray], np.ndarray]

BATCHES = (1, 7, 64)
# Of the largest output: float32 products in another order. A wrong layer, a lost bias move outputs by a hundredth.
TOLERANCE = 1e-5


class ExportError(AeflaxError):
    """What was exported computes something else than the model; nothing was kept."""


def largest_difference(inference: Inference, exported: Mapping[str, Runnable]) -> float:
    """The largest difference between exported functions and the model's own, of the largest output.

    Args:
      inference: the model.
      exported: what was made of each of its functions, by name.

    Raises:
      ExportError: if one differs by more than 1e-5.
    """
    random, worst = np.random.default_rng(0), 0.0
    for name, run in exported.items():
        for size in BATCHES:
            given, expected = _case(inference, name, size, random)
            found = np.asarray(run(given))
            difference = float(np.max(np.abs(found - expected))) / max(1.0, float(np.max(np.abs(expected))))
            if found.shape != expected.shape or not difference <= TOLERANCE:
                raise ExportError(
                    f"the exported {name} differs from the model by {difference:.2g} of its largest output at batch "
                    f"{size}, more than {TOLERANCE:g}; nothing was exported, please report it"
                )
            worst = max(worst, difference)
    return worst


def _case(inference: Inference, name: str, size: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Random input of a function, as float32, and what the model itself makes of it."""
    domain, shape = inference.domain, inference.program.built.shape
    drawn = random.uniform(size=(size, *shape)) if domain.unit_range else random.normal(size=(size, *shape))
    rows = domain.scaling.invert(drawn.astype(np.float32).reshape(size, -1))
    stored = np.clip(np.round(rows), 0, 255) if domain.dtype == np.uint8 else rows
    examples = stored.astype(domain.dtype).reshape(size, *shape)
    if name == "autoencoder":
        return examples.astype(np.float32), joined(inference.reconstruct([examples]), (0, *shape))
    codes = joined(inference.encode([examples]), (0, inference.code_size))
    if name == "encoder":
        return examples.astype(np.float32), codes
    return codes, inference.decode(codes)
