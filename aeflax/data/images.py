"""Folders of PNG and JPEG files, decoded when they are asked for."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aeflax.data.rows import Lazy
from aeflax.errors import DataError, reason

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_PIXELS = 2**26  # of a file; what is larger would take a small file to fill memory


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Values in [0, 1], clipped to it and NaN as 0, at 8 bits; uint8 as it is."""
    if images.dtype == np.uint8:
        return images
    shares = np.clip(np.nan_to_num(images.astype(np.float32)), 0.0, 1.0)
    levels: np.ndarray = np.rint(255.0 * shares).astype(np.uint8)
    return levels


@dataclass(frozen=True)
class Names:
    """Paths below a folder in little room: one string, and where in it each path ends."""

    folder: Path
    text: bytes
    ends: np.ndarray  # [N] int64

    @classmethod
    def of(cls, folder: Path, paths: list[bytes]) -> "Names":
        """From paths relative to the folder."""
        return cls(folder, b"".join(paths), np.cumsum([len(path) for path in paths], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Path:
        start = int(self.ends[index - 1]) if index else 0
        return self.folder / os.fsdecode(self.text[start : int(self.ends[index])])


@dataclass(frozen=True)
class Decoder:
    """Reads the images at positions [K] -> [K, H, W, C] uint8."""

    names: Names
    shape: tuple[int, int, int]
    crop: bool  # to `shape`, which is square; else every image must have it

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Images at positions [K] -> [K, H, W, C]."""
        found = np.empty((len(positions), *self.shape), np.uint8)
        for place, index in enumerate(positions.tolist()):
            found[place] = self._decoded(self.names[index])
        return found

    def _decoded(self, path: Path) -> np.ndarray:
        height, width, channels = self.shape
        mode = "L" if channels == 1 else "RGB"
        with _opened(path) as image:
            if not self.crop:
                _require_size(path, image.size, (width, height))
            try:
                taken = _cropped(image, mode, height) if self.crop else _converted(image, mode)
                return np.asarray(taken, np.uint8).reshape(self.shape)
            except Exception as error:  # Pillow raises a dozen kinds on damaged bytes
                raise DataError(f"{path} is damaged ({reason(error)}); replace it or remove it") from error


def read(folder: Path, size: int | None, grey: bool) -> dict[str, tuple[Lazy, np.ndarray | None]]:
    """Opens a folder -> {split: (images [N, H, W, C] uint8, labels [N] or None)}.

    Files are found in all its sub-folders and sorted by their relative paths; names that begin with a dot are left out,
    and so are links to folders and links to files outside. The folders `train` and `test` are the splits where both
    are there, else all is `train`. The name of the first sub-folder is the label of an image, a number where all the
    names are (different) numbers, else a word. No labels where an image lies in none.

    Args:
      folder: where the files are.
      size: side to which the centre square of each image is resized; None takes images as they are, of one size.
      grey: one channel instead of three.

    Raises:
      DataError: for a folder that cannot be read or holds no images, and for images that differ in size.
    """
    parts = {name: folder / name for name in ("train", "test")}
    if not all(path.is_dir() and not path.is_symlink() for path in parts.values()):
        parts = {"train": folder}
    paths = {split: sorted(_files(place)) for split, place in parts.items()}
    for split, found in paths.items():
        if not found:
            raise DataError(f"{parts[split]} holds no PNG or JPEG files; put some there or name another folder")
    names = {split: Names.of(parts[split], found) for split, found in paths.items()}
    labels = _labels(paths)
    if size is None:
        width, height = _one_size([names[split] for split in names])
    else:
        width = height = size
    shape = (height, width, 1 if grey else 3)
    return {
        split: (
            Lazy((len(found), *shape), np.dtype(np.uint8), Decoder(found, shape, size is not None), costly=True),
            labels.get(split),
        )
        for split, found in names.items()
    }


def _files(folder: Path) -> Iterator[bytes]:
    """Paths of the images, relative to the folder."""
    top = os.fsencode(folder)

    def fail(error: OSError) -> None:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}; check the path") from error

    for place, folders, names in os.walk(top, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(b".")]
        for name in names:
            path = os.path.join(place, name)
            if name.startswith(b".") or not os.fsdecode(name).lower().endswith(SUFFIXES):
                continue
            if os.path.islink(path) and not _inside(path, top):
                continue
            yield os.path.relpath(path, top)


def _inside(path: bytes, folder: bytes) -> bool:
    root = os.path.realpath(folder)
    return os.path.commonpath([root, os.path.realpath(path)]) == root


def _labels(paths: dict[str, list[bytes]]) -> dict[str, np.ndarray]:
    first = {split: [path.split(b"/")[0] if b"/" in path else b"" for path in found] for split, found in paths.items()}
    names = {name for found in first.values() for name in found}
    if b"" in names:
        return {}
    numbers = {name: int(name) for name in names if name.isdigit() and len(name) < 10}
    if len(set(numbers.values())) == len(names):
        return {split: np.array([numbers[name] for name in found], np.int32) for split, found in first.items()}
    return {split: np.array([name.decode(errors="replace") for name in found]) for split, found in first.items()}


def _one_size(splits: list[Names]) -> tuple[int, int]:
    """Width and height of all the images, from their headers."""
    first = _size(splits[0][0])
    for names in splits:
        for index in range(len(names)):
            _require_size(names[index], _size(names[index]), first)
    return first


def _size(path: Path) -> tuple[int, int]:
    with _opened(path) as image:
        size: tuple[int, int] = image.size
        return size


def _require_size(path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    if size != expected:
        raise DataError(
            f"{path} has {size[0]}x{size[1]} pixels where others have {expected[0]}x{expected[1]}; "
            f"bring all to one size, or train with --data.size {min(*size, *expected)}"
        )


def _opened(path: Path) -> "Image.Image":
    """The image with its header read; the pixels are decoded later."""
    from PIL import Image

    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise DataError(f"{path} is no ordinary file; remove it")
        image = Image.open(path, formats=("PNG", "JPEG"))
    except DataError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds on damaged bytes, and one on too many pixels
        if isinstance(error, OSError) and error.errno:
            raise DataError(f"cannot read {path}: {os.strerror(error.errno)}; check the path") from error
        raise DataError(f"{path} is no PNG or JPEG image that can be read ({reason(error)}); replace it") from error
    fault = None
    if image.width * image.height > MAX_PIXELS:
        fault = f"{image.width}x{image.height} pixels, above the limit of {MAX_PIXELS:,}; make it smaller"
    elif image.mode[0] in "IF":
        fault = "more than 8 bits a channel; convert it to 8"
    if fault:
        image.close()
        raise DataError(f"{path} has {fault}")
    return image


def _cropped(image: "Image.Image", mode: str, size: int) -> "Image.Image":
    """The centre square, resized with antialiasing; a large JPEG is decoded at a fraction of its size."""
    image.draft(mode, (2 * size, 2 * size))
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return _converted(image, mode).resize((size, size), box=(left, top, left + side, top + side))


def _converted(image: "Image.Image", mode: str) -> "Image.Image":
    if image.mode == mode:
        return image
    if "transparency" in image.info:  # Pillow warns of a palette's transparency that it drops
        image = image.convert("RGBA")
    return image.convert(mode)
