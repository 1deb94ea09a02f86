"""Successive halving (Jamieson & Talwalkar 2016): at a few steps, the worse half of the settings ends its training.

Settings compete, by the mean over their seeds, on the validation split: a seed that was lucky stays no longer than its
setting, and the test split is looked at by nobody.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from aeflax.config.experiment import cost
from aeflax.errors import ConfigError
from aeflax.population.grid import Member, described, identity, seedless

RUNGS = 3  # at an eighth, a quarter and half of the steps


def settings_of(member: Member) -> str:
    """What a member has in common with those that differ from it in the seed alone, in words."""
    return described(seedless(member.settings))


def rungs(members: Sequence[Member]) -> tuple[int, ...]:
    """The steps at which a sweep is halved; none without settings to choose from.

    Raises:
      ConfigError: where there is nothing to choose from, or no validation split to choose on.
    """
    settings = len({identity(member.settings) for member in members})
    if settings < 2:
        raise ConfigError("--halving drops the worse half of the settings, but the grid varies the seed alone")
    if len({(member.experiment.train.steps, member.experiment.train.epochs) for member in members}) > 1:
        raise ConfigError(
            "--halving compares models after the same steps; leave the length of training out of the grid"
        )
    if len({member.experiment.train.monitor for member in members}) > 1:
        raise ConfigError("--halving compares models by one metric; leave train.monitor out of the grid")
    experiment = members[0].experiment
    if not experiment.data.validation:
        raise ConfigError("--halving chooses on held-out training examples; withhold some, e.g. --data.validation 5000")
    return tuple(range(-min(RUNGS, int(math.log2(settings))), 0))


def step_of(rung: int, steps: int) -> int:
    """The step of rung -1 (half of the steps), -2 (a quarter), and so on."""
    return max(1, int(steps * 2.0**rung))


def ranked(members: Sequence[Member], values: Mapping[int, float], metric: str) -> list[dict[str, Any]]:
    """The settings of a rung, the best first: `settings`, `members`, `value` and whether they are `kept`.

    Args:
      members: that are still there.
      values: of the metric, by the members' indices; one that is not finite is the worst.
      metric: that decides.
    """
    found: dict[str, list[Member]] = {}
    for member in members:
        found.setdefault(identity(member.settings), []).append(member)
    means = {name: sum(values[one.index] for one in those) / len(those) for name, those in found.items()}

    def place(name: str) -> float:
        return cost(metric, means[name]) if math.isfinite(means[name]) else math.inf

    ranked = sorted(found, key=place)
    return [
        {
            "settings": settings_of(found[name][0]),
            "members": [one.index for one in found[name]],
            "value": means[name] if math.isfinite(means[name]) else None,
            "kept": position < -(-len(ranked) // 2),
        }
        for position, name in enumerate(ranked)
    ]
