"""Examples that may be larger than memory: what every kind of them offers, and lazy views of them.

A NumPy array is `Rows`, too; the rest of aeflax need not know which kind it holds.
"""

import functools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

MAX_VALUES = 2**26  # of a matrix of examples in memory, 256 MiB in float32; of more every n-th example is taken
BLOCK_VALUES = 2**22  # read at a time in a pass over all examples: 16 MiB in float32


class Rows(Protocol):
    """Examples [N, ...], in memory or read when they are asked for; reading is safe from several threads."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of examples and the shape of one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values, as they are read."""

    @property
    def nbytes(self) -> int:
        """Bytes of all the values, as they are read."""

    def __len__(self) -> int:
        """Number of examples."""

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """The examples of a slice, or at integers [K] -> [K, ...]."""


@dataclass(frozen=True)
class Lazy:
    """Rows that a function reads.

    Attributes:
      shape: number of examples and the shape of one.
      dtype: uint8 or float32 of examples; any of labels.
      read: positions [K] int64, none negative or beyond the end -> a fresh array [K, ...]. Safe from several threads;
        pickled, it ships where the data lie and not the data.
      costly: whether reading takes a processor's time, as decoding does.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[np.ndarray], np.ndarray]
    costly: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of all the values, as they are read."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """The examples of a slice, or at integers [K]; negative ones count from the end."""
        if isinstance(index, slice):
            return self.read(np.arange(*index.indices(len(self)), dtype=np.int64))
        found = np.asarray(index)
        if found.ndim != 1 or found.dtype.kind not in "iu":
            raise TypeError(f"rows are taken by a slice or by integers [K], not by {found.dtype} of {found.shape}")
        found = found.astype(np.int64)
        found[found < 0] += len(self)
        if found.size and not 0 <= found.min() <= found.max() < len(self):
            raise IndexError(f"an index lies beyond the {len(self)} rows")
        return self.read(found)


class Where(Protocol):
    """Which rows a view has: position in the view -> position in what it views."""

    @property
    def count(self) -> int:
        """Rows of the view."""

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Positions [K] in the view -> positions [K] in what it views."""


@dataclass(frozen=True)
class Spaced:
    """`count` rows from `start` on, every `step`-th."""

    start: int
    count: int
    step: int = 1

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Position in the view -> in what it views, [K] -> [K]."""
        return self.start + self.step * positions


@dataclass(frozen=True)
class Between:
    """`count` rows from the first on, without every `every`-th."""

    every: int
    count: int

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Position in the view -> in what it views, [K] -> [K]."""
        found: np.ndarray = positions + positions // (self.every - 1)
        return found


@dataclass(frozen=True)
class Listed:
    """The rows that an array [count] lists."""

    index: np.ndarray

    @property
    def count(self) -> int:
        """Rows of the view."""
        return len(self.index)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Position in the view -> in what it views, [K] -> [K]."""
        found: np.ndarray = self.index[positions]
        return found


def take(rows: Rows, where: Where) -> Rows:
    """The rows that `where` names: of an array an array, else a lazy view, which holds no examples."""
    if not isinstance(rows, np.ndarray):
        read = functools.partial(_through, rows, where)
        return Lazy((where.count, *rows.shape[1:]), rows.dtype, read, is_costly(rows))
    index: slice | np.ndarray = where(np.arange(where.count))
    if isinstance(where, Spaced) and where.step == 1:
        index = slice(where.start, where.start + where.count)  # NumPy's own view, where others hold their rows alone
    taken: np.ndarray = rows[index]
    return taken


def _through(rows: Rows, where: Where, positions: np.ndarray) -> np.ndarray:
    return rows[where(positions)]


def numbered(count: int) -> Rows:
    """Rows [count] that hold their own places, int64."""
    return Lazy((count,), np.dtype(np.int64), _itself)


def _itself(positions: np.ndarray) -> np.ndarray:
    return positions


def joined(first: Rows, second: Rows) -> Rows:
    """The rows of both, one after the other; lazily where one of them is lazy."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.concatenate([first, second])
    shape = (len(first) + len(second), *first.shape[1:])
    dtype = np.result_type(first.dtype, second.dtype)
    costly = is_costly(first) or is_costly(second)
    return Lazy(shape, dtype, functools.partial(_of_both, first, second, dtype), costly)


def _of_both(first: Rows, second: Rows, dtype: np.dtype[Any], positions: np.ndarray) -> np.ndarray:
    early = positions < len(first)
    found = np.empty((len(positions), *first.shape[1:]), dtype)
    found[early] = first[positions[early]]
    found[~early] = second[positions[~early] - len(first)]
    return found


def is_costly(rows: Rows) -> bool:
    """Whether reading takes a processor's time, as decoding does."""
    return isinstance(rows, Lazy) and rows.costly


def blocks(rows: Rows) -> Iterator[tuple[int, np.ndarray]]:
    """All rows in order, in blocks of bounded size: (index of the first, [B, ...])."""
    size = max(1, BLOCK_VALUES // math.prod(rows.shape[1:]))
    for first in range(0, len(rows), size):
        yield first, rows[first : first + size]


def evenly(total: int, count: int) -> np.ndarray:
    """`count` evenly spaced positions from the first to the last of `total`, [count] int64."""
    return np.linspace(0, total - 1, count).astype(np.int64)


def fits_memory(nbytes: int) -> bool:
    """Whether so many bytes are under a quarter of the host's physical memory."""
    return nbytes < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
