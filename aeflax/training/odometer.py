"""How far a run has come, and what is due there."""

from aeflax.errors import StoppedError


class Odometer:
    """Counts the steps of a run.

    Args:
      total: steps of the whole run.
      steps_per_epoch: batches that a pass over the training split takes.

    Attributes:
      step: updates tried so far.
      total: as given.
      steps_per_epoch: as given.
    """

    def __init__(self, total: int, steps_per_epoch: int) -> None:
        self.step, self.total, self.steps_per_epoch = 0, total, steps_per_epoch

    @property
    def epoch(self) -> float:
        """Passes over the training data so far."""
        return self.step / self.steps_per_epoch

    @property
    def at_end(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.total

    def due(self, every: int | None) -> bool:
        """Whether what happens every so many steps, and at the last one, happens now; None: never."""
        return every is not None and (self.step % every == 0 or self.step == self.total)

    def ahead(self, *every: int | None) -> int:
        """Steps to the next one at which something is due that happens every so many, or to the last one."""
        return min([self.total - self.step, *(n - self.step % n for n in every if n)])

    def stopped(self) -> StoppedError:
        """That the run was asked to stop here."""
        said = f"stopped at step {self.step} of {self.total}; run the same command with --resume to go on"
        return StoppedError(said).telling(step=self.step)
