"""The report of a sweep: its leaderboard, and figures of all of its members, on one page."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from aeflax.evaluation.intervals import half
from aeflax.report import words
from aeflax.report.metrics import better, named
from aeflax.report.page import put_page
from aeflax.report.population import learning_curves, parallel_coordinates, pareto_front
from aeflax.report.sections import Section, Table

Figures = dict[str, tuple[Figure, str]]

MAX_ROWS = 50  # of the leaderboard
CORRUPTION = "model.corruption"
TRADES = (("kl", "reconstruction_nats"), ("l0", "mse"))  # what is paid, and what it buys


@dataclass(frozen=True)
class Found:
    """What a sweep found, in plain values.

    Attributes:
      name: of the sweep.
      experiment: what all members have in common, as nested plain values.
      grid: fields and their values.
      data: fingerprint of the data.
      metric: that ranks the members.
      split: on which it ranks them.
      rows: of the leaderboard, the best first.
      shown: names of the metrics that it has.
      scores: of members that came to their end, by index: the metric on that split, the best first.
      members: one object a member, as `aeflax sweep --json` prints them.
      groups: likewise.
      rungs: of successive halving.
      histories: the records of each member's metrics log, by its index.
    """

    name: str
    experiment: Mapping[str, Any]
    grid: Mapping[str, Sequence[Any]]
    data: Mapping[str, Any]
    metric: str
    split: str
    rows: Sequence[Mapping[str, Any]]
    shown: Sequence[str]
    scores: Mapping[int, float]
    members: Sequence[Mapping[str, Any]]
    groups: Sequence[Mapping[str, Any]]
    rungs: Sequence[Mapping[str, Any]]
    histories: Mapping[int, Sequence[Mapping[str, Any]]]

    def finals(self, metric: str) -> dict[int, float]:
        """The metric on the test split of every member that has a finite one, by its index."""
        told = {member["index"]: member["test"].get(metric) for member in self.members if "test" in member}
        return {index: value for index, value in told.items() if value is not None and math.isfinite(value)}


def write(found: Found, directory: Path, describe: Callable[[Mapping[str, Any]], str]) -> Path:
    """Writes `figures/*.png` and `report.html` into a sweep's directory, and returns the path of the page.

    Args:
      found: what to show.
      directory: of the sweep.
      describe: settings -> a few words.

    Raises:
      OSError: if the directory cannot be written to.
    """
    sections = {
        "leaderboard": _leaderboard(found, describe),
        "all": _all(found, describe),
        "halving": _halving(found),
    }
    programs = [
        (
            f"program {number}",
            f"{_models(group)} of {group['parameters']:,} parameters{_took(group)}",
        )
        for number, group in enumerate(found.groups, 1)
    ]
    return put_page(
        "sweep.html.jinja",
        directory,
        {name: section for name, section in sections.items() if section is not None},
        name=found.name,
        sentence=_sentence(found, describe),
        notes=notes(found.members, found.metric),
        grid=[(field, ", ".join(map(str, values))) for field, values in found.grid.items()],
        programs=programs,
        settings=words.settings(found.experiment),
        data=words.fingerprint(found.data),
    )


def _models(group: Mapping[str, Any]) -> str:
    count = len(group["members"])
    return f"{count:,} model{'' if count == 1 else 's'}"


def _took(group: Mapping[str, Any]) -> str:
    waves = "" if group["waves"] == 1 else f", in {group['waves']} waves"
    return waves + (f", {group['seconds']:,.1f} s" if group["seconds"] is not None else "")


def _sentence(found: Found, describe: Callable[[Mapping[str, Any]], str]) -> str:
    models = f"{len(found.members):,} models were trained as {len(found.groups)} compiled program"
    models += "" if len(found.groups) == 1 else "s"
    best = found.rows[0]
    if best["score"] is None:
        return f"{models}; none of them came to its end with a finite {found.metric}."
    first = f"{models}. The best by {named(found.metric)} on the {found.split} split: {describe(best['settings'])}, "
    score = _cell(best["score"])
    if found.split == "test":
        mend = "; chosen on the examples that judge it, it flatters (withhold some others: data.validation)"
        return f"{first}{score}{mend if len(found.rows) > 1 else ''}."
    return f"{first}{score}; on the test split {_cell(best['metrics'].get(found.metric))}."


def notes(members: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    """What to keep in mind of a leaderboard by a metric: which models are in no mean, and what makes them unlike."""
    said = []
    varied = {name for member in members for name in member["settings"]}
    if metric.startswith("restored") and any(name.startswith(CORRUPTION) for name in varied):
        mend = "rank by the clean error (train.monitor bce), or compare models of one corruption"
        said.append(f"Each model restores under its own corruption, and a weaker one is easier: {mend}.")
    if "model.latent_dim" in varied and not metric.startswith("elbo"):
        said.append("A larger code nearly always errs less: choose its size by what it is for.")
    if lost := [member for member in members if member["status"] == "diverged"]:
        shown = ", ".join(str(member["index"]) for member in lost[:10]) + (", …" if len(lost) > 10 else "")
        why = f" Of the first: {lost[0]['reason']}." if lost[0].get("reason") else ""
        said.append(f"{len(lost)} of {len(members)} models diverged and are in no mean: members {shown}.{why}")
    return said


def _leaderboard(found: Found, describe: Callable[[Mapping[str, Any]], str]) -> Section:
    names = found.shown
    held = found.split != "test"
    arrows = {"higher": " ↑", "lower": " ↓", None: ""}
    rows = []
    for row in found.rows[:MAX_ROWS]:
        models = str(len(row["members"]))
        models += f" ({row['diverged']} diverged)" if row["diverged"] else ""
        models += f" (dropped at {row['dropped']:,})" if row["dropped"] else ""
        score = [_cell(row["score"])] if held else []
        rows.append((describe(row["settings"]), models, *score, *(_spread(row, name) for name in names)))
    caption = f"Ranked on the {found.split} split; figures of the test split. "
    caption += "Means over seeds ± half of their 95 % interval, and the seeds' standard deviation σ"
    caption += f"; the best {MAX_ROWS} of {len(found.rows)} settings." if len(found.rows) > MAX_ROWS else "."
    ranking = [f"{found.split} {named(found.metric)}{arrows[better(found.metric)]}"] if held else []
    columns = ("settings", "models", *ranking, *(f"{named(name)}{arrows[better(name)]}" for name in names))
    return Section("Leaderboard", (), (Table(columns, rows, caption),))


def _all(found: Found, describe: Callable[[Mapping[str, Any]], str]) -> Section:
    figures = _curves(found) | _settings(found) | _trade(found)
    return Section("All members", (), (_members(found, describe),), figures)


def _members(found: Found, describe: Callable[[Mapping[str, Any]], str]) -> Table:
    """Every member with the run that it is: the best first, those that did not come to their end last."""
    by_index = {one["index"]: one for one in found.members}
    order = [*found.scores, *(index for index in by_index if index not in found.scores)]
    splits = ["test"] if found.split == "test" else [found.split, "test"]
    rows = []
    for index in order[:MAX_ROWS]:
        one = by_index[index]
        values = [words.number(one.get(split, {}).get(found.metric)) for split in splits]
        rows.append((one["run"], describe(one["settings"]), one["status"], *values))
    caption = "Each is a run of its own, for every command that takes one"
    caption += f"; the best {MAX_ROWS} of {len(order)}." if len(order) > MAX_ROWS else "."
    columns = ("run", "settings", "status", *(f"{split} {named(found.metric)}" for split in splits))
    return Table(columns, rows, caption)


def _curves(found: Found) -> Figures:
    drawn = learning_curves(found.histories, found.metric, found.scores)
    if drawn is None:
        return {}
    figure, what = drawn
    caption = f"{what} of all members, a line each; the brighter, the better it ended, and the best one bold."
    return {"learning_curves": (figure, caption)}


def _settings(found: Found) -> Figures:
    varied = {field: values for field, values in found.grid.items() if len(values) > 1}
    settings = {member["index"]: member["settings"] for member in found.members}
    if not varied or len(found.scores) < 2:
        return {}
    figure = parallel_coordinates(varied, settings, found.scores, found.metric)
    caption = (
        f"A line a member, through its settings to its {found.split} {named(found.metric)}; the brighter, the better."
    )
    return {"parallel_coordinates": (figure, caption)}


def _trade(found: Found) -> Figures:
    for paid, bought in TRADES:
        points = found.finals(paid), found.finals(bought)
        common = sorted(set(points[0]) & set(points[1]))
        if len(common) >= 2 and len({points[0][index] for index in common}) > 1:
            values = [(points[0][index], points[1][index]) for index in common]
            figure, front = pareto_front(values, paid, bought)
            members = ", ".join(str(common[place]) for place in front)
            caption = (
                f"Every member by {named(paid)} and {named(bought)}, of the test split. On the line are those that no "
                f"other one beats in both: members {members}."
            )
            return {"pareto_front": (figure, caption)}
    return {}


def _halving(found: Found) -> Section | None:
    if not found.rungs:
        return None
    tables = []
    for rung in found.rungs:
        rows = [
            (
                one["settings"],
                words.number(one["value"]),
                "stays" if one["kept"] else "dropped",
            )
            for one in rung["settings"]
        ]
        columns = ("settings", named(rung["metric"]), "")
        tables.append(Table(columns, rows, f"After step {rung['step']:,}, on the validation split"))
    sentence = "At each rung the worse half of the settings ended its training, by the mean over their seeds."
    return Section("Halving", (sentence,), tables)


def _spread(row: Mapping[str, Any], name: str) -> str:
    deviation = row["deviations"].get(name)
    return _cell(row["metrics"].get(name)) + (f" (σ {deviation:.2g})" if deviation else "")


def _cell(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "–"
    width = half(value)
    return words.number(value["mean"]) + ("" if width is None else f" ± {width:.2g}")
