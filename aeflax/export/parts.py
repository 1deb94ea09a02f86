"""What is exported of a model: its encoder, its decoder and the whole, as pure functions of one array."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeflax.applications.inference import Inference
from aeflax.data.dataset import Domain

Shape = tuple[int, ...]
Function = Callable[[jax.Array], jax.Array]


@dataclass(frozen=True)
class Port:
    """What goes into a function, or comes out of it: float32 [batch, *shape].

    Attributes:
      name: of the array.
      shape: of one example.
      meaning: its units, in words.
      range: least and largest value of examples as the model was trained on; None where there is no bound.
    """

    name: str
    shape: Shape
    meaning: str
    range: tuple[float, float] | None = None

    def described(self) -> dict[str, Any]:
        """As the manifest tells it."""
        return {
            "name": self.name,
            "shape": ["batch", *self.shape],
            "dtype": "float32",
            "range": None if self.range is None else list(self.range),
            "meaning": self.meaning,
        }


@dataclass(frozen=True)
class Part:
    """One function of a model, with its weights inside.

    Attributes:
      name: encoder, decoder or autoencoder.
      call: float32 [batch, *given.shape] -> float32 [batch, *made.shape].
      given: what goes in.
      made: what comes out.
    """

    name: str
    call: Function
    given: Port
    made: Port


def parts(inference: Inference) -> tuple[Part, ...]:
    """The functions of a model: examples and reconstructions are in the units of its data, whatever their scaling.

    A posterior's code is its mean, a reconstruction the expected example. Missing values, where the run filled them,
    may be NaN.
    """
    built, domain = inference.program.built, inference.domain
    # Constants of the functions, wherever they lie now.
    weights: Any = jax.tree.map(jnp.asarray, jax.device_get(inference.weights))
    shift, divisor = (np.asarray(part, np.float32) for part in (domain.scaling.shift, domain.scaling.divisor))

    def scaled(examples: jax.Array) -> jax.Array:
        rows = examples.reshape(examples.shape[0], int(np.prod(built.shape)))
        if domain.fill is not None:
            rows = jnp.where(jnp.isnan(rows), jnp.asarray(domain.fill, jnp.float32), rows)
        return ((rows - shift) / divisor).reshape(examples.shape[0], *built.shape)

    def unscaled(images: jax.Array) -> jax.Array:
        rows = images.reshape(images.shape[0], int(np.prod(built.shape)))
        return (rows * divisor + shift).reshape(images.shape[0], *built.shape)

    def outputs(examples: jax.Array) -> Any:
        return built.parts.apply(weights["params"], weights["model"], scaled(examples), None, weights["hyper"], None)

    def encode(examples: jax.Array) -> jax.Array:
        return built.encode(weights["params"], weights["model"], scaled(examples), weights["hyper"])

    def decode(codes: jax.Array) -> jax.Array:
        return unscaled(built.likelihood.mean(built.decode(weights["params"], codes)))

    def reconstruct(examples: jax.Array) -> jax.Array:
        return unscaled(built.likelihood.mean(outputs(examples).logits))

    span = _span(domain)
    examples = Port("examples", built.shape, _units(domain), span)
    codes = Port("codes", (inference.code_size,), "the code; of a posterior, its mean")
    restored = Port("reconstructions", built.shape, "expected examples, in the units of `examples`", span)
    return (
        Part("encoder", encode, examples, codes),
        Part("decoder", decode, codes, restored),
        Part("autoencoder", reconstruct, examples, restored),
    )


def _units(domain: Domain) -> str:
    stored = "bytes 0 to 255 as float32" if domain.dtype == np.uint8 else "float32 in the units of the run's data"
    return stored if domain.fill is None else f"{stored}; a missing value is NaN"


def _span(domain: Domain) -> tuple[float, float] | None:
    """Where examples lie, in stored units; None where the scaling says nothing of it."""
    if not domain.unit_range or domain.scaling.shift.size > 1:
        return None
    low, high = domain.scaling.shift[0], domain.scaling.shift[0] + domain.scaling.divisor[0]
    return float(low), float(high)
