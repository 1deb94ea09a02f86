"""Where members are kept: each in a run directory of its own, with checkpoints as it would have written them alone."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeflax.engine.state import TrainState
from aeflax.program import Program
from aeflax.rundir.checkpoint import Checkpoints
from aeflax.rundir.runs import CHECKPOINTS, SUMMARY


@dataclass(frozen=True)
class Place:
    """Where one member is trained: its program and its run directory.

    Attributes:
      program: the member's.
      path: of its run directory.
      lost: whether its weights overflowed earlier: it is trained and told of no more.
    """

    program: Program
    path: Path
    lost: bool = False

    def save(self, state: TrainState, progress: dict[str, Any], best: int | None) -> None:
        """Saves the member. Raises CheckpointError if it cannot be saved."""
        with self._checkpoints() as checkpoints:
            checkpoints.save(self.program.placement.replicate(state), progress, best=best)

    def restore(self, step: int) -> tuple[TrainState, dict[str, Any]]:
        """The member's state and the host loop's progress at a step. Raises CheckpointError if it cannot be read."""
        with self._checkpoints() as checkpoints:
            return checkpoints.restore(self.program.template(), step)

    def steps(self) -> set[int]:
        """Steps that are saved."""
        with self._checkpoints() as checkpoints:
            return set(checkpoints.steps())

    def sound(self, step: int) -> bool:
        """Whether a step is as it was saved; else it is told of and set aside."""
        with self._checkpoints() as checkpoints:
            return checkpoints.sound(step)

    def forget_after(self, step: int) -> None:
        """Removes what was saved after a step, and what was told of its end; it is computed again, to the same bits."""
        later = [saved for saved in self.steps() if saved > step]
        if later or not step:
            (self.path / SUMMARY).unlink(missing_ok=True)
        for saved in later:
            shutil.rmtree(self.path / CHECKPOINTS / str(saved))

    def set_aside_damaged(self) -> None:
        """Moves every checkpoint that is not as it was saved out of the way, and forgets the end where none is left."""
        for step in self.steps():
            self.sound(step)
        self.forget_after(max(self.steps(), default=0))

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self.path / CHECKPOINTS, held=True)


def common_step(places: Sequence[Place]) -> int:
    """The newest step that every member holds as it was saved, 0 for none; what some saved after it is forgotten.

    Members that are lost are not asked.
    """
    asked = [place for place in places if not place.lost]
    while True:
        common = max(set.intersection(*(place.steps() for place in asked)), default=0)
        damaged = [place for place in asked if common and not place.sound(common)]
        if not damaged:
            break
    for place in asked:
        place.forget_after(common)
    return common
