"""What Python users call: `train` an experiment, `load` a run; both return a `Run`."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aeflax import config, hosts, mistakes
from aeflax.config.defaults import resolve
from aeflax.config.sources import ARRAY
from aeflax.config.validation import require_experiment, validate
from aeflax.data.dataset import Dataset
from aeflax.data.dataset import load as load_data
from aeflax.data.kept import Kept
from aeflax.data.places import KEPT, sought_in_vain
from aeflax.engine.placement import one_device
from aeflax.engine.state import PyTree, mismatches
from aeflax.errors import ConfigError, DataError, UnavailableError, warn
from aeflax.program import Program, prepare
from aeflax.rundir import manifest, runs
from aeflax.rundir.checkpoint import Checkpoints, Which, state_sha256
from aeflax.rundir.claim import create_folder, require_usable
from aeflax.suited import require_range, warn_of_misfit
from aeflax.task import Task
from aeflax.trained import Run
from aeflax.training.records import Callback, require_callbacks
from aeflax.trial.doubts import warn_of_own_parts
from aeflax.trial.draws import require_own_noise


def never() -> bool:
    """The `stop` of a run that is never stopped."""
    return False


def train(
    experiment: config.Experiment,
    data: str | np.ndarray | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    init_from: str | Path | None = None,
    report: bool = True,
    profile: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    stop: Callable[[], bool] = never,
    preset: str = "custom",
) -> Run:
    """Trains an autoencoder and evaluates it on every split.

    Args:
      experiment: what to train, e.g. `aeflax.presets.vae(latent_dim=16)`.
      data: a source such as "mnist", an array [N, D], [N, H, W] or [N, H, W, C], or a data frame, whose columns the run
        then knows by their names; None takes `data.source`.
      run_dir: where the run is kept; None keeps nothing.
      resume: go on from the newest checkpoint in `run_dir`, from the start if there is none.
      overwrite: replace the run in `run_dir`.
      init_from: a run directory whose weights (of its newest checkpoint) this one begins with.
      report: draw the figures and `report.html` in `run_dir` at the end.
      profile: a directory for a trace of the first steps, to be opened in TensorBoard or Perfetto.
      callbacks: called with every `aeflax.training.records.Record`: at the start, when steps were dispatched, a
        training record closes, an evaluation is done, a save begins, and at the end.
      stop: asked about twice a second while training; True saves everything and raises StoppedError.
      preset: a name for the manifest.

    Raises:
      ConfigError, DataError, RunInUseError, CheckpointError, DivergedError, StoppedError: see `aeflax.errors`.

    Example:
      >>> run = aeflax.train(aeflax.presets.vanilla(latent_dim=16), data="digits")
      >>> run.evaluate("test")["mse"]
    """
    path, profile = (None if place is None else Path(place) for place in (run_dir, profile))
    require_callbacks(callbacks)
    hosts.by_one(lambda: require_usable(path, resume=resume, overwrite=overwrite))
    experiment = validate(with_data(experiment, data))
    dataset = hosts.by_all(lambda: load_data(experiment.data, None if isinstance(data, str) else data))
    resolved = resolve(experiment, dataset.shape, len(dataset.train.values))
    require_range(resolved, dataset)
    described = manifest.describe(experiment, resolved, dataset, preset, None)
    hosts.require_alike(
        {
            "experiment": described["resolved"],
            "data set": described["data"],
            "set of arguments": {
                "run_dir": str(path),
                "resume": resume,
                "overwrite": overwrite,
                "init_from": str(init_from),
                "report": report,
                "profile": str(profile),
            },
        }
    )
    with mistakes.noted():
        program = _tried(resolved, dataset)
    weights, origin = None, None
    if init_from is not None:
        origin = hosts.by_all(lambda: runs.require_first_weights(Path(init_from), path if resume else None))
        if origin is None:
            weights, origin = _first_weights(program, Path(init_from))
    if profile is not None:
        profile = profile / str(jax.process_index()) if hosts.count() > 1 else profile
        hosts.by_all(functools.partial(create_folder, profile, "the profile"))
    described |= {"init_from": origin, "devices": program.placement.shards, "processes": hosts.count()}
    task = Task(program, dataset, described, callbacks, stop, weights, profile)
    return task.train() if path is None else task.train_in(path, resume=resume, overwrite=overwrite, report=report)


def _tried(resolved: config.Experiment, dataset: Dataset) -> Program:
    """Prepares the program of a training, refuses parts that cannot work, and warns of the rest."""
    program = prepare(resolved, dataset.shape)
    program.require_shares()
    require_own_noise(program)
    if (how := resolved.train.placement) in ("pmap", "mesh") and program.placement.shards == 1:
        warn(f"train.placement={how} finds one device, which computes all; aeflax doctor lists those that there are")
    hosts.by_one(lambda: warn_of_own_parts(program))
    hosts.by_one(lambda: warn_of_misfit(program, dataset))
    return program


def with_data(experiment: config.Experiment, data: str | np.ndarray | None) -> config.Experiment:
    """The experiment on other data: a source, an array or a data frame; on its own where they are None."""
    require_experiment(experiment)
    if data is None:
        return experiment
    return replace(experiment, data=replace(experiment.data, source=data if isinstance(data, str) else ARRAY))


def load(path: str | Path, data: np.ndarray | None = None, *, step: int | Which = "latest") -> Run:
    """Loads a run from its directory. Its data are read only when something needs them.

    Args:
      path: a run directory.
      data: the array that it was trained on, where it was an array and is to be evaluated on.
      step: which checkpoint: "latest", "best" (on the validation split), or a step that is kept.

    Raises:
      ConfigError: if there is no run or no such checkpoint, or it needs a class that is not registered.
      CheckpointError: if the checkpoint is missing or damaged.
    """
    place = Path(path)
    described = runs.read_manifest(place)
    resolved = manifest.resolved(described, place)
    shape, domain = manifest.inputs(described, resolved)
    if not (place / runs.CHECKPOINTS).is_dir():
        raise ConfigError(f"{place} holds no checkpoint yet; train the run first")
    manifest.warn_of_changed_parts(described, resolved)
    program = _to_use(resolved, shape)
    with Checkpoints(place / runs.CHECKPOINTS) as checkpoints:
        state, _ = checkpoints.restore(program.template(), step)

    def dataset() -> Dataset:
        if data is None and resolved.data.source == ARRAY:
            mend = f"pass it: aeflax.load({str(place)!r}, array); detect takes a --threshold in its place"
            raise DataError(f"{place} was trained on an array from Python; {mend}")
        try:
            found = load_data(resolved.data, data)
        except DataError as error:
            sought = sought_in_vain(resolved.data.source, place)
            raise UnavailableError(f"this needs the data that {place} was trained on: {error}{sought}") from error
        manifest.require_same_data(described, found)
        return found

    def kept() -> Kept:
        with contextlib.suppress(DataError):  # missing or damaged: the data may be there
            return Kept.load(place / KEPT)
        return Kept.of(dataset())

    return Run(
        program,
        state,
        domain,
        manifest=described,
        records=runs.read_metrics(place),
        summary=runs.read_summary(place),
        path=place,
        dataset=dataset,
        kept=kept,
    )


def _to_use(resolved: config.Experiment, shape: tuple[int, ...]) -> Program:
    """The program of a run that is there, on this process's devices: on how many it was trained does not matter."""
    several = hosts.count() > 1
    train = replace(resolved.train, fsdp=None, sharding=(), placement="pmap" if several else resolved.train.placement)
    program = replace(prepare(replace(resolved, train=train), shape), experiment=resolved)
    return program.on(one_device()) if several else program


def _first_weights(program: Program, path: Path) -> tuple[PyTree, dict[str, Any]]:
    """(params, model state) of another run, and where they came from."""
    other = load(path)
    params, model = other.state.inference_params, other.state.model
    template = program.template()
    faults = mismatches(params, template.params) + mismatches(model, template.model)
    if faults:
        raise ConfigError(f"--init-from {path} holds another model than this one: {'; '.join(faults[:5])}")
    return jax.device_get((params, model)), {
        "run": str(path),
        "step": other.step,
        "state_sha256": state_sha256(other.state),
    }
