"""What is measured of a training program's speed, and what could not be. Standard library only."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One training program's throughput.

    Attributes:
      devices: number, kind and placement.
      placement: jit, pmap or mesh.
      precision: of the model's computation.
      batch_size: global, in examples.
      compile_seconds: to trace and compile the loop, or to find it where JAX keeps a compilation cache.
      step_ms: milliseconds a step, the median of the timed chunks.
      step_ms_p10: their 10th percentile.
      step_ms_p90: their 90th percentile.
      images_per_second: at the median.
      flops_per_step: floating-point operations of one step over the whole batch, as XLA counts them before optimising.
      bytes_per_step: memory read and written by one step on all devices, as XLA counts them in the compiled loop.
      flops_per_second: at the median.
      peak_flops_per_second: of all devices.
      peak_bytes_per_second: of all devices.
      peak_source: where the peaks come from.
      memory_bytes: arguments, results and temporaries of the program, on each device.
      data_wait: the share of the time, at most, in which the devices waited for data.
    """

    devices: str
    placement: str
    precision: str
    batch_size: int
    compile_seconds: float
    step_ms: float
    step_ms_p10: float
    step_ms_p90: float
    images_per_second: float
    flops_per_step: float
    bytes_per_step: float
    flops_per_second: float
    peak_flops_per_second: float
    peak_bytes_per_second: float
    peak_source: str
    memory_bytes: int
    data_wait: float

    @property
    def share_of_peak(self) -> float:
        """Operations a second over the peak."""
        return self.flops_per_second / self.peak_flops_per_second

    def as_dict(self) -> dict[str, Any]:
        """Every figure by name."""
        return asdict(self) | {"share_of_peak": self.share_of_peak}


@dataclass(frozen=True)
class LeftOut:
    """One of several combinations that cannot be measured.

    Attributes:
      placement: jit, pmap or mesh.
      precision: of the model's computation.
      batch_size: global, in examples.
      reason: why not.
    """

    placement: str
    precision: str
    batch_size: int
    reason: str

    def __str__(self) -> str:
        return f"batches of {self.batch_size:,} ({self.placement}, {self.precision}) are left out: {self.reason}"
