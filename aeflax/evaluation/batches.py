"""Batches without gradients, all of one size, so that each function over them is compiled once."""

import contextlib
import functools
import math
from collections.abc import Iterator

import jax
import numpy as np

from aeflax import hosts
from aeflax.data import reading
from aeflax.data.dataset import Dataset
from aeflax.engine.keys import Keys, Split
from aeflax.engine.state import Source
from aeflax.program import Program

MAX_BATCH = 1024
BATCH_VALUES = 2**20  # of a batch, 4 MiB in float32; on CPU of the largest array between layers: a cache holds a few


def batch_examples(program: Program) -> int:
    """Examples in a batch: what a training step is known to hold, and more of small ones; shared by the devices."""
    cached = program.placement.devices[0].platform == "cpu"
    values = program.built.widest if cached else math.prod(program.built.shape)
    fitting = min(MAX_BATCH, BATCH_VALUES // values)
    piece = program.experiment.data.batch_size // program.experiment.train.accumulate  # which divides
    size = max(piece, fitting)
    return size + -size % program.placement.shards


def batches(program: Program, dataset: Dataset, split: str, every: int = 1) -> Iterator[tuple[Source, jax.Array]]:
    """Stored rows [B, F] of every n-th example, with their scaling, and indices [B] in the split; -1 is padding.

    Each process reads what its devices hold. Where one cannot, its error is raised on all of them.
    """
    examples, placement, size = dataset.split(split), program.placement, batch_examples(program)
    values = examples.values
    shift, divisor = placement.replicate((dataset.scaling.shift, dataset.scaling.divisor))
    columns = placement.columns(size)
    wanted = np.arange(0, len(values), every, dtype=np.int32)
    padded = np.pad(wanted, (0, -len(wanted) % size), constant_values=-1)
    tables = [whole[columns] for whole in padded.reshape(-1, size)]
    read = (
        (values[np.maximum(table, 0)] for table in tables)
        if isinstance(values, np.ndarray)
        else reading.ahead(values, tables, workers=program.experiment.data.workers)
    )
    several = placement.local_shards < placement.shards  # processes read this together
    with contextlib.closing(read):  # also where whoever asked for batches leaves early
        for table in tables:
            rows = hosts.by_all(functools.partial(next, read)) if several and examples.lazy else next(read)
            placed, index = placement.shard((rows.reshape(len(rows), -1), table))
            yield Source(placed, shift, divisor), index


def targets(program: Program, dataset: Dataset, split: str, every: int = 1) -> Iterator[np.ndarray]:
    """Every n-th example of a split as the model is scored on it: images [B, ...] float32, scaled and binarized."""
    for source, example in batches(program, dataset, split, every):
        keys = Keys.of_evaluation(program.key, Split[split.upper()], example)
        yield np.asarray(program.built.parts.prepare(source, keys))[np.asarray(example) >= 0]
