"""Which step was best on the validation split, and when to give up hope of a better one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aeflax.config.experiment import cost


@dataclass
class Monitor:
    """Follows one metric of the validation split.

    Attributes:
      name: of the metric.
      patience: evaluations without a better value before training stops; None never stops it.
      best: its best value so far, and the step that had it.
      stale: evaluations since then.
    """

    name: str
    patience: int | None = None
    best: float | None = None
    step: int | None = None
    stale: int = field(default=0)

    def observe(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Takes in one evaluation; says whether it is the best so far. A value that is not finite never is."""
        value = metrics[self.name]
        better = math.isfinite(value) and (self.best is None or cost(self.name, value) < cost(self.name, self.best))
        if better:
            self.best, self.step, self.stale = value, step, 0
        else:
            self.stale += 1
        return better

    @property
    def exhausted(self) -> bool:
        """Whether training should stop."""
        return self.patience is not None and self.stale >= self.patience

    def progress(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"best": self.best, "step": self.step, "stale": self.stale}

    def restore(self, progress: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.best, self.step, self.stale = progress["best"], progress["step"], progress["stale"]
