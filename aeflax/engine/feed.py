"""Brings the training order to the device: everything once (resident), or in chunks of steps (streamed).

Both hand the same compiled loop a source and a table of positions in it; which one it is never changes a bit
of the result.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from aeflax.engine.placement import Placement
from aeflax.engine.state import Order, Source

CHUNK_BYTES = 16 * 2**20  # of stored examples in one streamed chunk; two are in flight


class Chunk(NamedTuple):
    """Rows `first` .. `first + steps - 1` of the order are the next steps."""

    source: Source
    order: Order
    first: int
    steps: int


class Feed:
    """Serves the steps of a run in order, from any step on.

    Args:
      stored: training examples [N, F] as stored on the host, with their scaling.
      batch_size: global batch size.
      order: epoch -> permutation of N.
      placement: the devices.
      resident: whether all examples are kept on every device.
    """

    def __init__(
        self,
        stored: Source,
        batch_size: int,
        order: Callable[[int], np.ndarray],
        placement: Placement,
        *,
        resident: bool,
    ) -> None:
        self._rows = np.asarray(stored.rows)
        self._batch_size, self._placement = batch_size, placement
        self.steps_per_epoch = -(-len(self._rows) // batch_size)
        self.streamed = not resident
        self._scaling = placement.replicate(stored.replace(rows=None))
        self._loaded: tuple[int, int] | None = None
        self._epoch = functools.lru_cache(maxsize=1)(lambda epoch: table(order(epoch), batch_size))
        if resident:
            self._span = self.steps_per_epoch
            self._resident = self._scaling.replace(rows=placement.replicate(self._rows))
        else:
            self._span = max(1, min(self.steps_per_epoch, CHUNK_BYTES // (batch_size * self._rows[0].nbytes)))

    def chunk(self, step: int, limit: int) -> Chunk:
        """The steps from `step` on, at most `limit` of them, ending with the epoch at the latest."""
        epoch, row = divmod(step, self.steps_per_epoch)
        part, first = divmod(row, self._span)
        if self._loaded != (epoch, part):
            self._source, self._order = self._load(epoch, part)
            self._loaded = (epoch, part)
        last = min(self._span, self.steps_per_epoch - part * self._span)
        return Chunk(self._source, self._order, first, min(limit, last - first))

    def _load(self, epoch: int, part: int) -> tuple[Source, Order]:
        batches = self._epoch(epoch)
        if not self.streamed:
            order = self._placement.split(batches)
            return self._resident, Order(position=order, example=order)
        # Padded to the full span, so that every chunk runs one program.
        example = np.full((self._span, self._batch_size), -1, np.int32)
        rows = batches[part * self._span : (part + 1) * self._span]
        example[: len(rows)] = rows
        placed = self._placement.split_rows(self._rows[np.maximum(example, 0)])
        position = self._placement.split(self._placement.local_positions(*example.shape))
        return self._scaling.replace(rows=placed), Order(position, self._placement.split(example))


def table(order: np.ndarray, batch_size: int) -> np.ndarray:
    """An order cut into batches, [steps, batch_size] int32; the last batch is padded with -1."""
    return np.pad(order, (0, -len(order) % batch_size), constant_values=-1).reshape(-1, batch_size)


def fits(rows_bytes: int, device: jax.Device) -> bool:
    """Whether the examples take under a quarter of the device's memory; on CPU, whose memory is the host's, always.

    A memory-mapped file is then read whole.
    """
    if device.platform == "cpu":
        return True
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return limit is None or rows_bytes < limit // 4
