"""From a data set to the feed of a program's training steps."""

import functools
import math

import numpy as np

from aeflax.data import reading
from aeflax.data.dataset import Dataset
from aeflax.data.order import permutation
from aeflax.data.rows import Rows
from aeflax.engine.feed import Feed, Stream
from aeflax.engine.placement import device_bytes
from aeflax.program import Program


def open_feed(program: Program, dataset: Dataset) -> Feed:
    """The training examples of a program, in its order and on its devices."""
    rows, scaling, settings = dataset.train.values, dataset.scaling, program.experiment.data
    order = functools.partial(permutation, program.experiment.train.seed, examples=len(rows))
    read = functools.partial(reading.ahead, rows, workers=settings.workers)
    example_bytes = math.prod(rows.shape[1:]) * rows.dtype.itemsize
    resident = _fits(rows) if settings.resident is None else settings.resident
    examples = rows[:] if resident else Stream(read, len(rows), example_bytes)
    return Feed(examples, (scaling.shift, scaling.divisor), settings.batch_size, order, program.placement)


def _fits(rows: Rows) -> bool:
    """Whether examples take under a quarter of a device's memory; on CPU, which has the host's, if they are in it."""
    limit = device_bytes()
    return isinstance(rows, np.ndarray) if limit is None else rows.nbytes < limit // 4
