"""Brings the training order to the device: everything once (resident), or in chunks of steps (streamed).

Both hand the same compiled loop a source and a table of the steps' examples; which one it is never changes a bit of
the result.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from aeflax.engine.placement import Placement
from aeflax.engine.state import Order, Source

CHUNK_BYTES = 16 * 2**20  # of stored examples in one streamed chunk on each process; a few are in flight


class Streamed(NamedTuple):
    """Examples that are read when they are needed.

    Attributes:
      read: tables of indices -> the stored examples of each table in turn, [..., *example].
      examples: their number.
      example_bytes: size of one.
    """

    read: Callable[[Sequence[np.ndarray]], Iterator[np.ndarray]]
    examples: int
    example_bytes: int


class Chunk(NamedTuple):
    """Rows `first` .. `first + steps - 1` of the order are the next steps."""

    source: Source
    order: Order
    first: int
    steps: int


class Tables(Sequence[np.ndarray]):
    """The order of a run as a sequence of tables [S, b] of the examples that this process reads, one a chunk.

    -1 pads the last batch of an epoch and the last chunk of one, so that every chunk runs one program.

    Args:
      order: epoch -> permutation of N.
      examples: N.
      batch_size: global.
      span: steps in a chunk.
      columns: of a batch that this process holds.
      start: chunk that item 0 is.
    """

    def __init__(
        self,
        order: Callable[[int], np.ndarray],
        examples: int,
        batch_size: int,
        span: int,
        columns: slice,
        start: int = 0,
    ) -> None:
        self._arguments = (order, examples, batch_size, span, columns)
        self.start, self.span = start, span
        self.steps_per_epoch = -(-examples // batch_size)
        self.per_epoch = -(-self.steps_per_epoch // span)
        self._order = functools.lru_cache(maxsize=2)(order)  # chunks of two epochs are read at one time

    def __reduce__(self) -> Any:
        return Tables, (*self._arguments, self.start)

    def __len__(self) -> int:
        return 2**31 - 1 - self.start  # the run's length is not its business

    def from_chunk(self, start: int) -> "Tables":
        """The same tables from a later chunk on."""
        return Tables(*self._arguments, start)

    def __getitem__(self, index: Any) -> Any:
        epoch, part = divmod(self.start + int(index), self.per_epoch)
        _, _, batch_size, span, columns = self._arguments
        found = self._order(epoch)[part * span * batch_size : (part + 1) * span * batch_size]
        padded = np.full(span * batch_size, -1, np.int32)
        padded[: len(found)] = found
        return padded.reshape(span, batch_size)[:, columns]

    def sizes(self, chunk: int) -> np.ndarray:
        """Examples of each step of a chunk, on all processes, [S] float32."""
        _, examples, batch_size, span, _ = self._arguments
        first = chunk % self.per_epoch * span
        before = np.arange(first, first + span) * batch_size
        return np.clip(examples - before, 0, batch_size).astype(np.float32)


class Feed:
    """Serves the steps of a run in order, from any step on.

    Args:
      stored: training examples [N, ...], to be kept on every device, or how they are streamed.
      scaling: (shift, divisor) of each feature.
      batch_size: global batch size.
      order: epoch -> permutation of N.
      placement: the devices.
    """

    def __init__(
        self,
        stored: np.ndarray | Streamed,
        scaling: tuple[np.ndarray, np.ndarray],
        batch_size: int,
        order: Callable[[int], np.ndarray],
        placement: Placement,
    ) -> None:
        self._placement, self._read = placement, stored.read if isinstance(stored, Streamed) else None
        examples = stored.examples if isinstance(stored, Streamed) else len(stored)
        columns = placement.columns(batch_size)
        span = self.steps_per_epoch = -(-examples // batch_size)
        if isinstance(stored, Streamed):
            fitting = CHUNK_BYTES // ((columns.stop - columns.start) * stored.example_bytes)
            span = max(1, min(self.steps_per_epoch, fitting))
        self._tables = Tables(order, examples, batch_size, span, columns)
        shift, divisor = placement.replicate(scaling)
        held = None if isinstance(stored, Streamed) else placement.replicate(stored.reshape(examples, -1))
        self._source = Source(rows=held, shift=shift, divisor=divisor)  # type: ignore[arg-type]
        self._reading: Iterator[np.ndarray] | None = None
        self._loaded = -1  # chunk in `_source` and `_order`
        self._order: Order

    @property
    def streamed(self) -> bool:
        """Whether examples are read while training goes on."""
        return self._read is not None

    @property
    def span(self) -> int:
        """Steps that one chunk has at most."""
        return self._tables.span

    def chunk(self, step: int, limit: int) -> Chunk:
        """The steps from `step` on, at most `limit` of them, ending with the epoch at the latest."""
        epoch, row = divmod(step, self.steps_per_epoch)
        part, first = divmod(row, self.span)
        if self._loaded != (number := epoch * self._tables.per_epoch + part):
            self._load(number)
        last = min(self.span, self.steps_per_epoch - part * self.span)
        return Chunk(self._source, self._order, first, min(limit, last - first))

    def close(self) -> None:
        """Ends the reading in advance."""
        reading, self._reading = self._reading, None
        if reading is not None and hasattr(reading, "close"):
            reading.close()

    def _load(self, number: int) -> None:
        if self._read is not None:
            if self._reading is None or number != self._loaded + 1:
                self.close()
                self._reading = self._read(self._tables.from_chunk(number))
            rows = next(self._reading)
            self._source = self._source.replace(rows=self._placement.split(rows.reshape(*rows.shape[:2], -1)))
        example = self._placement.split(self._tables[number])
        self._order = Order(example, self._placement.replicate(self._tables.sizes(number)))
        self._loaded = number
