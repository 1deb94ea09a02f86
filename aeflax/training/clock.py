"""How long training took, and how many steps the next chunk should have."""

import time

CHUNK_SECONDS = 0.5  # aim of one chunk: how often progress moves and a signal is heard
FIRST_CHUNK = 8  # steps, before the pace is known


class Clock:
    """Adds up the seconds spent training, leaving out evaluations and saves.

    Attributes:
      seconds: spent training, over all resumed parts of the run.
      record_seconds: `seconds` at the start of the record being summed.
    """

    def __init__(self) -> None:
        self.seconds = self.record_seconds = 0.0
        self._now = time.perf_counter()

    def start(self) -> None:
        """Begins to count, or goes on after something that was not training."""
        self._now = time.perf_counter()

    def lap(self) -> None:
        """Adds the time since the last call."""
        now = time.perf_counter()
        self.seconds, self._now = self.seconds + now - self._now, now

    def record(self) -> float:
        """Seconds since the last record."""
        elapsed = self.seconds - self.record_seconds
        self.record_seconds = self.seconds
        return max(elapsed, 1e-9)


class Pace:
    """Chooses the length of chunks from how long the ones before took."""

    def __init__(self) -> None:
        self.steps = FIRST_CHUNK
        self._running = 0  # steps of the chunk that the device computes
        self._completed = time.perf_counter()

    def reset(self) -> None:
        """The chunk before tells nothing: the device has waited."""
        self._running, self._completed = 0, time.perf_counter()

    def dispatched(self, steps: int) -> None:
        """A chunk of `steps` was dispatched, and the one before it has just been completed."""
        now = time.perf_counter()
        if self._running:
            self.steps = paced(self.steps, self._running, now - self._completed)
        self._completed, self._running = now, steps


def paced(pace: int, steps: int, seconds: float) -> int:
    """Steps of the next chunk, when one of `steps` took `seconds`: CHUNK_SECONDS' worth, at most four times `pace`."""
    return max(1, min(4 * pace, round(steps * CHUNK_SECONDS / max(seconds, 1e-6))))
