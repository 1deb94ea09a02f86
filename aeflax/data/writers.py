"""Results written in batches: NPY, NPZ, CSV, Parquet or PNG by suffix, in a file's place only once they are complete.

A result larger than memory is never held whole.
"""

import contextlib
import itertools
import math
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aeflax.data.columns import LABEL
from aeflax.data.images import to_bytes
from aeflax.data.places import require_suited, require_writable
from aeflax.errors import ConfigError
from aeflax.storage.durable import replacing

MAX_IMAGES = 100  # in a picture
MAX_PIXELS = 2**26  # of a picture; larger images are fewer

Arrays = Mapping[str, np.ndarray]


def write(path: Path, batches: Iterable[Arrays], features: Sequence[str] | None = None) -> int:
    """Writes batches of named arrays and returns the number of examples written.

    | suffix | what is written |
    |---|---|
    | .npy | the first array |
    | .npz | every array under its name, uncompressed; takes twice its room while it is made |
    | .csv | every array: a vector as the column NAME, anything larger flattened as NAME_0, NAME_1, ...; `label` last |
    | .parquet | the columns of .csv, in their own types, as one row group a batch |
    | .png | a grid of up to 100 first images of the first array, in [0, 1] or uint8; asks for no more batches |

    Args:
      path: replaced when everything is written, or what it points to where it is a link; after an error or a signal
        it is as it was.
      batches: with the same names, types and shapes [B, ...] throughout, the first array being the main one. An
        exception that they raise passes through.
      features: names of the first array's columns in .csv and .parquet, in place of those above where it is [B, F] and
        no other column has one of them.

    Raises:
      ConfigError: where the path cannot be written or cannot hold such arrays.
      ValueError: for batches that do not fit together, or none.
    """
    require_writable(path)
    raised: list[BaseException] = []
    target = _Target(path, tuple(features or ()))

    def watched() -> Iterator[Arrays]:
        try:
            yield from _fitting(batches)
        except BaseException as error:
            raised.append(error)
            raise

    try:
        with replacing(path, through_links=True) as file:
            return _FORMATS[path.suffix.lower()](file, watched(), target)
    except OSError as error:
        if any(error is other for other in raised):  # of whoever makes the batches
            raise
        raise ConfigError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


@dataclass(frozen=True)
class _Target:
    """Where a result goes, and what its features are called, if anything."""

    path: Path
    features: tuple[str, ...]

    def headings(self, batch: Arrays) -> dict[str, list[str]]:
        """The columns of a table that each array becomes, the label's last."""
        main, *others = batch
        found = {name: _numbered(name, batch[name]) for name in sorted(batch, key=lambda name: name == LABEL)}
        taken = {heading for name in others for heading in found[name]}
        if batch[main].shape[1:] == (len(self.features),) and taken.isdisjoint(self.features):
            found[main] = list(self.features)
        return found


def _fitting(batches: Iterable[Arrays]) -> Iterator[Arrays]:
    """The batches, contiguous, as long as they fit together."""
    expected = None
    for batch in batches:
        arrays = {name: np.ascontiguousarray(values) for name, values in batch.items()}
        found = {name: (values.dtype, values.shape[1:]) for name, values in arrays.items()}
        if found != (expected := expected or found):
            raise ValueError(f"batches differ: {expected}, then {found}")
        if len({len(values) for values in arrays.values()}) > 1:
            raise ValueError(f"the arrays {', '.join(arrays)} of one batch differ in length")
        yield arrays
    if expected is None:
        raise ValueError("there are no batches to write")


def _main(batch: Arrays) -> np.ndarray:
    return next(iter(batch.values()))


def _npy(file: BinaryIO, batches: Iterator[Arrays], _: _Target) -> int:
    rows = 0
    for batch in batches:
        values = _main(batch)
        if not file.tell():
            _header(file, values, rows)
        file.write(values.data)
        rows += len(values)
    _header(file, values, rows)
    return rows


def _header(file: BinaryIO, like: np.ndarray, rows: int) -> None:
    """Writes the NPY header at the start. NumPy pads it so that its length is the same for any number of rows."""
    file.seek(0)
    descr = np.lib.format.dtype_to_descr(like.dtype)
    shape = (rows, *like.shape[1:])
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


def _npz(file: BinaryIO, batches: Iterator[Arrays], to: _Target) -> int:
    """One nameless temporary file an array, copied into the archive when their length is known."""
    rows = 0
    with contextlib.ExitStack() as stack:
        parts: dict[str, BinaryIO] = {}
        for batch in batches:
            for name, values in batch.items():
                if name not in parts:
                    parts[name] = stack.enter_context(tempfile.TemporaryFile(dir=to.path.parent))
                    _header(parts[name], values, 0)
                parts[name].write(values.data)
            rows += len(_main(batch))
        with zipfile.ZipFile(file, "w") as archive:
            for name, part in parts.items():
                _header(part, batch[name], rows)
                part.seek(0)
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    shutil.copyfileobj(part, member)
    return rows


def _csv(file: BinaryIO, batches: Iterator[Arrays], to: _Target) -> int:
    rows = 0
    for batch in batches:
        headings = to.headings(batch)
        if not file.tell():
            file.write(_line(map(_quoted, itertools.chain(*headings.values()))))
        for cells in zip(*(_rows(batch[name]) for name in headings), strict=True):
            file.write(_line(cells))
        rows += len(_main(batch))
    return rows


def _line(cells: Iterable[str]) -> bytes:
    return (",".join(cells) + "\n").encode()


def _quoted(text: str) -> str:
    """Text as a cell, in quotes where it holds what separates cells or lines."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in '",\r\n') else text


def _numbered(name: str, values: np.ndarray) -> list[str]:
    return [name] if values.ndim == 1 else [f"{name}_{i}" for i in range(_width(values))]


def _width(values: np.ndarray) -> int:
    """Values of one example."""
    return math.prod(values.shape[1:])


def _rows(values: np.ndarray) -> Iterator[str]:
    """The cells of each row; a float in the shortest digits that give it again in its own precision, text quoted."""
    if values.dtype.kind == "U":
        return (",".join(map(_quoted, row)) for row in values.reshape(len(values), _width(values)).tolist())
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    return (",".join(map(str, row)) for row in values.reshape(len(values), _width(values)))


def _parquet(file: BinaryIO, batches: Iterator[Arrays], to: _Target) -> int:
    import pyarrow
    from pyarrow import parquet

    rows = 0
    with contextlib.ExitStack() as stack:
        for batch in batches:
            columns = {
                heading: column
                for name, names in to.headings(batch).items()
                for heading, column in zip(names, _columns(batch[name]), strict=True)
            }
            table = pyarrow.table(columns)
            if not rows:
                writer = stack.enter_context(parquet.ParquetWriter(file, table.schema))
            writer.write_table(table)
            rows += len(_main(batch))
    return rows


def _columns(values: np.ndarray) -> np.ndarray:
    """Values [N, ...] -> one contiguous column a value of an example."""
    return np.ascontiguousarray(values.reshape(len(values), _width(values)).T)


def _png(file: BinaryIO, batches: Iterator[Arrays], to: _Target) -> int:
    from PIL import Image

    taken: list[np.ndarray] = []
    missing = MAX_IMAGES
    for batch in batches:
        values = _main(batch)
        require_suited(to.path, values.shape[1:])
        if not taken:
            missing = max(1, min(MAX_IMAGES, MAX_PIXELS // math.prod(values.shape[1:3])))
        taken.append(to_bytes(values[:missing]))
        missing -= len(taken[-1])
        if not missing:
            break
    images = np.concatenate(taken)
    if not len(images):
        raise ValueError("there are no images to draw")
    grid = _grid(images.reshape(*images.shape[:3], -1))
    Image.fromarray(grid[..., 0] if grid.shape[2] == 1 else grid).save(file, format="PNG")
    return len(images)


def _grid(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W, C] row by row in a square, a white line of one pixel between them."""
    total, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(total))
    rows = math.ceil(total / columns)
    cells = np.full((rows * columns, height + 1, width + 1, channels), 255, np.uint8)
    cells[:total, :height, :width] = images
    grid = cells.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    whole: np.ndarray = grid.reshape(rows * (height + 1), columns * (width + 1), channels)
    return whole[:-1, :-1]


_FORMATS: dict[str, Callable[[BinaryIO, Iterator[Arrays], _Target], int]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".csv": _csv,
    ".parquet": _parquet,
    ".png": _png,
}
