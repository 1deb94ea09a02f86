"""A finished sweep: its members as runs, which is the best, its page."""

import copy
import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aeflax import api, config
from aeflax.config.plain import from_dict
from aeflax.config.validation import metrics
from aeflax.errors import ConfigError, warn
from aeflax.population import grid as grids
from aeflax.population.leaderboard import leaderboard, ranking_split, scores, shown
from aeflax.population.record import MEMBERS, read_sweep
from aeflax.rundir import runs
from aeflax.rundir.runs import with_file
from aeflax.trained import Run


@dataclass(frozen=True, repr=False)
class Sweep:
    """A finished sweep.

    Attributes:
      path: its directory; `members/NNNN` in it are ordinary run directories.
      members: one object a member: `index`, `settings`, `status` (done, diverged or dropped), `run`, where it is done
        `step` and the metrics of each split, and where it was dropped the `step`.
      groups: one object a compiled program: its `members`, the `parameters` of each, `waves`, the `memory_bytes` of a
        wave on a device, `seconds` of all its training and, of them, `compile_seconds`.
      rungs: of successive halving: the `step`, the `metric` of the validation split and the `settings`, best first.
      metric: that ranks the members: `train.monitor`, or the first of what decides by default that all of them have.
    """

    path: Path
    members: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    rungs: list[dict[str, Any]]
    metric: str
    _data: Any = field(default=None, compare=False)  # that came from Python

    def __repr__(self) -> str:
        return f"Sweep({str(self.path)!r}, {len(self.members)} members, best {self.best} by {self.metric})"

    @property
    def best(self) -> int | None:
        """The member that is best by the metric, on the validation split where one was withheld, else on test.

        One model, where the leaderboard ranks settings by their mean over seeds. None where no member came to its end.
        """
        return next(iter(scores(self.members, self.metric)), None)

    def load(self, index: int, data: Any = None) -> Run:
        """One member as a run; with a warning where it diverged, and its weights are of before.

        Args:
          index: of the member.
          data: what the sweep was trained on, where it came from Python and was trained in another process.

        Raises:
          ConfigError: for an index that no member has.
        """
        if index not in range(len(self.members)):
            raise ConfigError(f"the sweep has no member {index!r}; they are numbered from 0 to {len(self.members) - 1}")
        if (member := self.members[index])["status"] == "diverged":
            told = f"member {index} diverged: {member['reason']}; what is loaded is what was saved of it"
            warn(told)
        return api.load(self.path / MEMBERS / f"{index:04d}", self._data if data is None else data)

    def report(self) -> Path:
        """Draws `figures/*.png` and `report.html` in the sweep's directory, and returns the path of the page."""
        from aeflax.report import sweep as pages

        told = read_sweep(self.path)  # as JSON has it, so that values of the grid are found among the members'
        found = pages.Found(
            name=self.path.name,
            experiment=_common(told["experiment"], told["grid"]),
            grid=told["grid"],
            data=told["data"],
            metric=self.metric,
            split=ranking_split(self.members),
            rows=(rows := leaderboard(self.members, self.metric)),
            shown=shown(rows, self.metric),
            scores=scores(self.members, self.metric),
            members=told["members"],
            groups=told["groups"],
            rungs=told["rungs"],
            histories={one["index"]: runs.read_metrics(self.path / one["run"]) for one in self.members},
        )
        return pages.write(found, self.path, lambda settings: grids.described(grids.short(settings)))


def _common(experiment: dict[str, Any], grid: Iterable[str]) -> dict[str, Any]:
    """What no axis of the grid varies, of an experiment as nested plain values."""
    kept = copy.deepcopy(experiment)
    for path in grid:
        *outer, last = path.split(".")
        functools.reduce(lambda section, name: section[name], outer, kept).pop(last, None)
    return kept


def load_sweep(path: str | Path) -> Sweep:
    """A finished sweep from its directory.

    Raises:
      ConfigError: where there is none, or one that has not come to its end.
    """
    path = Path(path)
    told = read_sweep(path)
    if "members" not in told:
        raise ConfigError(f"the sweep in {path} has not come to its end; go on with it first, by --resume")
    try:
        experiment = from_dict(config.Experiment, told["experiment"])
    except ConfigError as error:
        raise ConfigError(with_file(error, told)) from error
    members = grids.members(experiment, grids.axes(told["grid"], experiment))
    metric = ranking_metric(member.experiment for member in members)
    return Sweep(path, told["members"], told["groups"], told["rungs"], metric)


def ranking_metric(experiments: Iterable[config.Experiment]) -> str:
    """The metric that ranks members: what all of them monitor, else the first deciding one that all of them have."""
    experiments = list(experiments)
    monitored = {one.train.monitor for one in experiments}
    if len(monitored) == 1 and (metric := monitored.pop()) is not None:
        return metric
    first, *others = (metrics(one.model) for one in experiments)
    return next(name for name in first if all(name in other for other in others))
