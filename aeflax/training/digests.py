"""Digests of what a run computes on and of what it computed: two runs that agree in them agree to the bit."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from aeflax import hosts
from aeflax.engine.feed import Chunk


def batches(chunk: Chunk) -> Iterator[str]:
    """SHA-256 of each step's batch: the indices of its examples, -1 for padding, and their values as on the device."""
    example, resident = _whole(chunk.order.example), chunk.source.rows.ndim == 2
    example = example.reshape(len(example), -1)
    rows = hosts.fetch(chunk.source.rows) if resident else _whole(chunk.source.rows).reshape(*example.shape, -1)
    for step in range(chunk.first, chunk.first + chunk.steps):
        values = np.take(rows, example[step], axis=0, mode="clip") if resident else rows[step]
        values = values[example[step] >= 0]  # resident and streamed data pad with other rows
        yield hashlib.sha256(example[step].astype("<i4").tobytes() + values.tobytes()).hexdigest()


def _whole(table: Any) -> np.ndarray:
    """A table [S, ...] of all steps' columns, whose parts may lie on other processes."""
    if hosts.count() > 1 and table.is_fully_addressable:  # pmap's arrays are those of one process
        return np.concatenate(hosts.agree(table), axis=1)
    return hosts.fetch(table)
