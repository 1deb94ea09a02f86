"""What a decoder makes of codes that no example has: samples, interpolations and traversals; and if it memorises."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from aeflax.applications import latents, neighbours
from aeflax.applications.inference import Inference
from aeflax.applications.latents import Dimensions
from aeflax.applications.spaces import scaled_rows, thinned
from aeflax.applications.transforms import Arrays, drawn, require_pictures, shown
from aeflax.data.dataset import Dataset
from aeflax.data.inputs import Inputs
from aeflax.data.rows import MAX_VALUES
from aeflax.data.sources import Examples
from aeflax.data.writers import MAX_PIXELS
from aeflax.errors import ConfigError

COMPARED = 1000  # samples whose nearest training examples are sought, and test examples beside them
SHOWN = 8  # of the samples, the first ones and the nearest
TEMPERATURES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
PAIRS = 3  # of test examples
STEPS = 9  # of an interpolation and of a traversal
TRAVERSED = 10  # dimensions
GRID = 15  # side of the prior's grid

Way = tuple[np.ndarray, Arrays]  # codes [S, K], and what belongs to each, [S]


def beside(
    inference: Inference, train: Examples, count: int, *, seed: int, temperature: float, picture: bool
) -> Iterator[Arrays]:
    """`sample` [B, ...] from the prior, its `nearest` training example, that one's `index` and its `distance`.

    The distance is the squared error per feature in the model's range; images are in the units of the run's data. A
    picture shows, in [0, 1], the sample at the left and the nearest at the right.
    """
    if picture:
        require_pictures(inference)
    for images in drawn(inference, count, seed=seed, temperature=temperature):
        found = neighbours.nearest(inference, images, train)
        near = _at(inference, train, found.index)
        pair = [shown(inference, part, picture=picture) for part in (images, near)]
        if picture:
            yield {"sample": _sheets(np.stack(pair, axis=1)[:, None])}
        else:
            yield {"sample": pair[0], "nearest": pair[1], "index": found.index, "distance": found.distance}


def interpolations(
    inference: Inference,
    inputs: Inputs,
    pairs: Sequence[tuple[int, int]],
    count: int,
    path: latents.Path | None,
    *,
    picture: bool,
) -> Iterator[Arrays]:
    """`interpolation` [B, ...] decoded on the way between the codes of two inputs, its `pair` and `share` of the way.

    They are in the units of the run's data. A picture has one row a pair.

    Args:
      inference: the model.
      inputs: where the pairs are.
      pairs: indices of the two.
      count: steps, both ends included.
      path: which way; None: `latents.usual_path`.
      picture: whether it is to be seen.

    Raises:
      ConfigError: for an index that is not there, or a picture that would be too large.
    """
    if picture:
        _require_picture(inference, len(pairs), count)
    index = np.array(pairs, dtype=np.int64)
    if index.min() < 0 or index.max() >= len(inputs):
        wrong = index[(index < 0) | (index >= len(inputs))][0]
        raise ConfigError(f"{inputs.name} has no example {wrong}; its {len(inputs):,} count from 0")
    ends = inference.scaled_encode(inference.scaled(inputs.at(index.reshape(-1)))).reshape(*index.shape, -1)
    shares = np.linspace(0.0, 1.0, count)
    kind = path or latents.usual_path(inference)
    ways = (
        (latents.between(first, second, shares, kind), {"pair": np.full(count, pair), "share": shares})
        for pair, (first, second) in enumerate(ends)
    )
    yield from _rows(inference, "interpolation", ways, picture=picture)


def traversals(
    inference: Inference, found: Dimensions, most: int, count: int, origin: np.ndarray | None, *, picture: bool
) -> Iterator[Arrays]:
    """`traversal` [B, ...] decoded along the most used dimensions, the `dimension`, its `value` and its KL or variance.

    They are in the units of the run's data. A picture has one row a dimension.

    Args:
      inference: the model.
      found: its dimensions.
      most: how many of them.
      count: steps along each.
      origin: code [K] that the other dimensions keep; None: their centre.
      picture: whether it is to be seen.

    Raises:
      ConfigError: for a picture that would be too large.
    """
    chosen = found.order[:most]
    if picture:
        _require_picture(inference, len(chosen), count)

    def way(dimension: np.int64) -> Way:
        (codes,), (steps,) = latents.traversal(found, np.array([dimension]), count, origin)
        size = np.full(count, found.sizes[dimension])
        return codes, {"dimension": np.full(count, dimension), "value": steps, found.measure: size}

    yield from _rows(inference, "traversal", map(way, chosen), picture=picture)


def described(found: Dimensions, most: int) -> list[dict[str, Any]]:
    """The most used dimensions as JSON holds them: number, KL or variance, and the range that is traversed."""
    return [
        {
            "dimension": int(i),
            found.measure: float(found.sizes[i]),
            "low": float(found.low[i]),
            "high": float(found.high[i]),
        }
        for i in found.order[:most]
    ]


def judge(
    inference: Inference, dataset: Dataset, *, seed: int = 0, temperature: float = 1.0
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a report shows of a decoder: values, and arrays of images in the model's range.

    Args:
      inference: the model.
      dataset: what it was trained on.
      seed: of the samples.
      temperature: of the samples.

    Returns:
      Values and arrays as they are kept: an archive's arrays have one length, so each has a first axis of 1. Of every
      model `interpolations` [1, P, 2, S, ...], linear and spherical, and `traversal` [1, D, S, ...]; with a prior also
      `samples` [1, 2, N, ...], the first ones and those nearest to training, `nearest` of the same shape, `distance`
      [1, 2, N], `temperatures` [1, T, N, ...], and for codes of two dimensions `grid` [1, R, R, ...].

    Raises:
      ConfigError: for a temperature outside [0, 1e6].
      DataError: where the model has diverged.
    """
    found = latents.dimensions(inference, dataset.test)
    values: dict[str, Any] = {
        "unit_range": inference.domain.unit_range,
        "prior": inference.has_prior,
        "path": latents.usual_path(inference),
        "measure": found.measure,
        "sizes": found.sizes.tolist(),
        "traversal": described(found, TRAVERSED),
    }
    codes, _ = latents.traversal(found, found.order[:TRAVERSED], STEPS)
    places = np.linspace(0, len(dataset.test) - 1, 2 * PAIRS).round().astype(np.int64)
    values["pairs"] = places.reshape(PAIRS, 2).tolist()
    arrays = {
        "traversal": _decoded(inference, codes),
        "interpolations": _decoded(inference, _paths(inference, _at(inference, dataset.test, places))),
    }
    if inference.has_prior:
        judged, pictures = _samples(inference, dataset, seed, temperature)
        values |= {"seed": seed, "temperature": temperature, "samples": judged, "temperatures": list(TEMPERATURES)}
        arrays |= pictures
        if len(found.sizes) == 2:
            grid, sigmas = latents.quantile_grid(GRID)
            values["grid_sigmas"] = sigmas.tolist()
            arrays["grid"] = _decoded(inference, grid)
    return values, {name: array[None] for name, array in arrays.items()}


def _samples(
    inference: Inference, dataset: Dataset, seed: int, temperature: float
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Whether samples are copies; the first of them and the nearest ones, with their nearest training examples."""
    most = max(1, min(COMPARED, MAX_VALUES // math.prod(inference.program.built.shape)))
    count = most if temperature else 1  # at 0 all are the same
    images = np.concatenate(list(drawn(inference, count, seed=seed, temperature=temperature)))
    held = scaled_rows(inference, thinned(dataset.test, most))
    found = neighbours.nearest(inference, np.concatenate([images.reshape(count, -1), held]), dataset.train)
    train, held_out = found[:count], found[count:]
    test = neighbours.nearest(inference, images, dataset.test)
    judged = neighbours.memorisation(train, test, held_out, (len(dataset.train), len(dataset.test)))
    chosen = np.stack([np.arange(min(SHOWN, count)), np.argsort(train.distance, kind="stable")[:SHOWN]])
    near = _at(inference, dataset.train, train.index[chosen.reshape(-1)])
    strip = [inference.scaled_decode(inference.prior(0, SHOWN, seed=seed, temperature=each)) for each in TEMPERATURES]
    return judged, {
        "samples": images[chosen],
        "nearest": near.reshape(images[chosen].shape),
        "distance": train.distance[chosen],
        "temperatures": np.stack(strip),
    }


def _paths(inference: Inference, images: np.ndarray) -> np.ndarray:
    """Codes [P, 2, STEPS, K] on the linear and on the spherical path between images [2 P, ...], two by two."""
    ends = inference.scaled_encode(images).reshape(PAIRS, 2, -1)
    shares = np.linspace(0.0, 1.0, STEPS)
    ways: tuple[latents.Path, ...] = ("linear", "spherical")
    return np.stack([[latents.between(first, second, shares, way) for way in ways] for first, second in ends])


def _at(inference: Inference, examples: Examples, index: np.ndarray) -> np.ndarray:
    """The run's examples at an index [N], in the model's range [N, ...]."""
    return inference.scaled(Inputs("the run's data", examples.values).at(index))


def _decoded(inference: Inference, codes: np.ndarray) -> np.ndarray:
    """Codes [..., K] -> images [..., H, W, C] in the model's range."""
    images = inference.scaled_decode(codes.reshape(-1, codes.shape[-1]))
    return images.reshape(*codes.shape[:-1], *images.shape[1:])


def _rows(inference: Inference, name: str, ways: Iterable[Way], *, picture: bool) -> Iterator[Arrays]:
    """Ways through the code, decoded in batches, with what belongs to each step; as one picture a row a way."""
    if picture:
        yield {name: _sheets(np.stack([np.clip(_decoded(inference, codes), 0.0, 1.0) for codes, _ in ways])[None])}
        return
    for codes, more in ways:
        for first in range(0, len(codes), inference.size):
            part = slice(first, first + inference.size)
            yield {name: inference.decode(codes[part]), **{key: values[part] for key, values in more.items()}}


def _require_picture(inference: Inference, rows: int, columns: int) -> None:
    """Raises ConfigError where so many images make no picture."""
    require_pictures(inference)
    height, width = inference.program.built.shape[:2]
    if rows * columns * height * width > MAX_PIXELS:
        raise ConfigError(
            f"a picture of {rows} × {columns} images of {height} × {width} pixels is too large; take fewer, "
            "or write .npy or .npz"
        )


def _sheets(images: np.ndarray) -> np.ndarray:
    """Images [N, R, S, H, W, C] as N large ones of R rows and S columns, a white line of one pixel between them."""
    count, rows, columns, height, width, channels = images.shape
    lined = np.pad(images, [(0, 0)] * 3 + [(0, 1), (0, 1), (0, 0)], constant_values=1.0)
    whole = lined.swapaxes(2, 3).reshape(count, rows * (height + 1), columns * (width + 1), channels)
    return whole[:, :-1, :-1]
