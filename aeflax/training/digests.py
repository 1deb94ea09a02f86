"""Digests of what a run computes on: two runs that agree in them, and in those of their states, agree to the bit."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from aeflax import hosts
from aeflax.engine.feed import Chunk


class Batches:
    """The batches of a run, as the devices see them."""

    def __init__(self) -> None:
        self._resident: tuple[Any, np.ndarray] | None = None  # all rows, on the device and here

    def digests(self, chunk: Chunk) -> Iterator[str]:
        """SHA-256 of each step's batch: the indices of its examples, -1 for padding, and their values."""
        example, rows = _whole(chunk.order.example), self._rows(chunk)
        example = example.reshape(len(example), -1)
        for step in range(chunk.first, chunk.first + chunk.steps):
            index = example[step]
            if chunk.source.rows.ndim == 2:
                values = np.take(rows, index, axis=0, mode="clip")
            else:
                values = rows[step].reshape(len(index), -1)
            values = values[index >= 0]  # resident and streamed data pad with other rows
            yield hashlib.sha256(index.astype("<i4").tobytes() + values.tobytes()).hexdigest()

    def _rows(self, chunk: Chunk) -> np.ndarray:
        """All rows, fetched once, or those of the chunk's steps."""
        rows = chunk.source.rows
        if rows.ndim != 2:
            return _whole(rows)
        if self._resident is None or self._resident[0] is not rows:
            self._resident = rows, hosts.fetch(rows)
        return self._resident[1]


def _whole(table: Any) -> np.ndarray:
    """A table [S, ...] of all steps' columns, whose parts may lie on other processes."""
    if hosts.count() > 1 and table.is_fully_addressable:  # pmap's arrays are those of one process
        return np.concatenate(hosts.agree(table), axis=1)
    return hosts.fetch(table)
