"""From a data set to the feed of a program's training steps."""

import functools
import math
import time
from collections.abc import Callable

import numpy as np

from aeflax import hosts
from aeflax.data import reading
from aeflax.data.dataset import Dataset
from aeflax.data.order import permutation
from aeflax.data.rows import Rows
from aeflax.engine.feed import Chunk, Feed, Streamed
from aeflax.engine.placement import device_bytes
from aeflax.program import Program


def open_feed(program: Program, dataset: Dataset) -> Feed:
    """The training examples of a program, in its order and on its devices."""
    rows, scaling, settings = dataset.train.values, dataset.scaling, program.experiment.data
    order = functools.partial(permutation, program.experiment.train.seed, examples=len(rows))
    read = functools.partial(reading.ahead, rows, workers=settings.workers)
    example_bytes = math.prod(rows.shape[1:]) * rows.dtype.itemsize
    resident = _fits(rows) if settings.resident is None else settings.resident
    examples = rows[:] if resident else Streamed(read, len(rows), example_bytes)
    return Feed(examples, (scaling.shift, scaling.divisor), settings.batch_size, order, program.placement)


def next_chunk(feed: Feed, step: int, limit: int, idle: Callable[[], bool]) -> tuple[Chunk, float]:
    """The steps from `step` on, at most `limit`, and the seconds, at most, that the devices waited for their data.

    Where a process cannot read its part, its error is raised on all of them.

    Args:
      feed: of the training steps.
      step: of the state.
      limit: steps wanted.
      idle: whether the devices have nothing to do.
    """

    def read() -> tuple[Chunk, float]:
        started = time.perf_counter()
        chunk = feed.chunk(step, limit)
        # Whether the chunk before was done, now at the latest: an upper bound.
        return chunk, time.perf_counter() - started if idle() else 0.0

    return hosts.by_all(read) if feed.streamed else read()


def _fits(rows: Rows) -> bool:
    """Whether examples take under a quarter of a device's memory; on CPU, which has the host's, if they are in it."""
    limit = device_bytes()
    return isinstance(rows, np.ndarray) if limit is None else rows.nbytes < limit // 4
