"""From which score on an example counts as anomalous, and how many normal ones that wrongly flags."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aeflax.errors import ConfigError

_Z = 1.959964  # quantile .975 of the standard normal: intervals of 95 %


@dataclass(frozen=True)
class Flagged:
    """Of so many examples, the share that is flagged and its 95 % interval (Wilson 1927)."""

    examples: int
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, flags: np.ndarray) -> "Flagged":
        """Of flags [N], at least one."""
        total, share = len(flags), float(np.mean(flags))
        spread = _Z * math.sqrt(share * (1 - share) / total + (_Z / (2 * total)) ** 2)
        middle, whole = share + _Z**2 / (2 * total), 1 + _Z**2 / total
        return cls(total, share, max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole))


@dataclass(frozen=True)
class Threshold:
    """What lies above `value` is anomalous.

    Attributes:
      value: in the unit of the scores.
      contamination: share of the training examples that was asked to lie above it. Where these are all normal, it is
        the false-positive rate to expect on normal examples that the model scores like those it was trained on. None
        where the value itself was given.
      training: what it flags of the training examples; None where the value was given.
      held_out: by the name of a split that the model never saw, what it flags of that: an estimate of the
        false-positive rate without the model's knowledge of its training examples, if the split is normal, too.
    """

    value: float
    contamination: float | None = None
    training: Flagged | None = None
    held_out: Mapping[str, Flagged] = field(default_factory=dict)

    def flags(self, scores: np.ndarray) -> np.ndarray:
        """Scores [N] -> whether each is anomalous [N]."""
        above: np.ndarray = scores > self.value
        return above

    def values(self) -> dict[str, Any]:
        """As JSON holds it."""
        training = None if self.training is None else vars(self.training)
        held_out = {name: vars(flagged) for name, flagged in self.held_out.items()}
        return {**vars(self), "training": training, "held_out": held_out}


def require_contamination(contamination: float) -> None:
    """Raises ConfigError unless it is a share that leaves both kinds."""
    if not 0.0 < contamination < 1.0:
        raise ConfigError(f"contamination {contamination:g} lies outside (0, 1); a common choice is 0.05")


def choose(scores: np.ndarray, contamination: float) -> Threshold:
    """The score above which `round(contamination * N)` of the training examples' scores [N] lie; fewer where some tie.

    Raises:
      ConfigError: for a contamination outside (0, 1).
    """
    require_contamination(contamination)
    above = min(round(contamination * len(scores)), len(scores) - 1)
    value = float(np.sort(scores)[len(scores) - 1 - above])
    return Threshold(value, contamination, Flagged.of(scores > value))
