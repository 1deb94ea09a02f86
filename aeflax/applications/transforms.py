"""What the commands that read IN and write OUT compute: batches of named arrays, in order, of any number."""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from aeflax.applications.inference import Inference
from aeflax.data import projector
from aeflax.data.inputs import Inputs, batches
from aeflax.data.rows import MAX_VALUES
from aeflax.errors import ConfigError

Arrays = dict[str, np.ndarray]


def codes(inference: Inference, inputs: Inputs) -> Iterator[Arrays]:
    """`code` [B, K] of every example, with its `label` where there are labels, and what is carried along."""
    return _described("code", inference.encode(_values(inference, inputs)), inputs)


def reconstructions(inference: Inference, inputs: Inputs) -> Iterator[Arrays]:
    """`reconstruction` [B, ...] of every example in its own units, with what goes with its `code`."""
    return _described("reconstruction", inference.reconstruct(_values(inference, inputs)), inputs)


def pictures(inference: Inference, inputs: Inputs) -> Iterator[Arrays]:
    """Reconstructions [B, H, W, C] in [0, 1], to be seen."""
    require_pictures(inference)
    scaled = (inference.scaled(values) for values in _values(inference, inputs))
    return ({"reconstruction": np.clip(inference.scaled_reconstruct(images), 0.0, 1.0)} for images in scaled)


def samples(
    inference: Inference, count: int, *, seed: int, picture: bool, temperature: float = 1.0
) -> Iterator[Arrays]:
    """`sample` [B, ...] from the prior: in the units of the run's data, or in [0, 1] to be seen."""
    if picture:
        require_pictures(inference)
    for images in drawn(inference, count, seed=seed, temperature=temperature):
        yield {"sample": shown(inference, images, picture=picture)}


def drawn(inference: Inference, count: int, *, seed: int, temperature: float) -> Iterator[np.ndarray]:
    """Samples [B, ...] from the prior in the model's range, `count` in all."""
    for first in range(0, count, inference.size):
        stop = min(first + inference.size, count)
        yield inference.scaled_decode(inference.prior(first, stop, seed=seed, temperature=temperature))


def shown(inference: Inference, images: np.ndarray, *, picture: bool) -> np.ndarray:
    """Images [B, ...] of the model's range in the units of the run's data, or in [0, 1] to be seen."""
    return np.clip(images, 0.0, 1.0) if picture else inference.unscaled(images)


def projected(inference: Inference, inputs: Inputs) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Codes [N, K] of the first examples, their labels [N] and the images [N, H, W, C] in [0, 1], for the projector.

    None stands for labels where there are none, and for images where the data are no pictures.
    """
    features = math.prod(inference.program.built.shape)
    some = next(batches(inputs, max(1, min(projector.MAX_EXAMPLES, MAX_VALUES // features))))
    images = inference.scaled(some.values[:])
    seen = inference.domain.unit_range and images.ndim == 4 and images.shape[-1] in (1, 3)
    labels = None if some.labels is None else some.labels[:]
    return inference.scaled_encode(images), labels, images if seen else None


def require_pictures(inference: Inference) -> None:
    """Raises ConfigError where the model's data have no range that a picture shows."""
    if not inference.domain.unit_range:
        raise ConfigError("a picture needs data in [0, 1], and this run's are not; write .npy, .npz, .csv or .parquet")


def _values(inference: Inference, inputs: Inputs) -> Iterator[np.ndarray]:
    return (examples.values[:] for examples in batches(inputs, inference.size))


def _described(name: str, parts: Iterable[np.ndarray], inputs: Inputs) -> Iterator[Arrays]:
    start = 0
    for part in parts:
        stop = start + len(part)
        yield inputs.described({name: part}, slice(start, stop))
        start = stop
