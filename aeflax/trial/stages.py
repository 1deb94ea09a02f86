"""The stages of a step's loss, as parts of a user's own are tried in them."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from aeflax import config, factories
from aeflax.build import Built
from aeflax.config.structure import unknown
from aeflax.engine.keys import root_key
from aeflax.engine.state import Hyper
from aeflax.own_parts import mean_of

LATE = 10**6  # a step at which every warm-up is over


def own_parts(model: config.Model) -> dict[str, str]:
    """Parts that factories of a user's own make: what a message calls each, by the path of its numbers."""
    paths = [path for path in factories.own(model) if path != "memory"]  # which is the bottleneck's
    kinds = {path: getattr(model, path).kind for path in paths if "/" not in path}
    return {path: f"model.{path.replace('/', '.')} {kinds.get(path, '')}".rstrip() for path in paths}


def among(own: Mapping[str, str], *slots: str) -> str:
    """What a message calls the parts of some slots."""
    return " or ".join(name for path, name in own.items() if path.partition("/")[0] in slots)


def batched(outputs: Callable[[int], Any]) -> Any:
    """Along which axis each leaf of a model's outputs has an entry an example; -1: it has none, as a codebook has.

    Args:
      outputs: examples in a batch -> shapes of what the model says of it.
    """

    def axis(one: Any, other: Any) -> int:
        places = [place for place, sizes in enumerate(zip(one.shape, other.shape, strict=True)) if sizes == (2, 3)]
        return places[0] if places else -1

    return jax.tree.map(axis, outputs(2), outputs(3))


class Stages:
    """The stages of a step's loss, and shapes of what a batch gives them.

    Args:
      built: the model.
      batch: examples in it.
      mean: over them; None: what a step's does, and refuses anything but an array [B, ...].

    Attributes:
      mean: the same, never None.
      corrupt: (keys, images, hyper) -> images.
      keys: one an example.
      images: [B, ...].
      hyper: its numbers, for what does not look at them.
    """

    def __init__(self, built: Built, batch: int, mean: Callable[[jax.Array], jax.Array] | None = None) -> None:
        self._parts, self.mean = built.parts, mean or mean_of(batch)
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
        return self._parts.apply(*variables, inputs, keys, hyper, self.mean)

    def judge(self, outputs: Any, targets: jax.Array, hyper: Hyper) -> Any:
        """Loss and terms."""
        return self._parts.objective(outputs, targets, self.mean, hyper, jnp.int32(LATE))
