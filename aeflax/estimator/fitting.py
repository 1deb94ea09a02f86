"""The compiled epoch over an array that is there: padded, so that fits of nearly equal size run one program."""

import functools
import sys
from collections.abc import Iterator

import jax
import numpy as np

from aeflax.applications.inference import Inference
from aeflax.config import Experiment
from aeflax.data.dataset import Domain
from aeflax.data.order import permutation
from aeflax.engine.feed import Chunk, Tables
from aeflax.engine.state import Order, Source, TrainState, all_finite
from aeflax.errors import DivergedError
from aeflax.program import Program, prepare

LEAST = 64  # examples, and steps in a table, are padded to a multiple of it


@functools.lru_cache(maxsize=32)
def program(experiment: Experiment, shape: tuple[int, ...]) -> Program:
    """The program of a resolved experiment for examples of a shape; equal arguments share it."""
    return prepare(experiment, shape)


def advance(
    run: Program, state: TrainState | None, rows: np.ndarray, *, first_pass: int, steps: int, verbose: bool = False
) -> TrainState:
    """Takes steps over rows, in the order that training of the same seed takes.

    Args:
      run: the program.
      state: to go on from, as an earlier call gave it; None: the initial one.
      rows: examples [N, F] float32 in the model's range.
      first_pass: number of the pass over the data that the steps begin with.
      steps: how many, at least 1.
      verbose: whether a line on standard output tells of every chunk.

    Returns:
      The state, its leaves NumPy arrays.

    Raises:
      DivergedError: where updates were not finite too often, or the weights are not.
    """
    train, placement, batch = run.experiment.train, run.placement, run.experiment.data.batch_size
    if state is None:
        placed = run.initial_state()
    else:  # whose skipped updates are past
        placed = placement.replicate(state.replace(skipped_in_row=np.int32(0), most_skipped_in_row=np.int32(0)))
    padded = np.zeros((_rounded(len(rows)), rows.shape[1]), np.float32)
    padded[: len(rows)] = rows
    source = Source(*placement.replicate((padded, np.zeros(1, np.float32), np.ones(1, np.float32))))
    epoch, taken = run.compile(streamed=False), 0
    before = sums = run.zero_sums()
    for example, size in _tables(train.seed, first_pass, len(rows), batch):
        real = min(int(np.count_nonzero(size)), steps - taken)
        order = Order(placement.split(example), placement.replicate(size))
        before, (placed, sums) = sums, epoch(placed, run.zero_sums(), *run.arguments(Chunk(source, order, 0, real)))
        taken += real
        jax.block_until_ready(before)  # one chunk ahead of the device, no more: their orders take its memory
        if verbose:
            weight, loss = (float(sums[name]) for name in ("weight", "loss"))
            sys.stdout.write(f"step {taken} of {steps}: loss {loss / max(weight, 1.0):.6g} nats\n")
        if taken == steps:
            break
    found: TrainState = jax.device_get(placed)
    if found.most_skipped_in_row >= min(train.max_nonfinite, steps) or not all_finite(placed.params):
        rate = run.experiment.optimizer.learning_rate
        raise DivergedError(f"training diverged: losses or weights are not finite; lower learning_rate={rate:g}")
    return found


def inference(run: Program, state: TrainState, domain: Domain) -> Inference:
    """A fitted model ready to be used, its weights on the device."""
    return Inference(run, run.placement.replicate(state.replace(opt_state=None)), domain)


def _tables(seed: int, first_pass: int, examples: int, batch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices [S, B] and sizes [S] of the steps from a pass on, whole passes in each; the last rows may be padding."""
    span = -(-examples // batch)
    order = functools.partial(permutation, seed, examples=examples)
    passes = Tables(order, examples, batch, span, slice(0, batch), first_pass)
    together = max(1, LEAST // span)
    missing = _rounded(together * span) - together * span
    size = np.pad(np.tile(passes.sizes(0), together), (0, missing))
    for start in range(0, len(passes), together):
        example = np.concatenate([passes[start + index] for index in range(together)])
        yield np.pad(example, ((0, missing), (0, 0)), constant_values=-1), size


def _rounded(count: int) -> int:
    """The next multiple of 64, of an eighth to a sixteenth of large counts: few shapes, little waste."""
    unit = max(LEAST, 1 << max(0, count.bit_length() - 4))
    return -(-count // unit) * unit
