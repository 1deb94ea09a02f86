"""When a run is saved: in the background while it trains, and for certain before it ends."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from aeflax import hosts
from aeflax.engine.state import TrainState
from aeflax.errors import CheckpointError, warn
from aeflax.rundir.checkpoint import Checkpoints

PAUSES = (1.0, 5.0, 15.0)  # seconds until a save that must succeed is tried again: space may be freed meanwhile


class Snapshot(NamedTuple):
    """What is saved.

    Attributes:
      state: of the training.
      progress: of the host loop, as JSON.
      best: step of the best checkpoint, None where there is none.
    """

    state: TrainState
    progress: Mapping[str, Any]
    best: int | None


class Saver:
    """Saves through failures of the disk: what does not succeed is told of, and made up for.

    Args:
      checkpoints: where; None: the run is kept nowhere.
    """

    def __init__(self, checkpoints: Checkpoints | None) -> None:
        self._checkpoints = checkpoints

    def holds(self, step: int) -> bool:
        """Whether nothing is left to do for a step: it is saved or being saved, or nothing is kept."""
        return self._checkpoints is None or self._checkpoints.holds(step)

    def latest(self) -> int | None:
        """Step of the newest checkpoint."""
        return None if self._checkpoints is None else self._checkpoints.latest()

    def begin(self, snapshot: Snapshot) -> None:
        """Begins to save a state that is not held, and returns. What fails, then or later, is a warning."""
        if self._checkpoints is None:
            return
        try:
            self._checkpoints.wait()
        except CheckpointError as error:  # of the save before
            _warn(f"{error}; saving step {int(snapshot.state.step)} in its place")
        try:
            self._save(self._checkpoints, snapshot)
        except CheckpointError as error:
            _warn(f"{error}; training goes on, and the next save is tried in its turn")

    def finish(self, snapshot: Snapshot) -> None:
        """Returns when a state is on disk. Raises CheckpointError where it cannot be, after some attempts."""
        if self._checkpoints is None:
            return None
        for pause in PAUSES:
            try:
                return self._ensure(self._checkpoints, snapshot)
            except CheckpointError as error:
                _warn(f"{error}; trying again in {pause:g} s")
                time.sleep(pause)
        try:
            return self._ensure(self._checkpoints, snapshot)
        except CheckpointError as error:
            held = self.latest()
            kept = "no checkpoint is there" if held is None else f"the checkpoint of step {held} is intact"
            mend = "make room or mend the disk, and run the same command with --resume"
            raise CheckpointError(f"{error}; {kept}: {mend}") from error

    def _ensure(self, checkpoints: Checkpoints, snapshot: Snapshot) -> None:
        if not checkpoints.holds(int(snapshot.state.step)):
            self._save(checkpoints, snapshot)
        checkpoints.wait()

    def _save(self, checkpoints: Checkpoints, snapshot: Snapshot) -> None:
        checkpoints.save(snapshot.state, dict(snapshot.progress), best=snapshot.best)


def _warn(sentence: str) -> None:
    if hosts.primary():
        warn(sentence)
