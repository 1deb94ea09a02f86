"""Files of TensorBoard's embedding projector: `tensorboard --logdir DIRECTORY`, then the tab Projector.

| file | what it holds |
|---|---|
| tensors.tsv | one code a line, its numbers parted by tabs |
| metadata.tsv | one label a line, or the example's number; a single column has no heading |
| sprite.png | for images: a square of thumbnails, row by row |
| projector_config.pbtxt | which file is which |
"""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from aeflax.data.images import to_bytes
from aeflax.errors import ConfigError
from aeflax.storage.durable import replacing

MAX_EXAMPLES = 10_000  # that a browser shows swiftly
MAX_SIDE = 8192  # pixels of a sprite, the projector's own bound


def write(directory: Path, codes: np.ndarray, labels: np.ndarray | None, images: np.ndarray | None) -> None:
    """Writes the projector's files of codes [N, K]; those of an earlier call are replaced.

    Args:
      directory: made where there is none.
      codes: to be shown.
      labels: [N], None where there are none.
      images: [N, H, W, C] in [0, 1] with one or three channels, None where nothing can be shown.

    Raises:
      ConfigError: where the directory cannot be written to.
    """
    known = np.arange(len(codes)) if labels is None else labels
    lines = [
        "embeddings {",
        '  tensor_name: "codes"',
        '  tensor_path: "tensors.tsv"',
        '  metadata_path: "metadata.tsv"',
    ]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _put(directory / "tensors.tsv", ("\t".join(map(str, row)) for row in codes))
        _put(directory / "metadata.tsv", (" ".join(str(label).split()) or "-" for label in known))
        sprite = directory / "sprite.png"
        sprite.unlink(missing_ok=True)
        if images is not None:
            height, width = _draw(sprite, images)
            size = f"single_image_dim: {width} single_image_dim: {height}"
            lines.append(f'  sprite {{ image_path: "sprite.png" {size} }}')
        _put(directory / "projector_config.pbtxt", [*lines, "}"])
    except OSError as error:
        raise ConfigError(f"cannot write to {directory}: {error.strerror or error}; choose another place") from error


def _put(path: Path, lines: Iterable[str]) -> None:
    with replacing(path) as file:
        file.writelines(f"{line}\n".encode() for line in lines)


def _draw(path: Path, images: np.ndarray) -> tuple[int, int]:
    """Draws thumbnails of images [N, H, W, C], every n-th pixel of large ones; returns their height and width."""
    from PIL import Image

    side = math.ceil(math.sqrt(len(images)))
    every = max(1, -(-side * max(images.shape[1:3]) // MAX_SIDE))
    small = to_bytes(images[:, ::every, ::every])
    height, width, channels = small.shape[1:]
    cells = np.zeros((side * side, height, width, channels), np.uint8)
    cells[: len(small)] = small
    square = cells.reshape(side, side, height, width, channels).swapaxes(1, 2)
    square = square.reshape(side * height, side * width, channels)
    with replacing(path) as file:
        Image.fromarray(square[..., 0] if channels == 1 else square).save(file, format="PNG")
    return height, width
