"""Examples as a container and back: their codes, quantised by a step that is given, or sought for a quality."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aeflax.applications.compression import container
from aeflax.applications.compression.container import Container
from aeflax.applications.compression.quantization import coarsest, quantise, restore, steps
from aeflax.applications.inference import Inference
from aeflax.applications.spaces import thinned, thinning
from aeflax.applications.transforms import require_pictures
from aeflax.data.inputs import Inputs, batches
from aeflax.data.sources import Examples
from aeflax.errors import ConfigError, DataError
from aeflax.evaluation.quality import psnr as psnr_of

LOSS = 0.1  # dB that the step may cost where neither it nor a quality is given
WORST = -400.0  # dB, of squared errors beyond float32
SOUGHT = 2_000  # examples that a step is sought with; more are thinned to every n-th


@dataclass(frozen=True)
class Compressed:
    """A container, and what it costs and gives.

    Attributes:
      data: its bytes.
      examples: how many are in it.
      payload_bytes: of coded integers alone.
      bits_per_pixel: of the whole; of a vector, a value is a pixel. Channels share a pixel.
      payload_bits_per_pixel: of coded integers alone.
      step_size: between two quantised values of a code.
      psnr: dB with peak 1, mean over examples, after decompression; None where the data are not in [0, 1].
      unquantised_psnr: the same of the codes as they were.
      loss: dB by which the squared error is larger than that of the codes as they were, mean over examples.
    """

    data: bytes
    examples: int
    payload_bytes: int
    bits_per_pixel: float
    payload_bits_per_pixel: float
    step_size: float
    psnr: float | None
    unquantised_psnr: float | None
    loss: float

    def values(self) -> dict[str, Any]:
        """The same as JSON holds it, with the number of `bytes` in place of the bytes."""
        found = asdict(self)
        return {"bytes": len(found.pop("data")), **found}


def compress(
    inference: Inference,
    inputs: Inputs,
    state_sha256: str,
    *,
    step_size: float | None = None,
    psnr: float | None = None,
) -> Compressed:
    """Compresses examples; their labels are not kept.

    Args:
      inference: the model. Of a posterior the mean is coded.
      inputs: the examples [N, ...].
      state_sha256: digest of the model's state, which decompression asks for.
      step_size: between two quantised values of a code. None: the coarsest of eight to an octave that reaches `psnr`.
      psnr: dB with peak 1, mean over the examples. None: 0.1 less than without quantisation.

    Raises:
      ConfigError: for a step or a quality that cannot be.
      DataError: for examples of another shape or range, and for none.
    """
    require(inference, step_size, psnr)
    if not len(inputs):
        raise DataError(f"{inputs.name} is empty; at least one example is needed")
    codes = np.concatenate(list(inference.encode(part.values[:] for part in batches(inputs, inference.size))))
    if not np.isfinite(codes).all():
        raise DataError(f"codes of {inputs.name} are not finite; train with a lower optimizer.learning-rate")
    plain = _decibels(inference, inputs, codes)
    if step_size is None:
        step_size, found = _sought(inference, inputs, codes, plain, psnr)
    else:
        found = _decibels(inference, inputs, _quantised(codes, step_size))
    symbols = quantise(codes, step_size)
    dtype = inputs.at(slice(0, 1)).dtype.name
    data = container.pack(symbols, state_sha256=state_sha256, shape=inputs.shape, dtype=dtype, step_size=step_size)
    payload = container.unpack(data, inputs.name).header.payload_bytes
    pixels = len(codes) * pixels_of(inputs.shape)
    unit_range = inference.domain.unit_range
    return Compressed(
        data,
        len(codes),
        payload,
        8 * len(data) / pixels,
        8 * payload / pixels,
        step_size,
        found if unit_range else None,
        plain if unit_range else None,
        plain - found,
    )


def decompress(inference: Inference, found: Container, *, picture: bool = False) -> Iterator[dict[str, np.ndarray]]:
    """`reconstruction` [B, ...] of every example, batch by batch: in its own units, or in [0, 1] to be seen.

    Args:
      inference: the model that compressed them, by `Container.require`.
      found: the container.
      picture: whether they are to be seen.

    Raises:
      ConfigError: for a picture of data that have no range that one shows.
      DataError: for integers that are not what was written.
    """
    if picture:
        require_pictures(inference)
    header, symbols = found.header, found.symbols()
    scaling = inference.domain.scaling_of(np.empty(0, header.dtype))
    for first in range(0, len(symbols), inference.size):
        images = inference.scaled_decode(restore(symbols[first : first + inference.size], header.step_size))
        rows = images.reshape(len(images), -1)
        values = np.clip(rows, 0.0, 1.0) if picture else scaling.invert(rows)
        yield {"reconstruction": values.reshape(-1, *header.shape)}


def require(inference: Inference, step_size: float | None, psnr: float | None) -> None:
    """Raises ConfigError for a step or a quality that cannot be."""
    if step_size is not None and psnr is not None:
        raise ConfigError("a step size and a PSNR that decides it exclude each other; give one of them")
    if step_size is not None and not 0.0 < step_size < math.inf:
        raise ConfigError(f"a step size of {step_size:g} cannot be; take one above 0")
    if psnr is not None and not 0.0 < psnr < math.inf:
        raise ConfigError(f"a PSNR of {psnr:g} dB cannot be sought; take one above 0")
    if psnr is not None and not inference.domain.unit_range:
        raise ConfigError("a PSNR with peak 1 needs data in [0, 1], and this run's are not; give a step size")


def pixels_of(shape: tuple[int, ...]) -> int:
    """Pixels of an example (H, W, C), values of a vector (D,)."""
    return math.prod(shape[:2])


def _sought(
    inference: Inference, inputs: Inputs, codes: np.ndarray, plain: float, psnr: float | None
) -> tuple[float, float]:
    """The coarsest step that reaches a quality over all examples, and their PSNR there; `plain` is that without it."""
    some = Inputs(inputs.name, thinned(Examples(inputs.values), SOUGHT).values, fill=inputs.fill)
    own = codes[:: thinning(len(codes), SOUGHT)]
    least = psnr if psnr is not None else _decibels(inference, some, own) - LOSS

    def suffices(step_size: float) -> bool:
        return _decibels(inference, some, _quantised(own, step_size)) >= least

    choices = steps(codes)
    place = coarsest(suffices, choices)
    # What suffices for some examples may not for all.
    for step_size in choices[len(choices) if place is None else place :]:
        found = _decibels(inference, inputs, _quantised(codes, step_size))
        if found >= (plain - LOSS if psnr is None else psnr):
            return step_size, found
    if psnr is None:
        return choices[-1], _decibels(inference, inputs, _quantised(codes, choices[-1]))
    raise ConfigError(
        f"a PSNR of {psnr:g} dB is beyond this model, which reaches {plain:.2f} dB on {inputs.name} without "
        f"quantisation; take at most {math.floor(10 * plain) / 10:g}, or train one with a larger code"
    )


def _quantised(codes: np.ndarray, step_size: float) -> np.ndarray:
    """Codes [N, K] as they come back."""
    return restore(quantise(codes, step_size), step_size)


def _decibels(inference: Inference, inputs: Inputs, codes: np.ndarray) -> float:
    """PSNR of examples from codes [N, K], dB, mean over examples."""
    found: list[np.ndarray] = []
    start = 0
    for part in batches(inputs, inference.size):
        images = inference.scaled(part.values[:])
        made = inference.scaled_decode(codes[start : (start := start + len(images))])
        with np.errstate(over="ignore"):
            found.append(np.maximum(psnr_of(made, images), WORST))
    return float(np.mean(np.concatenate(found)))
