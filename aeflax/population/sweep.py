"""`sweep`: trains all members of a grid, those of one structure as one program, each kept as an ordinary run."""

import math
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aeflax import api, config, hosts, manifest
from aeflax import run as runs
from aeflax.data.dataset import Dataset
from aeflax.data.dataset import load as load_data
from aeflax.defaults import resolve
from aeflax.document import read_json, write_json
from aeflax.errors import ConfigError, DivergedError
from aeflax.population import grid as grids
from aeflax.population.grid import Axis, Member
from aeflax.population.trainer import Place, Trainer
from aeflax.program import Program, prepare
from aeflax.schema import structure, to_dict
from aeflax.trained import Run
from aeflax.training import memory
from aeflax.training.records import Callback
from aeflax.validation import ARRAY, validate

SWEEP = "sweep.json"
MEMBERS = "members"


@dataclass(frozen=True)
class Group:
    """Members of one structure: one compiled program."""

    members: tuple[Member, ...]
    programs: tuple[Program, ...]

    @property
    def parameters(self) -> int:
        """Of one member."""
        found: int = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.programs[0].template().params))
        return found

    @property
    def state_bytes(self) -> int:
        """Of all members' states: parameters, what the optimizer keeps, averages."""
        leaves = jax.tree.leaves(self.programs[0].template())
        one: int = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
        return one * len(self.members)


@dataclass(frozen=True)
class Sweep:
    """A finished sweep.

    Attributes:
      path: its directory; `members/NNNN` in it are ordinary run directories.
      members: one object a member: `index`, `settings`, `status` (done or diverged), `run`, and where it is done `step`
        and the metrics of each split.
      groups: one object a compiled program: its `members`, the `parameters` of each, `seconds` and `compile_seconds`.
    """

    path: Path
    members: list[dict[str, Any]]
    groups: list[dict[str, Any]]

    def load(self, index: int) -> Run:
        """One member as a run."""
        return api.load(self.path / MEMBERS / f"{index:04d}")


def sweep(
    experiment: config.Experiment,
    grid: Mapping[str, Iterable[Any]] | Sequence[Axis],
    data: str | np.ndarray | None = None,
    *,
    run_dir: str | Path,
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
        range(8)}.
      data: a source such as "mnist", or an array; None takes `data.source`.
      run_dir: where the sweep is kept, its members in `members/NNNN`.
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
    if isinstance(data, str):
        experiment = replace(experiment, data=replace(experiment.data, source=data))
    elif data is not None:
        experiment = replace(experiment, data=replace(experiment.data, source=ARRAY))
    experiment = _for_members(experiment)
    axes = grids.axes(grid, experiment) if isinstance(grid, Mapping) else tuple(grid)
    if not isinstance(data, np.ndarray):
        validate(experiment)
    members = grids.members(experiment, axes)
    require_usable(path, resume=resume, overwrite=overwrite)
    dataset = load_data(experiment.data, None if isinstance(data, str) else data)
    groups = grouped(members, dataset)
    described = {
        "experiment": to_dict(experiment),
        "grid": {axis.field: list(axis.values) for axis in axes},
        "data": dataset.fingerprint(),
    }
    with ExitStack() as stack:
        _claim(path, stack, described, resume=resume, overwrite=overwrite)
        plan(groups)
        outcomes: dict[int, dict[str, Any]] = {}
        told = []
        for group in groups:
            found, outcome = _train(group, path, dataset, callbacks, stop, preset)
            outcomes |= found
            told.append(outcome)
        result = Sweep(path, [outcomes[member.index] for member in members], told)
        write_json(path / SWEEP, described | {"members": result.members, "groups": result.groups})
    return result


def grouped(members: Sequence[Member], dataset: Dataset) -> tuple[Group, ...]:
    """Members by their structure, in order: what one compiled program can train together."""
    found: dict[Any, list[tuple[Member, Program]]] = {}
    for member in members:
        resolved = resolve(member.experiment, dataset.shape, len(dataset.train.values))
        api.require_range(resolved, dataset)
        alike = structure(resolved.model), structure(resolved.optimizer), resolved.data, replace(resolved.train, seed=0)
        found.setdefault(alike, []).append((member, prepare(resolved, dataset.shape)))
    return tuple(Group(*(tuple(part) for part in zip(*each, strict=True))) for each in found.values())


def require_usable(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Raises ConfigError where a path is no place for a sweep."""
    if resume and overwrite:
        raise ConfigError("--resume goes on with what --overwrite would delete; leave one of them out")
    if not path.exists():
        return
    if not path.is_dir():
        raise ConfigError(f"{path} is a file; a sweep is kept in a directory, choose another --run-dir")
    if (path / SWEEP).exists():
        if not (resume or overwrite):
            raise ConfigError(f"{path} holds a sweep; go on with --resume, or replace it with --overwrite")
    elif any(entry.name != runs.LOCK for entry in path.iterdir()):
        raise ConfigError(f"{path} holds something else than a sweep; choose another --run-dir")


def _for_members(experiment: config.Experiment) -> config.Experiment:
    """The experiment of members, each of which could run alone on one device."""
    train = experiment.train
    if train.patience is not None:
        raise ConfigError(
            "train.patience ends runs at different steps, but models of a sweep train together; leave it out"
        )
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


def _claim(path: Path, stack: ExitStack, described: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Locks the sweep's directory, and says in it what the sweep is."""
    runs.create_folder(path, "the sweep")
    stack.enter_context(directory := runs.RunDirectory(path)).lock()
    require_usable(path, resume=resume, overwrite=overwrite)
    if overwrite:
        shutil.rmtree(path / MEMBERS, ignore_errors=True)
        directory.remove(SWEEP)
    stored = read_json(path / SWEEP)
    if stored is not None and any(stored.get(name) != described[name] for name in ("experiment", "grid")):
        raise ConfigError(f"{path} holds a sweep of another grid or experiment; give the same, or another --run-dir")
    if stored is not None and stored.get("data") != described["data"]:
        raise ConfigError(f"{path} holds a sweep over other data; give the same, or another --run-dir")
    if stored is None:
        write_json(path / SWEEP, described)


def _train(
    group: Group,
    path: Path,
    dataset: Dataset,
    callbacks: Sequence[Callback],
    stop: Callable[[], bool],
    preset: str,
) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
    """Trains one group; what its members gave, and what it took."""
    places = [
        Place(program, path / MEMBERS / f"{member.index:04d}")
        for member, program in zip(group.members, group.programs, strict=True)
    ]
    outcome = {
        "members": [member.index for member in group.members],
        "parameters": group.parameters,
        "seconds": None,
        "compile_seconds": None,
    }
    if not all(runs.read_summary(place.path) if place.path.exists() else None for place in places):
        for member, place in zip(group.members, places, strict=True):
            place.path.mkdir(parents=True, exist_ok=True)
            resolved = place.program.experiment
            write_json(
                place.path / runs.MANIFEST, manifest.describe(member.experiment, resolved, dataset, preset, None)
            )
        trainer = Trainer(places, dataset, callbacks=callbacks, stop=stop)
        started = time.perf_counter()
        with memory.named(places[0].program.experiment):
            trainer.fit()
        outcome |= {"seconds": time.perf_counter() - started, "compile_seconds": trainer.compile_seconds}
    return {
        member.index: _finished(member, place, dataset, stop, preset)
        for member, place in zip(group.members, places, strict=True)
    }, outcome


def _finished(member: Member, place: Place, dataset: Dataset, stop: Callable[[], bool], preset: str) -> dict[str, Any]:
    """What one trained member gives: it is finished as any run that was interrupted after its last step."""
    told = {
        "index": member.index,
        "settings": dict(member.settings),
        "run": f"{MEMBERS}/{place.path.name}",
    }
    try:
        run = api.train_on(
            member.experiment, dataset, path=place.path, resume=True, report=False, stop=stop, preset=preset
        )
    except DivergedError as error:
        return told | {"status": "diverged", "reason": str(error)}
    assert run.summary is not None
    shown = ("step", "seconds", "state_sha256", *dataset.splits)
    return told | {"status": "done"} | {name: run.summary[name] for name in shown}
