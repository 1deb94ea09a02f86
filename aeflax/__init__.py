"""aeflax: a fast, reproducible JAX/Flax trainer for autoencoders.

    import aeflax
    run = aeflax.train(aeflax.presets.vae(latent_dim=16), data="mnist")
    run.evaluate("test")["elbo"]

Public names are imported when first used, so that `import aeflax` itself costs nothing and sets nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Run", "config", "errors", "estimator", "load", "load_sweep", "presets", "sweep", "train", "verify"]

if TYPE_CHECKING:
    from aeflax import config, errors, estimator, presets
    from aeflax.api import load, train
    from aeflax.population.outcome import load_sweep
    from aeflax.population.sweep import sweep
    from aeflax.rundir.audit import verify
    from aeflax.trained import Run

_MODULES = ("config", "errors", "estimator", "presets")
_HOMES = {
    "Run": "aeflax.trained",
    "load": "aeflax.api",
    "load_sweep": "aeflax.population.outcome",
    "sweep": "aeflax.population.sweep",
    "train": "aeflax.api",
    "verify": "aeflax.rundir.audit",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"aeflax.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'aeflax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
