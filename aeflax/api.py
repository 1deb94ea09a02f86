"""What Python users call: `train` an experiment, `load` a run, and work with the `Run` that both return."""

import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aeflax import config
from aeflax import run as runs
from aeflax.checkpoint import Checkpoints, state_sha256
from aeflax.data.dataset import Dataset
from aeflax.data.dataset import load as load_data
from aeflax.defaults import resolve
from aeflax.engine.state import TrainState
from aeflax.errors import ConfigError, DataError, StoppedError
from aeflax.evaluation.baseline import pca
from aeflax.schema import differences, from_dict, to_dict
from aeflax.training import Listener, Trainer, journal
from aeflax.validation import ARRAY, unit_range_faults, validate

# What a resumed run may change: how long it trains, and where.
_FREE = ("train.epochs", "train.steps", "train.placement", "data.resident")
PACKAGES = ("aeflax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class Run:
    """A trained autoencoder: its experiment, its state and, where it was kept, its directory.

    Attributes:
      experiment: the resolved configuration.
      summary: status, step, speed, digest of the state and metrics of the finished run; None if unfinished.
      path: the run directory, None for a run that was not kept.
    """

    def __init__(self, trainer: Trainer, state: TrainState, summary: dict[str, Any] | None, path: Path | None) -> None:
        self._trainer = trainer
        self.experiment = trainer.experiment
        self.state = state
        self.summary = summary
        self.path = path

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return int(self.state.step)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.state.params))

    def evaluate(self, split: str = "test") -> dict[str, float]:
        """Metrics over a whole split: train, validation, test or all. Names and units: `aeflax.evaluation.scores`."""
        return self._trainer.evaluate(self.state, split)

    def pca(self) -> dict[str, Any]:
        """PCA at the same code size: `dim`, `compresses` and its `test` metrics."""
        trainer = self._trainer
        return pca(trainer.built, trainer.dataset, key=trainer.key, placement=trainer.placement)

    def __repr__(self) -> str:
        kind = type(self.experiment.model.backbone).__name__
        return f"Run({kind}, code {self.experiment.model.latent_dim}, step {self.step}, path={self.path})"


def train(
    experiment: config.Experiment,
    data: str | np.ndarray | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    listeners: Sequence[Listener] = (),
    stop: Callable[[], bool] = lambda: False,
    preset: str = "custom",
) -> Run:
    """Trains an autoencoder and evaluates it on the training and test splits.

    Args:
      experiment: what to train, e.g. `aeflax.presets.vae(latent_dim=16)`.
      data: a source such as "mnist", or an array [N, D], [N, H, W] or [N, H, W, C]; None takes `data.source`.
      run_dir: where the run is kept; None keeps nothing.
      resume: go on from the newest checkpoint in `run_dir`, from the start if there is none.
      overwrite: replace the run in `run_dir`.
      listeners: called with every `aeflax.training.Record`.
      stop: asked about twice a second while training; True saves everything and raises StoppedError.
      preset: a name for the manifest.

    Raises:
      ConfigError, DataError, RunInUseError, CheckpointError, DivergedError, StoppedError: see `aeflax.errors`.

    Example:
      >>> run = aeflax.train(aeflax.presets.vanilla(latent_dim=16), data="digits")
      >>> run.evaluate("test")["mse"]
    """
    if resume and (overwrite or run_dir is None):
        raise ConfigError("--resume needs --run-dir and excludes --overwrite")
    validate(experiment)
    if isinstance(data, str):
        experiment = validate(replace(experiment, data=replace(experiment.data, source=data)))
    elif data is not None:
        experiment = replace(experiment, data=replace(experiment.data, source=ARRAY))
    dataset = load_data(experiment.data, None if isinstance(data, str) else data)
    resolved = resolve(experiment, dataset.shape, len(dataset.train.values))
    if not dataset.unit_range:
        low, high = dataset.span
        if faults := unit_range_faults(resolved, f"{dataset.source} spans [{low:.4g}, {high:.4g}]"):
            raise ConfigError("; ".join(faults))
    if run_dir is None:
        trainer = Trainer(resolved, dataset, listeners=listeners, stop=stop)
        return _finish(Run(trainer, trainer.fit(), None, None), stop)
    place = Path(run_dir)
    # Only now is anything touched: a bad configuration or bad data never costs the run that is overwritten.
    with runs.claim(place, resume=resume, overwrite=overwrite) as directory:
        trainer = Trainer(resolved, dataset, listeners=(journal(directory), *listeners), stop=stop)
        trainer.require_shares()
        manifest = _manifest(experiment, resolved, dataset, preset)
        if (stored := directory.read(runs.MANIFEST)) is not None:
            _require_same(stored, manifest)
        directory.write(runs.MANIFEST, manifest)
        with Checkpoints(directory.checkpoints) as checkpoints:
            summary = directory.read(runs.SUMMARY)
            if summary is not None and summary.get("step") == checkpoints.latest == resolved.train.steps:
                return Run(trainer, trainer.restore(checkpoints)[0], summary, place)
            directory.remove(runs.SUMMARY)
            run = _finish(Run(trainer, trainer.fit(checkpoints), None, place), stop)
            assert run.summary is not None
            directory.write(runs.SUMMARY, run.summary)
            return run


def load(path: str | Path, data: np.ndarray | None = None) -> Run:
    """Loads a run from its directory, with the newest checkpoint.

    Args:
      path: a run directory.
      data: the array that it was trained on, where it was an array.

    Raises:
      ConfigError: if there is no run, or its configuration needs a class that is not registered.
      CheckpointError: if its checkpoint is missing or damaged.
      DataError: if its data cannot be read or has changed.
    """
    place = Path(path)
    manifest = runs.read_manifest(place)
    resolved = from_dict(config.Experiment, manifest["resolved"])
    if not (place / "checkpoints").is_dir():
        raise ConfigError(f"{place} holds no checkpoint yet; train the run first")
    dataset = load_data(resolved.data, data)
    _require_same_data(manifest, dataset)
    trainer = Trainer(resolved, dataset)
    with Checkpoints(place / "checkpoints") as checkpoints:
        state, _ = trainer.restore(checkpoints)
    return Run(trainer, state, runs.read_json(place / runs.SUMMARY), place)


def _finish(run: Run, stop: Callable[[], bool]) -> Run:
    """Evaluates a trained run and gives it its summary."""
    trainer = run._trainer
    metrics: dict[str, Any] = {}
    for name in trainer.dataset.splits:
        if stop():
            raise StoppedError("stopped in the final evaluation; run the same command with --resume to finish it")
        metrics[name] = run.evaluate(name)
    step = run.step
    examples = len(trainer.dataset.train.values)
    epoch = step / -(-examples // trainer.experiment.data.batch_size)
    run.summary = {
        "status": "done",
        "step": step,
        "epoch": epoch,
        "seconds": trainer.seconds,
        "images_per_second": epoch * examples / max(trainer.seconds, 1e-9),
        "compile_seconds": trainer.compile_seconds,
        "parameters": run.parameters,
        "skipped_updates": int(run.state.skipped),
        "state_sha256": state_sha256(run.state),
        **metrics,
        "pca": run.pca(),
    }
    return run


def _manifest(
    experiment: config.Experiment, resolved: config.Experiment, dataset: Dataset, preset: str
) -> dict[str, Any]:
    return {
        "preset": preset,
        "experiment": to_dict(experiment),
        "resolved": to_dict(resolved),
        "data": dataset.fingerprint(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "random": {
            "implementation": str(jax.random.key_impl(jax.random.key(0))),
            "threefry_partitionable": bool(jax.config.values["jax_threefry_partitionable"]),
        },
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _require_same(stored: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Raises ConfigError with the list of what a resumed run may not change."""
    old, new = (from_dict(config.Experiment, part["experiment"]) for part in (stored, manifest))
    found = [change for change in differences(old, new) if not change.startswith(_FREE)]
    steps = [part["resolved"]["train"]["steps"] for part in (stored, manifest)]
    if steps[1] < steps[0]:
        found.append(f"train.steps: {steps[0]} -> {steps[1]} (a resumed run may train longer, not shorter)")
    if steps[1] != steps[0] and new.optimizer.schedule not in ("constant", "piecewise"):
        found.append(f"train.steps: {steps[0]} -> {steps[1]} (the {new.optimizer.schedule} schedule depends on it)")
    found += [
        f"{name}: the data differ" for name in stored["data"] if stored["data"][name] != manifest["data"].get(name)
    ]
    found += [
        f"random.{name}: {stored['random'][name]} -> {manifest['random'][name]}"
        for name in stored["random"]
        if stored["random"][name] != manifest["random"][name]
    ]
    if found:
        raise ConfigError(
            "--resume finds another experiment than the one in the run directory: "
            + "; ".join(found)
            + "; repeat the first command, or start anew with --overwrite"
        )


def _require_same_data(manifest: dict[str, Any], dataset: Dataset) -> None:
    found = dataset.fingerprint()
    changed = [name for name, print_ in manifest["data"].items() if found.get(name) != print_]
    if changed:
        raise DataError(f"{dataset.source} has changed since the run was trained: its {', '.join(changed)} differ")
