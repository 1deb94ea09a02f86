"""Tied weights: a dense decoder that writes along the kernels by which the encoder reads (Vincent et al. 2010).

Functions of parameter trees. Those that are trained hold every kernel once, and the decoder's biases alone.
"""

from typing import Any

import jax

from aeflax.errors import ConfigError

PyTree = Any

CODE = "code"  # the layer to the code, in the bottleneck


def shared(params: PyTree) -> PyTree:
    """The parameters without the decoder's kernels.

    Raises:
      ConfigError: for a bottleneck without one layer to the code.
    """
    if CODE not in params["bottleneck"]:
        raise ConfigError("model.backbone.tied needs a bottleneck of one layer named `code`; leave it out")
    decoder = {
        name: {part: leaf for part, leaf in layer.items() if part != "kernel"}
        for name, layer in params["decoder"].items()
    }
    return {**params, "decoder": decoder}


def completed(params: PyTree) -> PyTree:
    """The parameters with the decoder's kernels: the encoder's transposed, the last one first."""
    decoder = {
        name: {**params["decoder"][name], "kernel": kernel.T}
        for name, kernel in zip(_writers(params), _readers(params), strict=True)
    }
    return {**params, "decoder": decoder}


def _readers(params: PyTree) -> list[jax.Array]:
    """Kernels from the input to the code."""
    encoder = params.get("encoder", {})  # none where the code's layer reads the input
    return [*(encoder[f"dense_{i}"]["kernel"] for i in range(len(encoder))), params["bottleneck"][CODE]["kernel"]]


def _writers(params: PyTree) -> list[str]:
    """Layers of the decoder from the output to the code."""
    return ["output", *(f"dense_{i}" for i in reversed(range(len(params["decoder"]) - 1)))]
