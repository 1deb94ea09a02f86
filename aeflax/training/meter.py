"""What the records of training say: means over their updates, speed, and how long the devices waited for data."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from aeflax.engine.state import PyTree
from aeflax.engine.step import Sums
from aeflax.training.clock import Clock
from aeflax.training.monitor import Monitor


class Closed(NamedTuple):
    """A record that is complete on the devices, and not read yet."""

    step: int
    sums: Sums
    waited: float


class Meter:
    """Sums up records, and reads one when the devices are done with it: they never wait to be read.

    Args:
      zero: makes the sums of a new record, on the devices.

    Attributes:
      sums: of the record that is open; the compiled loop carries them.
      waited: seconds, at most, that the devices waited for data in it.
      clock: of the training.
      closed: the record that is not read yet.
    """

    def __init__(self, zero: Callable[[], Sums]) -> None:
        self._zero = zero
        self.sums, self.waited, self.clock = zero(), 0.0, Clock()
        self.closed: Closed | None = None
        self._last: dict[str, float] = {}  # means of the last record with an update

    def close(self, step: int) -> None:
        """Ends a record, and begins the next one."""
        self.closed = Closed(step, self.sums, self.waited)
        self.sums, self.waited = self._zero(), 0.0

    def read(self) -> dict[str, Any]:
        """What the closed record says: waits for its chunks -> `step`, `metrics`, `images_per_second`, `data_wait`."""
        assert self.closed is not None
        (step, sums, waited), self.closed = self.closed, None
        weighted = jax.device_get(sums)
        self.clock.lap()
        seconds, metrics = self.clock.record(), means(weighted)
        self._last = metrics or self._last
        speed = {"images_per_second": float(weighted["weight"]) / seconds, "data_wait": min(1.0, waited / seconds)}
        return {"step": step, "metrics": metrics, **speed}

    def last_means(self) -> dict[str, float]:
        """Means over the last updates that were applied, in the open record or before it; empty without any."""
        return means(jax.device_get(self.sums)) or self._last

    def progress(self, monitor: Monitor | None) -> dict[str, Any]:
        """What a checkpoint keeps beside the state."""
        return progress(self.clock.seconds, self.clock.record_seconds, jax.device_get(self.sums), monitor)

    def restore(self, progress: Mapping[str, Any], replicate: Callable[[PyTree], Any]) -> None:
        """Goes on from a checkpoint; `replicate` puts the sums on the devices."""
        self.clock.seconds, self.clock.record_seconds = progress["seconds"], progress["record_seconds"]
        self.sums = replicate({name: np.float32(progress["sums"][name]) for name in self.sums})


def progress(seconds: float, record_seconds: float, sums: Sums, monitor: Monitor | None) -> dict[str, Any]:
    """What a checkpoint keeps beside the state: of the clock and the open record, and the best value so far."""
    return {
        "seconds": seconds,
        "record_seconds": record_seconds,
        "sums": {name: float(value) for name, value in sums.items()},
        "monitor": None if monitor is None else monitor.progress(),
    }


def means(sums: Sums) -> dict[str, float]:
    """Weighted means; none where no update was applied."""
    examples = float(sums["weight"])
    return {name: float(total) / examples for name, total in sums.items() if name != "weight"} if examples else {}
