"""Batches without gradients, all of one size, so that each function over them is compiled once."""

import math
from collections.abc import Iterator

import jax
import numpy as np

from aeflax.data.dataset import Dataset
from aeflax.engine.state import Source
from aeflax.program import Program

MAX_BATCH = 1024
BATCH_VALUES = 2**20  # features of a batch of small examples, 4 MiB in float32


def batch_examples(program: Program) -> int:
    """Examples in a batch: what a training step is known to hold, and more of small ones; shared by the devices."""
    fitting = min(MAX_BATCH, BATCH_VALUES // math.prod(program.built.shape))
    size = max(program.experiment.data.batch_size, fitting)
    return size + -size % program.placement.shards


def batches(program: Program, dataset: Dataset, split: str) -> Iterator[tuple[Source, jax.Array]]:
    """Stored rows [B, F] with their scaling and indices [B] of a split in order; padding has the index -1."""
    values, placement, size = dataset.split(split).values, program.placement, batch_examples(program)
    rows = values.reshape(len(values), -1)
    shift, divisor = placement.replicate((dataset.scaling.shift, dataset.scaling.divisor))
    for start in range(0, len(rows), size):
        example = np.arange(start, start + size, dtype=np.int32)
        example[example >= len(rows)] = -1
        placed, index = placement.shard((rows[np.maximum(example, 0)], example))
        yield Source(placed, shift, divisor), index
