"""Throughput of training on these devices: step time, images and operations a second, memory, waiting for data.

The program measured is the one that training runs. Nothing is kept of what it learns.
"""

import statistics
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeflax.config import Experiment
from aeflax.data.dataset import Dataset
from aeflax.data.dataset import load as load_data
from aeflax.defaults import resolve
from aeflax.engine.state import Batch, Source
from aeflax.engine.step import make_step
from aeflax.errors import ConfigError
from aeflax.program import Program, prepare
from aeflax.training.feeding import open_feed

CHUNK_SECONDS = 0.05  # of one timed chunk: long enough that starting it does not count, short enough for percentiles
FEWEST_CHUNKS = 5
PRODUCT_SIZE, PRODUCT_SIZE_ON_ACCELERATORS = 2048, 8192  # side of the float32 product that measures the peak


@dataclass(frozen=True)
class Measurement:
    """One training program's throughput.

    Attributes:
      devices: number, kind and placement.
      batch_size: global, in examples.
      compile_seconds: to trace and compile the loop, or to find it where JAX keeps a compilation cache.
      step_ms: milliseconds a step, the median of the timed chunks.
      step_ms_p10: their 10th percentile.
      step_ms_p90: their 90th percentile.
      images_per_second: at the median.
      flops_per_step: floating-point operations of one step over the whole batch, as XLA counts them before optimising.
      flops_per_second: at the median.
      peak_flops_per_second: of a large float32 matrix product on as many devices, measured in the same run.
      memory_bytes: arguments, results and temporaries of the program, on each device.
      host_share: the share of the time in which the host prepared and sent data and the device waited for it. Training
        prepares the next chunk while one is computed, so there this is what would be hidden.
    """

    devices: str
    batch_size: int
    compile_seconds: float
    step_ms: float
    step_ms_p10: float
    step_ms_p90: float
    images_per_second: float
    flops_per_step: float
    flops_per_second: float
    peak_flops_per_second: float
    memory_bytes: int
    host_share: float

    @property
    def share_of_peak(self) -> float:
        """Operations a second over the peak."""
        return self.flops_per_second / self.peak_flops_per_second

    def as_dict(self) -> dict[str, Any]:
        """Every figure by name."""
        return asdict(self) | {"share_of_peak": self.share_of_peak}


def measure(experiment: Experiment, batch_sizes: tuple[int, ...] = (), seconds: float = 3.0) -> list[Measurement]:
    """Measures an experiment's training at one or several batch sizes.

    Args:
      experiment: what would be trained.
      batch_sizes: to measure; none: the experiment's own.
      seconds: of training at each, after warming up.

    Raises:
      ConfigError, DataError: as training does.

    Example:
      >>> measure(aeflax.presets.vanilla(), batch_sizes=(128, 1024))[0].images_per_second
    """
    dataset, found, peak = load_data(experiment.data), [], _peak()
    for size in batch_sizes or (experiment.data.batch_size,):
        data = replace(experiment.data, batch_size=size)
        if size > len(dataset.train.values):
            raise ConfigError(f"a batch of {size} exceeds the {len(dataset.train.values)} training examples; lower it")
        resolved = resolve(replace(experiment, data=data), dataset.shape, len(dataset.train.values))
        program = prepare(resolved, dataset.shape)
        program.require_shares()
        found.append(_measure(program, dataset, seconds, peak * program.placement.shards))
    return found


def _measure(program: Program, dataset: Dataset, seconds: float, peak: float) -> Measurement:
    placement, data = program.placement, program.experiment.data
    feed = open_feed(program, dataset)
    state, sums = program.initial_state(), program.zero_sums()
    loop = program.compile(streamed=feed.streamed)

    chunk = feed.chunk(0, 1)
    arguments = (state, sums, chunk.source, chunk.order, chunk.first, chunk.steps, program.key, program.hyper)
    started = time.perf_counter()
    compiled = loop.lower(*arguments).compile()  # type: ignore[attr-defined]
    compile_seconds = time.perf_counter() - started
    memory = compiled.memory_analysis()

    step = 0

    def timed(limit: int) -> tuple[int, float, float]:
        """Runs at most `limit` steps: how many, the seconds that the host prepared data, the seconds in all."""
        nonlocal state, sums, step
        started = time.perf_counter()
        chunk = feed.chunk(step, limit)
        prepared = time.perf_counter() - started
        state, sums = compiled(
            state, sums, chunk.source, chunk.order, chunk.first, chunk.steps, program.key, program.hyper
        )
        jax.block_until_ready(state)
        step += chunk.steps
        return chunk.steps, prepared, time.perf_counter() - started

    timed(1)
    steps, _, spent = timed(8)
    pace = max(1, round(steps * CHUNK_SECONDS / spent))
    took: list[float] = []  # seconds a step, of every chunk
    host = total = 0.0
    while total < seconds or len(took) < FEWEST_CHUNKS:
        steps, prepared, spent = timed(pace)
        took.append(spent / steps)
        host, total = host + prepared, total + spent
    median = statistics.median(took)
    flops = flops_per_step(program)
    return Measurement(
        devices=str(placement),
        batch_size=data.batch_size,
        compile_seconds=compile_seconds,
        step_ms=1e3 * median,
        step_ms_p10=1e3 * float(np.percentile(took, 10)),
        step_ms_p90=1e3 * float(np.percentile(took, 90)),
        images_per_second=data.batch_size / median,
        flops_per_step=flops,
        flops_per_second=flops / median,
        peak_flops_per_second=peak,
        memory_bytes=memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes,
        host_share=host / total,
    )


def flops_per_step(program: Program) -> float:
    """Floating-point operations of one step over the whole batch, counted before it is optimised or shared out."""
    size, features = program.experiment.data.batch_size, int(np.prod(program.built.shape))
    rows = jax.ShapeDtypeStruct((size, features), jnp.float32)
    scaling = jax.ShapeDtypeStruct((1,), jnp.float32)
    batch = Batch(Source(rows, scaling, scaling), jax.ShapeDtypeStruct((size,), jnp.int32))  # type: ignore[arg-type]
    step = jax.jit(make_step(program.built.parts))
    counted = step.lower(program.template(), batch, program.key, program.hyper).cost_analysis()
    assert counted is not None
    return float(counted["flops"])


def _peak() -> float:
    """Operations a second of a large float32 matrix product on one device, the best of several."""
    size = PRODUCT_SIZE if jax.devices()[0].platform == "cpu" else PRODUCT_SIZE_ON_ACCELERATORS
    square = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda a, b: a @ b)
    jax.block_until_ready(product(square, square))
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        jax.block_until_ready(product(square, square))
        best = min(best, time.perf_counter() - started)
    return float(2 * size**3) / best
