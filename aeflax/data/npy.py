"""NPY files larger than memory.

Read with `preadv`, not through a memory map: mapped pages count as resident memory until they are dropped, and mapping
them anew costs as much as the calls (measured on random rows of 784 bytes: about 1 us a row either way). A file
that shrinks under a map ends the process.
"""

import math
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from aeflax.data import files
from aeflax.data.checks import require_examples
from aeflax.data.rows import Lazy, Rows, fits_memory
from aeflax.errors import DataError


def rows(path: Path) -> Rows:
    """The examples of an NPY file, uint8 or float32, [N, D] or [N, H, W, C]; read when they are asked for.

    Raises:
      DataError: for a file that cannot be read, or that its type and shape rule out.
    """
    mapped = files.npy(path)
    require_examples(mapped, str(path))
    if not mapped.flags.c_contiguous:
        if not fits_memory(mapped.nbytes):
            raise DataError(
                f"{path} is stored column by column, so that its rows cannot be read one by one; "
                "write it again with numpy.save(FILE, numpy.ascontiguousarray(ARRAY))"
            )
        return np.ascontiguousarray(mapped)
    offset: int = mapped.offset  # type: ignore[attr-defined]
    shape: tuple[int, ...] = (*mapped.shape, 1) if mapped.ndim == 3 else mapped.shape
    dtype = np.dtype(np.uint8 if mapped.dtype == np.uint8 else np.float32)
    return Lazy(shape, dtype, Reader(path.absolute(), offset, mapped.dtype, shape[1:]))


class Reader:
    """Reads rows of the array that begins at a byte of a file."""

    def __init__(self, path: Path, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._path, self._offset, self._dtype, self._shape = path, offset, dtype, shape
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}; check the path") from error
        weakref.finalize(self, os.close, self._file)

    def __reduce__(self) -> Any:
        return Reader, (self._path, self._offset, self._dtype, self._shape)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Rows at positions [K] -> [K, ...], uint8 as stored, else float32; neighbours are read at once."""
        found = np.empty((len(positions), *self._shape), self._dtype)
        size = math.prod(self._shape) * self._dtype.itemsize
        memory = memoryview(found.reshape(-1).view(np.uint8).data)
        cuts = np.flatnonzero(np.diff(positions) != 1) + 1
        starts = np.concatenate([np.zeros(min(len(positions), 1), np.int64), cuts])
        stops = np.append(cuts, len(positions))
        places = (self._offset + positions[starts] * size).tolist()
        for start, stop, place in zip((starts * size).tolist(), (stops * size).tolist(), places, strict=False):
            self._fill(memory[start:stop], place)
        if found.dtype == np.uint8:
            return found
        with np.errstate(over="ignore"):  # becomes infinite, which is found where values are checked
            return found.astype(np.float32, copy=False)

    def _fill(self, memory: memoryview, place: int) -> None:
        missing = len(memory)
        while missing:  # one call reads 2 GiB at most
            try:
                count = os.preadv(self._file, (memory[-missing:],), place + len(memory) - missing)
            except OSError as error:
                raise DataError(f"cannot read {self._path}: {error.strerror}; write it again") from error
            if not count:
                raise DataError(f"{self._path} has become shorter since it was opened; write it again")
            missing -= count
