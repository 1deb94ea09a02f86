"""aeflax: a fast, reproducible JAX/Flax trainer for autoencoders.

    import aeflax
    run = aeflax.train(aeflax.presets.vae(latent_dim=16), data="mnist")
    run.evaluate("test")["elbo"]

Public names are imported when first used, so that `import aeflax` itself costs nothing and sets nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Run", "config", "errors", "load", "presets", "train"]

if TYPE_CHECKING:
    from aeflax import config, errors, presets
    from aeflax.api import Run, load, train

_MODULES = ("config", "errors", "presets")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"aeflax.{name}")
    if name in __all__:
        return getattr(importlib.import_module("aeflax.api"), name)
    raise AttributeError(f"module 'aeflax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
