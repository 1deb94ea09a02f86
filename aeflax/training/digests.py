"""Digests of what a run computes on and of what it computed: two runs that agree in them agree to the bit."""

import hashlib
from collections.abc import Iterator

import numpy as np

from aeflax import hosts
from aeflax.engine.feed import Chunk


def batches(chunk: Chunk) -> Iterator[str]:
    """SHA-256 of each step's batch: the indices of its examples, -1 for padding, and their values as on the device."""
    example, rows = hosts.fetch(chunk.order.example), hosts.fetch(chunk.source.rows)
    for step in range(chunk.first, chunk.first + chunk.steps):
        values = np.take(rows, example[step], axis=0, mode="clip") if rows.ndim == 2 else rows[step]
        values = values[example[step] >= 0]  # resident and streamed data pad with other rows
        yield hashlib.sha256(example[step].astype("<i4").tobytes() + values.tobytes()).hexdigest()
