"""Rate against distortion: bits per pixel against PSNR and SSIM over step sizes, beside the codecs of Pillow.

All of them get the same images, at 8 bits, and are held against these. What they take is whole files or the whole
container, whose entropy tables are made for just these images; the model is not counted.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from aeflax.applications import codecs
from aeflax.applications.codecs import Codec, Layout
from aeflax.applications.compression import container
from aeflax.applications.compression.packing import compress, pixels_of
from aeflax.applications.compression.quantization import quantise, restore
from aeflax.applications.inference import Inference
from aeflax.applications.spaces import thinned
from aeflax.data.dataset import Dataset
from aeflax.data.images import to_bytes
from aeflax.data.inputs import Inputs
from aeflax.data.rows import MAX_VALUES
from aeflax.errors import ConfigError
from aeflax.evaluation.quality import quality

EXAMPLES = 1000
FINER, COARSER = 3, 5  # octaves of steps around the one that costs 0.1 dB

Point = dict[str, Any]


def judge(inference: Inference, dataset: Dataset, state_sha256: str, *, examples: int = EXAMPLES) -> dict[str, Any]:
    """Sweeps step sizes and qualities over evenly spaced examples of the test split.

    Args:
      inference: the model.
      dataset: what it was trained on.
      state_sha256: digest of the model's state, which a container holds.
      examples: how many images, fewer where they are large or there are not so many.

    Returns:
      `source`, `split`, `examples`, `shape`, `code_size`, `model_bytes`; `unquantised` with `psnr` and `ssim` of codes
      as they are; `default`, the step size of `aeflax compress`; `points` of containers, from few bits to many, each
      with `bits_per_pixel`, `payload_bits_per_pixel`, `step_size`, `psnr` (dB, mean over images; None where nothing is
      lost) and `ssim` (mean over images, as `aeflax.evaluation.quality.quality`); `curves`, each with `name`
      (`jpeg`, `webp`, `png`, `webp_lossless`), `layout` (`files`, `sheet`) and `points` by `quality`; and
      `at_same_psnr`, where lossy codecs reach the PSNR of each of `points`, as the function of this name tells.

    Raises:
      ConfigError: for data that are no images of one or three channels in [0, 1], and for fewer than one example.
      DataError: where the run's data cannot be read.
    """
    require(inference, examples)
    shape = inference.program.built.shape
    test = thinned(dataset.test, min(examples, max(1, MAX_VALUES // math.prod(shape))))
    inputs = Inputs(f"{dataset.source} (test)", test.values)
    scaled = inference.scaled(inputs.at(slice(None)))
    images = to_bytes(scaled)
    codes = inference.scaled_encode(scaled)
    default = compress(inference, inputs, state_sha256).step_size
    steps = [default * 2.0**octave for octave in range(COARSER, -FINER - 1, -1)]
    empty = 2.0 * float(np.abs(codes).max())  # a step from which on all codes are 0
    own = [_own(inference, codes, images, step, state_sha256) for step in steps if step < empty or step == steps[-1]]
    curves: list[dict[str, Any]] = [
        {
            "name": codec.name,
            "layout": layout,
            "points": [_coded(codec, images, layout, setting) for setting in codec.qualities or (None,)],
        }
        for layout in codecs.LAYOUTS
        for codec in (*codecs.LOSSY, *codecs.LOSSLESS)
    ]
    return {
        "source": dataset.source,
        "split": "test",
        "examples": len(images),
        "shape": list(shape),
        "code_size": codes.shape[1],
        "model_bytes": sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(inference.weights["params"])),
        "unquantised": _quality(to_bytes(inference.scaled_decode(codes)), images),
        "default": default,
        "points": own,
        "curves": curves,
        "at_same_psnr": [
            {
                "name": curve["name"],
                "layout": curve["layout"],
                "points": [at_same_psnr(curve["points"], point["psnr"]) for point in own],
            }
            for curve in curves
            if curve["name"] in [codec.name for codec in codecs.LOSSY]
        ],
    }


def require(inference: Inference, examples: int = EXAMPLES) -> None:
    """Raises ConfigError for data that image codecs do not take, and for fewer than one example."""
    shape = inference.program.built.shape
    if examples < 1:
        raise ConfigError(f"{examples} examples are too few to judge compression; take at least 1")
    if len(shape) != 3 or shape[-1] not in (1, 3):
        what = f"images of {shape[-1]} channels" if len(shape) == 3 else f"vectors of {shape[0]} values"
        told = f"and this run's data are {what}"
        raise ConfigError(f"image codecs take images of 1 or 3 channels, {told}; leave --judge out")
    if not inference.domain.unit_range:
        raise ConfigError("image codecs take images in [0, 1], and this run's data are not; leave --judge out")


def at_same_psnr(points: list[Point], psnr: float | None) -> Point | None:
    """Where a codec's points reach a PSNR: `bits_per_pixel`, log-linear between them, and `psnr`; None where none does.

    Below the worst of its points, that one, of more PSNR than was asked for: the codec has no smaller files.
    """
    best: list[tuple[float, float]] = []  # more bits that give less are no choice
    for point in sorted(points, key=lambda point: float(point["bits_per_pixel"])):
        reached = _decibels(point["psnr"])
        if not best or reached > best[-1][0]:
            best.append((reached, float(point["bits_per_pixel"])))
    sought = _decibels(psnr)
    place = next((index for index, (reached, _) in enumerate(best) if reached >= sought), None)
    if place is None:
        return None
    above, bits = best[place]
    if place == 0 or above == sought or math.isinf(above):
        return {"bits_per_pixel": bits, "psnr": None if math.isinf(above) else above}
    below, fewer = best[place - 1]
    share = (sought - below) / (above - below)
    return {"bits_per_pixel": fewer * (bits / fewer) ** share, "psnr": psnr}


def _decibels(psnr: float | None) -> float:
    return math.inf if psnr is None else float(psnr)


def _own(inference: Inference, codes: np.ndarray, images: np.ndarray, step_size: float, state_sha256: str) -> Point:
    symbols = quantise(codes, step_size)
    data = container.pack(
        symbols, state_sha256=state_sha256, shape=images.shape[1:], dtype="uint8", step_size=step_size
    )
    payload = container.unpack(data, "the container").header.payload_bytes
    made = to_bytes(inference.scaled_decode(restore(symbols, step_size)))
    bits = {"step_size": step_size, "payload_bits_per_pixel": 8 * payload / _pixels(images)}
    return {"bits_per_pixel": 8 * len(data) / _pixels(images), **bits, **_quality(made, images)}


def _coded(codec: Codec, images: np.ndarray, layout: Layout, setting: int | None) -> Point:
    size, made = codecs.coded(codec, images, layout, setting)
    return {"bits_per_pixel": 8 * size / _pixels(images), "quality": setting, **_quality(made, images)}


def _quality(made: np.ndarray, images: np.ndarray) -> Mapping[str, float | None]:
    """PSNR and SSIM of images [N, H, W, C] uint8, means over images."""
    if np.array_equal(made, images):
        return {"psnr": None, "ssim": 1.0}
    found = quality(made / np.float32(255), images / np.float32(255))
    return {name: float(np.mean(found[name])) for name in ("psnr", "ssim")}


def _pixels(images: np.ndarray) -> int:
    return len(images) * pixels_of(images.shape[1:])
