"""Image codecs of Pillow, to be held against: each image as a file of its own, or all of them tiled into sheets.

Small images favour sheets, where a file's header is paid once; JPEG's blocks and WebP's then reach across images.
"""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Layout = Literal["sheet", "files"]

LAYOUTS: tuple[Layout, ...] = ("sheet", "files")
MAX_SIDE = 16_383  # pixels, of a WebP image


@dataclass(frozen=True)
class Codec:
    """A codec at the settings that it is tried at.

    Attributes:
      name: `jpeg`, `webp`, `png` or `webp_lossless`.
      format: as Pillow calls it.
      qualities: from the worst to the best; none where it is lossless.
      options: of every file.
    """

    name: str
    format: str
    qualities: Sequence[int] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


QUALITIES = (1, 3, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
LOSSY = (
    Codec("jpeg", "JPEG", QUALITIES, {"optimize": True}),
    Codec("webp", "WEBP", QUALITIES, {"method": 4}),
)
LOSSLESS = (
    Codec("png", "PNG", options={"optimize": True}),
    Codec("webp_lossless", "WEBP", options={"lossless": True, "quality": 100, "method": 6}),
)


def coded(codec: Codec, images: np.ndarray, layout: Layout, quality: int | None = None) -> tuple[int, np.ndarray]:
    """Images [N, H, W, C] uint8 with one or three channels -> bytes of the files, and what these hold, alike."""
    if layout == "files":
        files = [_file(codec, image, quality) for image in images]
        return sum(map(len, files)), np.stack([_image(file, images.shape[-1]) for file in files])
    total, found = 0, []
    for part in _parts(images):
        file = _file(codec, _sheet(part), quality)
        total += len(file)
        found.append(_cut(_image(file, images.shape[-1]), part))
    return total, np.concatenate(found)


def _file(codec: Codec, image: np.ndarray, quality: int | None) -> bytes:
    """One image [H, W, C] as a file."""
    from PIL import Image

    options = dict(codec.options) if quality is None else {**codec.options, "quality": quality}
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, codec.format, **options)
    return buffer.getvalue()


def _image(file: bytes, channels: int) -> np.ndarray:
    """What a file holds, [H, W, C] uint8. WebP has no grey of its own and gives it back as colour."""
    from PIL import Image

    with Image.open(io.BytesIO(file)) as image:
        found = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return found.reshape(*found.shape[:2], channels)


def _parts(images: np.ndarray) -> Iterator[np.ndarray]:
    """The images in runs that fit on a sheet."""
    height, width = images.shape[1:3]
    most = max(1, MAX_SIDE // height) * max(1, MAX_SIDE // width)
    return (images[first : first + most] for first in range(0, len(images), most))


def _columns(images: np.ndarray) -> int:
    """Images side by side on a sheet that is nearly as wide as it is high."""
    total, height, width = (int(size) for size in images.shape[:3])
    square = math.ceil(math.sqrt(total * height / width))
    return max(1, min(MAX_SIDE // width, square, total))


def _sheet(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W, C], row by row; cells that are left over repeat the last one, which codes best."""
    columns = _columns(images)
    rows = math.ceil(len(images) / columns)
    height, width, channels = images.shape[1:]
    cells: np.ndarray = images[np.minimum(np.arange(rows * columns), len(images) - 1)]
    cells = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return cells.reshape(rows * height, columns * width, channels)


def _cut(sheet: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The images of a sheet again."""
    height, width, channels = images.shape[1:]
    columns = _columns(images)
    cells = sheet.reshape(-1, height, columns, width, channels).swapaxes(1, 2)
    return cells.reshape(-1, height, width, channels)[: len(images)]
