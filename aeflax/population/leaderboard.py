"""What a sweep found: settings ranked by the means of a metric over their seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import isfinite
from statistics import stdev
from typing import Any

from aeflax.config import Penalties
from aeflax.config.experiment import cost
from aeflax.config.validation import RECORDED
from aeflax.evaluation.intervals import Interval, interval
from aeflax.population.grid import identity, seedless

PCA = "pca_mse"


class Row(dict[str, Any]):
    """Members that differ in their seed alone: `settings`, `members`, and their test `metrics`, an Interval each.

    Among them is `pca_mse`, the squared error of principal components at the same code size, where that compresses.

    `score` is the metric that ranks, on the split that ranks; `deviations` over the seeds, where there are two and
    more; how many of them `diverged`, and the step at which halving `dropped` them, None where it did not.
    """


def ranking_split(members: Sequence[Mapping[str, Any]]) -> str:
    """The split that ranks: validation where one was withheld, so that the test split is left to judge the choice."""
    return "validation" if any("validation" in member for member in members) else "test"


def scores(members: Sequence[Mapping[str, Any]], metric: str) -> dict[int, float]:
    """The metric of every member that came to its end, on the `ranking_split`, by its index; the best one first."""
    split = ranking_split(members)
    found = {one["index"]: one[split].get(metric) for one in members if one["status"] == "done"}
    known = {index: value for index, value in found.items() if value is not None and isfinite(value)}
    return dict(sorted(known.items(), key=lambda pair: cost(metric, pair[1])))


def leaderboard(members: Sequence[Mapping[str, Any]], metric: str) -> list[Row]:
    """One row for each setting, the best first; members that diverged or were dropped are told of and not averaged.

    Args:
      members: of a sweep's outcome.
      metric: that ranks them, on the `ranking_split`.
    """
    split = ranking_split(members)
    found: dict[str, Row] = {}
    values: dict[str, list[float]] = {}
    for member in members:
        key, settings = identity(member["settings"]), seedless(member["settings"])
        row = found.setdefault(key, Row(settings=settings, members=[], diverged=0, dropped=None, metrics={}))
        row["members"].append(member["index"])
        if member["status"] == "done":
            values.setdefault(key, []).append(member[split][metric])
            for name, value in _metrics(member).items():
                row["metrics"].setdefault(name, []).append(value)
        elif member["status"] == "dropped":
            row["dropped"] = member["step"]
        else:
            row["diverged"] += 1
    for key, row in found.items():
        found_of = row["metrics"]
        row["metrics"] = {name: interval(values) for name, values in found_of.items()}
        row["deviations"] = {name: stdev(values) for name, values in found_of.items() if len(values) > 1}
        row["score"] = interval(values[key]) if key in values else None

    def place(row: Row) -> tuple[float, int]:
        known: Interval | None = row["score"]
        return float("inf") if known is None else cost(metric, known["mean"]), -(row["dropped"] or 0)

    return sorted(found.values(), key=place)


def shown(rows: Sequence[Row], metric: str) -> list[str]:
    """Names of the metrics that a table of the rows has, in the order of a reader's interest.

    The one that ranks comes first, then those of parts of a user's own; PCA's error stands behind the model's.
    """
    known = RECORDED | {field.name for field in fields(Penalties)}
    found = dict.fromkeys(name for row in rows for name in row["metrics"] if not name.endswith("_floor"))
    own = [name for name in found if name not in known]
    others = [name for name in found if name in known and name != PCA]
    names = list(dict.fromkeys([metric, *own, *others]))
    if PCA in found:
        names.insert(names.index("mse") + 1, PCA)
    return names


def _metrics(member: Mapping[str, Any]) -> dict[str, float]:
    """A member's test metrics, and the error of PCA where that compresses."""
    pca = member.get("pca") or {}
    return {**member["test"], **({PCA: pca["test"]["mse"]} if pca.get("compresses") else {})}
