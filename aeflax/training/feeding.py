"""From a data set to the feed of a program's training steps."""

import functools

import numpy as np

from aeflax.data import reading
from aeflax.data.dataset import Dataset
from aeflax.data.order import permutation
from aeflax.data.rows import Rows
from aeflax.engine.feed import Feed
from aeflax.engine.placement import Placement
from aeflax.program import Program


def open_feed(program: Program, dataset: Dataset) -> Feed:
    """The training examples of a program, in its order and on its devices."""
    rows, scaling, settings = dataset.train.values, dataset.scaling, program.experiment.data
    resident = fits(rows, program.placement) if settings.resident is None else settings.resident
    order = functools.partial(permutation, program.experiment.train.seed, examples=len(rows))
    ahead = None if resident else functools.partial(reading.ahead, workers=settings.workers)
    return Feed(rows, (scaling.shift, scaling.divisor), settings.batch_size, order, program.placement, ahead)


def fits(rows: Rows, placement: Placement) -> bool:
    """Whether examples take under a quarter of a device's memory; on CPU, which has the host's, if they are in it."""
    device = placement.devices[0]
    if device.platform == "cpu":
        return isinstance(rows, np.ndarray)
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return limit is None or rows.nbytes < limit // 4
