"""When a run is saved: in the background while it trains, and for certain before it ends."""

import time
import warnings
from collections.abc import Mapping
from typing import Any

from aeflax.checkpoint import Checkpoints
from aeflax.engine.state import TrainState
from aeflax.errors import AeflaxWarning, CheckpointError

PAUSES = (1.0, 5.0, 15.0)  # seconds until a save that must succeed is tried again: space may be freed meanwhile


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

    @property
    def latest(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return None if self._checkpoints is None else self._checkpoints.latest

    def begin(self, state: TrainState, progress: Mapping[str, Any], best: int | None) -> bool:
        """Begins to save a state and returns; says whether it could. One that fails, then or later, only warns."""
        if self._checkpoints is None:
            return False
        try:
            self._checkpoints.wait()
        except CheckpointError as error:  # of the save before
            _warn(f"{error}; saving step {int(state.step)} in its place")
        try:
            self._checkpoints.save(state, dict(progress), best=best)
        except CheckpointError as error:
            _warn(f"{error}; training goes on, and the next save is tried in its turn")
            return False
        return True

    def finish(self, state: TrainState, progress: Mapping[str, Any], best: int | None) -> None:
        """Returns when a state is on disk. Raises CheckpointError where it cannot be, after some attempts."""
        if self._checkpoints is None:
            return
        step = int(state.step)
        for pause in (*PAUSES, None):
            try:
                if not self._checkpoints.holds(step):
                    self._checkpoints.save(state, dict(progress), best=best)
                self._checkpoints.wait()
            except CheckpointError as error:
                if pause is None:
                    held = self._checkpoints.latest
                    kept = "no checkpoint is there" if held is None else f"the checkpoint of step {held} is intact"
                    raise CheckpointError(
                        f"{error}; {kept}: make room or mend the disk, and run the same command with --resume"
                    ) from error
                _warn(f"{error}; trying again in {pause:g} s")
                time.sleep(pause)
            else:
                return


def _warn(sentence: str) -> None:
    warnings.warn(sentence, AeflaxWarning, stacklevel=3)
