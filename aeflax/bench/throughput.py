"""Throughput of training on these devices: step time, images and operations a second, memory, waiting for data.

The program measured is the one that training runs. Nothing is kept of what it learns.
"""

import contextlib
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeflax.bench.measurement import LeftOut, Measurement
from aeflax.bench.peaks import Peak, peak
from aeflax.config import Experiment
from aeflax.config.defaults import resolve
from aeflax.data.dataset import Dataset
from aeflax.data.dataset import load as load_data
from aeflax.engine.compiling import needed_bytes
from aeflax.engine.feed import Feed
from aeflax.engine.state import Batch, Source
from aeflax.engine.step import make_step
from aeflax.errors import ConfigError, is_out_of_memory, reason, warn
from aeflax.program import Program, prepare
from aeflax.training.feeding import next_chunk, open_feed

CHUNK_SECONDS = 0.05  # of one timed chunk: long enough that starting it does not count, short enough for percentiles
FEWEST_CHUNKS = 5
PROFILED_SECONDS = 0.3


def measure(
    experiment: Experiment,
    batch_sizes: Sequence[int] = (),
    precisions: Sequence[str] = (),
    placements: Sequence[str] = (),
    *,
    seconds: float = 3.0,
    profile: Path | None = None,
    leave_out: Callable[[LeftOut], None] = lambda left: None,
) -> list[Measurement]:
    """Measures an experiment's training, at every combination of what is swept.

    Args:
      experiment: what would be trained.
      batch_sizes: to measure; none: the experiment's own.
      precisions: to measure, float32 or bfloat16; none: the experiment's own.
      placements: to measure, jit, pmap or mesh; none: the experiment's own.
      seconds: of training at each, after warming up.
      profile: a directory for a trace of some steps of each, to be opened in TensorBoard or Perfetto.
      leave_out: told of each of several that cannot be measured, or lacks memory, beside a warning.

    Raises:
      ConfigError: where none of them can be measured.
      DataError: as training does.

    Example:
      >>> measure(aeflax.presets.vanilla(), batch_sizes=(128, 1024))[0].images_per_second
    """
    dataset, limits = load_data(experiment.data), functools.cache(peak)
    swept = [
        *itertools.product(
            placements or (experiment.train.placement,),
            precisions or (experiment.train.precision,),
            batch_sizes or (experiment.data.batch_size,),
        )
    ]
    programs, found = [], []
    for one in swept:  # all of them, so that mistakes are told before any measuring
        with _leaving_out(leave_out, *one, alone=len(swept) == 1):
            programs.append((one, _program(experiment, dataset, *one)))
    for one, program in programs:
        with _leaving_out(leave_out, *one, alone=len(swept) == 1):
            found.append(_measure(program, dataset, seconds, limits(program.experiment.train.precision), profile))
    if not found:
        raise ConfigError(f"none of {len(swept)} combinations can be measured, for the reasons above; mend one")
    return found


@contextlib.contextmanager
def _leaving_out(
    leave_out: Callable[[LeftOut], None], placement: str, precision: str, batch_size: int, *, alone: bool
) -> Iterator[None]:
    """Warns and tells of one of several that cannot be or has no memory, and goes on."""
    try:
        yield
    except Exception as error:
        lacks = is_out_of_memory(error)
        if alone or not (lacks or isinstance(error, ConfigError)):
            raise
        why = f"out of memory ({reason(error)})" if lacks else str(error)
        left = LeftOut(placement, precision, batch_size, why)
        warn(str(left))
        leave_out(left)


def _program(experiment: Experiment, dataset: Dataset, placement: str, precision: str, batch_size: int) -> Program:
    """One of the programs of a sweep. Raises ConfigError where it cannot be."""
    examples = len(dataset.train.values)
    if batch_size > examples:
        raise ConfigError(f"a batch of {batch_size} exceeds the {examples} training examples; lower it")
    varied = replace(
        experiment,
        data=replace(experiment.data, batch_size=batch_size),
        train=replace(experiment.train, placement=placement, precision=precision),  # type: ignore[arg-type]
    )
    program = prepare(resolve(varied, dataset.shape, examples), dataset.shape)
    program.require_shares()
    return program


def _measure(program: Program, dataset: Dataset, seconds: float, limits: Peak, profile: Path | None) -> Measurement:
    placement, batch_size = program.placement, program.experiment.data.batch_size
    with contextlib.closing(open_feed(program, dataset)) as feed:
        timed = _Timed(program, feed)
        pace = timed.warm_up()
        timed.run(pace, seconds)
        if profile is not None:
            with jax.profiler.trace(str(profile)):
                timed.run(pace, min(seconds, PROFILED_SECONDS), count=False)
    median, flops = statistics.median(timed.took), flops_per_step(program)
    machines = 1 if placement.devices[0].platform == "cpu" else placement.shards  # host devices share one processor
    # Of the loop's body, which runs once in this count.
    moved = float((timed.compiled.cost_analysis() or {}).get("bytes accessed", 0.0)) * placement.shards
    return Measurement(
        devices=str(placement),
        placement=placement.name,
        precision=program.experiment.train.precision,
        batch_size=batch_size,
        compile_seconds=timed.compile_seconds,
        step_ms=1e3 * median,
        step_ms_p10=1e3 * float(np.percentile(timed.took, 10)),
        step_ms_p90=1e3 * float(np.percentile(timed.took, 90)),
        images_per_second=batch_size / median,
        flops_per_step=flops,
        bytes_per_step=moved,
        flops_per_second=flops / median,
        peak_flops_per_second=limits.flops * machines,
        peak_bytes_per_second=limits.bytes * machines,
        peak_source=limits.source,
        memory_bytes=needed_bytes(timed.compiled),
        data_wait=timed.waited / timed.total,
    )


class _Timed:
    """Runs a program's loop as training does, one chunk ahead of the devices, and times every chunk.

    Attributes:
      took: seconds a step, of every chunk.
      total: seconds in all.
      waited: of them, those in which the devices waited for data, at most.
    """

    def __init__(self, program: Program, feed: Feed) -> None:
        self.took: list[float] = []
        self.total = self.waited = 0.0
        self._program, self._feed = program, feed
        self._state, self._sums, self._step = program.initial_state(), program.zero_sums(), 0
        loop = program.compile(streamed=self._feed.streamed)
        chunk = self._feed.chunk(0, 1)
        started = time.perf_counter()
        arguments = (self._state, self._sums, *program.arguments(chunk))
        self.compiled = loop.lower(*arguments).compile()  # type: ignore[attr-defined]
        self.compile_seconds = time.perf_counter() - started

    def warm_up(self) -> int:
        """Runs a few steps, then more until they take long enough to be timed; returns how many make a chunk."""
        self._dispatch(1)
        jax.block_until_ready(self._state)
        steps, seconds = 1, 0.0
        while seconds < CHUNK_SECONDS / 2 and steps < self._feed.span:
            steps = min(8 * steps, self._feed.span)
            started = time.perf_counter()
            ran, _ = self._dispatch(steps)
            jax.block_until_ready(self._state)
            seconds = (time.perf_counter() - started) * steps / ran
        chunks = max(1, round(self._feed.span * seconds / (steps * CHUNK_SECONDS)))
        return -(-self._feed.span // chunks)  # what is left at the end of a span is nearly as long

    def run(self, pace: int, seconds: float, *, count: bool = True) -> None:
        """Trains for some seconds in chunks of at most `pace` steps."""
        running: tuple[int, jax.Array] | None = None
        took: list[float] = []
        trained, waited = 0, 0.0
        began = last = time.perf_counter()
        while (now := time.perf_counter() - began) < seconds or (len(took) < FEWEST_CHUNKS and now < 3 * seconds):
            steps, idle = self._dispatch(pace)
            trained += steps
            waited += idle if running is not None else 0.0
            mark = self._state.most_skipped_in_row + 0  # a copy: the next chunk donates the state it lies in
            if running is not None:
                jax.block_until_ready(running[1])
                done = time.perf_counter()
                # Both of them whole: where starting a chunk waits for its end, as with host devices, this is its time.
                if running[0] == steps == pace:
                    took.append((done - last) / pace)
                last = done
            running = steps, mark
        jax.block_until_ready(self._state)
        if count:
            self.total, self.waited = time.perf_counter() - began, waited
            self.took = took or [self.total / trained]

    def _dispatch(self, limit: int) -> tuple[int, float]:
        """Dispatches at most `limit` steps -> how many, and the seconds, at most, that the devices waited for data."""
        idle = self._state.step.is_ready  # type: ignore[attr-defined]
        chunk, waited = next_chunk(self._feed, self._step, limit, idle)
        self._state, self._sums = self.compiled(self._state, self._sums, *self._program.arguments(chunk))
        self._step += chunk.steps
        return chunk.steps, waited


def flops_per_step(program: Program) -> float:
    """Floating-point operations of one step over the whole batch, counted before it is optimised or shared out."""
    size, features = program.experiment.data.batch_size, int(np.prod(program.built.shape))
    rows = jax.ShapeDtypeStruct((size, features), jnp.float32)
    scaling = jax.ShapeDtypeStruct((1,), jnp.float32)
    example, count = jax.ShapeDtypeStruct((size,), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32)
    batch = Batch(Source(rows, scaling, scaling), example, count)  # type: ignore[arg-type]
    step = jax.jit(make_step(program.built.parts))
    arguments = jax.tree.map(_shape, (program.template(), batch, program.key, program.hyper))
    try:
        host = jax.local_devices(backend="cpu")[0]  # an accelerator's compiler does not say before it optimises
    except RuntimeError as error:
        raise ConfigError(
            "operations are counted on the CPU, which JAX_PLATFORMS leaves out; add it: cuda,cpu"
        ) from error
    with jax.default_device(host):
        counted = step.lower(*arguments).cost_analysis()
    assert counted is not None
    return float(counted["flops"])


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(leaf), jax.dtypes.canonicalize_dtype(leaf.dtype, allow_extended_dtype=True))
