"""What a sweep found: settings ranked by the means of a metric over their seeds."""

from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

from aeflax.config import HIGHER_IS_BETTER
from aeflax.evaluation.intervals import Interval, interval
from aeflax.population.grid import SEED, described


class Row(dict[str, Any]):
    """Members that differ in their seed alone: `settings`, `members`, and `metrics`, an Interval each.

    `deviations` over the seeds, where there are two and more; how many of them `diverged`, and the step at which
    halving `dropped` them, None where it did not.
    """


def leaderboard(members: Sequence[Mapping[str, Any]], metric: str, split: str = "test") -> list[Row]:
    """One row for each setting, the best first; members that diverged or were dropped are told of and not averaged.

    Args:
      members: of a sweep's outcome.
      metric: that ranks them.
      split: whose metrics are told.
    """
    found: dict[str, Row] = {}
    for member in members:
        settings = {name: value for name, value in member["settings"].items() if name != SEED}
        row = found.setdefault(
            described(settings), Row(settings=settings, members=[], diverged=0, dropped=None, metrics={})
        )
        row["members"].append(member["index"])
        if member["status"] == "done":
            for name, value in member[split].items():
                row["metrics"].setdefault(name, []).append(value)
        elif member["status"] == "dropped":
            row["dropped"] = member["step"]
        else:
            row["diverged"] += 1
    for row in found.values():
        found_of = row["metrics"]
        row["metrics"] = {name: interval(values) for name, values in found_of.items()}
        row["deviations"] = {name: stdev(values) for name, values in found_of.items() if len(values) > 1}
    sign = -1 if metric in HIGHER_IS_BETTER else 1

    def place(row: Row) -> tuple[float, int]:
        known: Interval | None = row["metrics"].get(metric)
        return float("inf") if known is None else sign * known["mean"], -(row["dropped"] or 0)

    return sorted(found.values(), key=place)
