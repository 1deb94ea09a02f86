"""`sweep`: trains all members of a grid, those of one structure as one program, each kept as an ordinary run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aeflax import api, config, hosts
from aeflax.config.plain import to_dict
from aeflax.data.dataset import load as load_data
from aeflax.definitions import own_files
from aeflax.errors import ConfigError
from aeflax.population import grid as grids
from aeflax.population import halving as halvings
from aeflax.population.course import Course
from aeflax.population.grid import Axis, Member
from aeflax.population.group import Group, grouped
from aeflax.population.outcome import Sweep, ranking_metric
from aeflax.population.record import claim, require_usable
from aeflax.rundir.claim import require_free
from aeflax.training.records import Callback, require_callbacks


def sweep(
    experiment: config.Experiment,
    grid: Mapping[str, Iterable[Any]] | Sequence[Axis],
    data: str | np.ndarray | None = None,
    *,
    run_dir: str | Path,
    halving: bool = False,
    report: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[Callback] = (),
    stop: Callable[[], bool] = api.never,
    plan: Callable[[Sequence[Group]], None] = lambda groups: None,
    preset: str = "custom",
) -> Sweep:
    """Trains one model for every combination of a grid's values; those of one structure as one compiled program.

    Numbers (learning rate, penalty weights, noise, the seed) vary inside a program; what changes the structure (a code
    size, a kind of part, the number of steps) makes a program of its own. Each model's trajectory is that of
    `aeflax.train` with the same experiment.

    Args:
      experiment: what all members have in common.
      grid: fields by their dotted path, and their values: {"optimizer.learning_rate": [1e-4, 1e-3], "train.seed":
        range(8)}; of a part of the model its kinds: {"model.corruption": ["none", "masking"]}, each with its own
        numbers, but for the one that the experiment holds, which keeps what it has.
      data: a source such as "mnist", or an array; None takes `data.source`.
      run_dir: where the sweep is kept, its members in `members/NNNN`.
      halving: drop the worse half of the settings, by the metric that ranks, on the validation split, after an eighth,
        a quarter and half of the steps.
      report: draw the figures and `report.html` in `run_dir` at the end.
      resume: go on with what is there: finished members stay, others go on from the newest step that all of their
        program have saved.
      overwrite: replace the sweep in `run_dir`.
      callbacks: called with records of the population that is trained: means over its members.
      stop: asked between chunks; True saves everything and raises StoppedError.
      plan: told the groups before anything is trained.
      preset: a name for the manifests.

    Raises:
      ConfigError, DataError, RunInUseError, CheckpointError, StoppedError: see `aeflax.errors`. A member that diverges
        raises nothing; its status says so.
    """
    path = Path(run_dir)
    if hosts.count() > 1:
        raise ConfigError("a sweep runs in one process, on all of its devices; start it without --distributed")
    require_callbacks(callbacks)
    experiment = _for_members(api.with_data(experiment, data))
    axes = grids.axes(grid, experiment)
    members = grids.members(experiment, axes)
    rungs = halvings.rungs(members) if halving else ()
    metric = ranking_metric(member.experiment for member in members)
    require_free(path)
    require_usable(path, resume=resume, overwrite=overwrite)
    dataset = load_data(experiment.data, None if isinstance(data, str) else data)
    groups = grouped(members, dataset)
    asked = {
        "experiment": to_dict(experiment),
        "grid": {axis.field: axis.values for axis in axes},
        "halving": halving,
        "data": dataset.fingerprint(),
        "preset": preset,
        "parts": {name: digest for member in members for name, digest in own_files(member.experiment).items()},
    }
    with ExitStack() as stack:
        record = claim(path, stack, asked, resume=resume, overwrite=overwrite)
        course = Course(path, record, callbacks, stop, preset, len(groups))
        try:
            groups = _cut(groups, course)
        except Exception:  # no program could be made: the same command, mended, is to begin
            if not resume:
                record.forget()
            raise
        plan(groups)
        decided: list[dict[str, Any]] = record.get("rungs", [])
        for rung in rungs[len(decided) :]:
            decided = [*decided, _halve(groups, course, rung, metric, decided)]
            record.add(rungs=decided)
        found = [course.entry(member) | {"status": "dropped", "step": _dropped(member, decided)} for member in members]
        left = _still(groups, _alive(members, decided))
        for group in left:
            course.train(group)
        for group in left:
            for index, outcome in course.finish(group).items():
                found[index] = outcome
        told = [_entry(group, course) for group in groups]
        result = Sweep(path, found, told, decided, metric, None if isinstance(data, str) else data)
        record.add(members=result.members, groups=result.groups, rungs=result.rungs)
        if report:
            result.report()
    return result


def _cut(groups: tuple[Group, ...], course: Course) -> tuple[Group, ...]:
    """The groups, compiled, in waves as they were cut first: others would round otherwise, and mix what was trained."""
    sizes = course.record.get("waves", [])
    if len(sizes) == len(groups):
        groups = tuple(replace(group, wave=size) for group, size in zip(groups, sizes, strict=True))
    for group in groups:
        course.prepare(group)
    course.record.add(waves=[group.waves.size for group in groups])
    return groups


def _halve(
    groups: Sequence[Group], course: Course, rung: int, metric: str, decided: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Trains those that are still there up to a rung, and says which of them stay."""
    steps = groups[0].programs[0].experiment.train.steps
    assert steps is not None  # resolved
    step = halvings.step_of(rung, steps)
    alive = _alive([member for group in groups for member in group.members], decided)
    values: dict[int, float] = {}
    judged: list[Member] = []
    for group in _still(groups, alive):
        values |= course.train(group, until=step, judged=metric)
        judged += group.members
    ranked = halvings.ranked(sorted(judged, key=lambda member: member.index), values, metric)
    return {"step": step, "metric": metric, "settings": ranked}


def _alive(members: Sequence[Member], decided: Sequence[dict[str, Any]]) -> set[int]:
    """Indices of those that no rung has dropped."""
    return {member.index for member in members if _dropped(member, decided) is None}


def _still(groups: Sequence[Group], alive: set[int]) -> list[Group]:
    """The groups with those members alone, as far as any are left of them."""
    return [left for group in groups if (left := group.only(alive)) is not None]


def _dropped(member: Member, decided: Sequence[dict[str, Any]]) -> int | None:
    """The step at which a member was dropped, None where it was not."""
    for rung in decided:
        if any(member.index in one["members"] and not one["kept"] for one in rung["settings"]):
            return int(rung["step"])
    return None


def _entry(group: Group, course: Course) -> dict[str, Any]:
    """What is said of a group."""
    seconds, compiling = course.spent(group)
    return {
        "members": [member.index for member in group.members],
        "parameters": group.parameters,
        "waves": len(group.waves.cut(len(group))),
        "memory_bytes": group.waves.bytes,
        "seconds": seconds,
        "compile_seconds": compiling,
    }


def _for_members(experiment: config.Experiment) -> config.Experiment:
    """The experiment of members, each of which could run alone on one device."""
    train = experiment.train
    if train.patience is not None:
        raise ConfigError(
            "train.patience ends runs at different steps, but models of a sweep train together; leave it out"
        )
    if train.digest_every is not None:
        raise ConfigError("train.digest_every follows one run, bit by bit; train that member alone, or leave it out")
    if train.placement in ("pmap", "mesh"):
        raise ConfigError(
            f"train.placement={train.placement} shares each batch out, but a sweep shares its models out over the "
            "devices; leave it out"
        )
    if experiment.data.resident is False:
        raise ConfigError(
            "data.resident=False streams the data, but models of a sweep share them on the device; leave it out"
        )
    return replace(experiment, train=replace(train, placement="jit"))
