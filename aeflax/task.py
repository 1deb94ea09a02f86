"""One training, from its first step to its summary: kept in a directory, where it can be gone on with, or nowhere."""

import contextlib
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

from aeflax import hosts
from aeflax.config import Experiment
from aeflax.data.dataset import Dataset
from aeflax.data.kept import Kept
from aeflax.data.places import KEPT
from aeflax.engine.placement import one_device
from aeflax.engine.state import PyTree, TrainState
from aeflax.errors import CheckpointError, ConfigError, DivergedError, StoppedError, warn
from aeflax.evaluation.floor import with_floor
from aeflax.program import Program
from aeflax.rundir import manifest, runs
from aeflax.rundir.checkpoint import Checkpoints, state_sha256
from aeflax.rundir.claim import RunDirectory, claim
from aeflax.trained import Run
from aeflax.training import divergence, memory
from aeflax.training.records import Callback, digests, events, history, metrics
from aeflax.training.trainer import Trainer


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained, on what, and who watches.

    Attributes:
      program: of a resolved experiment.
      dataset: what it is trained and evaluated on.
      described: the manifest of a run that begins.
      callbacks: called with every record.
      stop: asked while training and evaluating; True saves everything and raises StoppedError.
      weights: (params, model state) to begin with; None draws them.
      profile: a directory for a trace of the first steps.
    """

    program: Program
    dataset: Dataset
    described: dict[str, Any]
    callbacks: Sequence[Callback]
    stop: Callable[[], bool]
    weights: PyTree | None = None
    profile: Path | None = None

    def train(self) -> Run:
        """Trains, and keeps nothing."""
        records: list[dict[str, Any]] = []
        with self._trainer(history(records)) as trainer:
            run = self._run(trainer.fit(), records)
            run.summary = self._summary(run, trainer)
        return run

    def train_in(self, path: Path, *, resume: bool, overwrite: bool, report: bool) -> Run:
        """Trains in a run directory, or goes on with what it holds; what has nothing left to train is loaded.

        Arguments and errors: as `aeflax.train` has them.
        """
        with contextlib.ExitStack() as stack:
            fresh = overwrite or not (path / runs.MANIFEST).exists()
            taken = hosts.by_one(lambda: self._claimed(stack, path, resume=resume, overwrite=overwrite))
            directory, stored = taken or (None, None)  # of the process that holds the directory
            with Checkpoints(path / runs.CHECKPOINTS, held=True) as checkpoints:
                run = self._going_on(stored, manifest.carried_over)._done(path, directory, checkpoints)
                if run is None:
                    task = hosts.by_one(lambda: self._continued(directory, stored)) or self
                    run = task._trained(path, directory, checkpoints, fresh=fresh, report=report)
                else:
                    report = report and not hosts.from_first((path / runs.REPORT).exists())
            if report:
                hosts.by_one(lambda: _report(run))
            return run

    def _claimed(
        self, stack: contextlib.ExitStack, path: Path, *, resume: bool, overwrite: bool
    ) -> tuple[RunDirectory, dict[str, Any] | None]:
        """The directory, held until the stack is closed, and the manifest of what was trained in it, if anything."""
        directory, stored = stack.enter_context(claim(path, resume=resume, overwrite=overwrite)), None
        if (path / runs.MANIFEST).exists():
            manifest.require_same(found := runs.read_manifest(path), self.described)
            stored = found if runs.holds_checkpoint(path) else None
        directory.write(runs.MANIFEST, self._going_on(stored, manifest.carried_over).described)
        return directory, stored

    def _going_on(self, stored: dict[str, Any] | None, how: Callable[..., dict[str, Any]]) -> "Task":
        """The task of a run that is there already, by its manifest."""
        return self if stored is None else replace(self, described=how(stored, self.described))

    def _continued(self, directory: RunDirectory | None, stored: dict[str, Any] | None) -> "Task":
        """The task of what is trained further, as its manifest says from now on."""
        task = self._going_on(stored, manifest.continued)
        if stored is not None and directory is not None:
            directory.write(runs.MANIFEST, task.described)
        return task

    def _done(self, path: Path, directory: RunDirectory | None, checkpoints: Checkpoints) -> Run | None:
        """The run that the directory holds, where it was trained to its end."""
        summary = hosts.from_first(runs.read_summary(path) if directory else None)
        if summary is None:
            return None
        if checkpoints.latest() is None:
            raise CheckpointError(
                f"{path} was trained to step {summary.get('step')}, but its checkpoints are gone; put them back, "
                "or train anew with --overwrite"
            )
        if not _ended(summary, self.program.experiment):
            return None
        state, _ = checkpoints.restore(self.program.template())
        return self._run(state, runs.read_metrics(path), path, summary) if int(state.step) == summary["step"] else None

    def _trained(
        self, path: Path, directory: RunDirectory | None, checkpoints: Checkpoints, *, fresh: bool, report: bool
    ) -> Run:
        """Trains from the newest checkpoint, or from the start."""
        told: list[Callback] = []
        if directory is not None:
            directory.remove(runs.SUMMARY)
            followed = self.program.experiment.train.digest_every is not None
            told = [log(path) for log in ([metrics, digests, events] if followed else [metrics, events])]
        with _begun_or_gone(directory, fresh), self._trainer(*told) as trainer:
            state = trainer.fit(checkpoints)
            hosts.by_one(lambda: Kept.of(self.dataset).save(path / KEPT))
            run = self._run(state, runs.read_metrics(path), path)
            run.summary = summary = self._summary(run, trainer)

        def conclude() -> None:
            assert directory is not None  # of the process that does this
            directory.write(runs.SUMMARY, summary)
            if not report:  # what there is tells of an earlier step
                directory.remove(runs.REPORT)
                shutil.rmtree(path / runs.FIGURES, ignore_errors=True)

        hosts.by_one(conclude)
        return run

    @contextlib.contextmanager
    def _trainer(self, *told: Callback) -> Iterator[Trainer]:
        trainer = Trainer(
            self.program,
            self.dataset,
            callbacks=(*told, *self.callbacks),
            stop=self.stop,
            weights=self.weights,
            profile=self.profile,
        )
        with contextlib.closing(trainer), memory.named(self.program.experiment):
            yield trainer

    def _run(
        self,
        state: TrainState,
        records: list[dict[str, Any]],
        path: Path | None = None,
        summary: dict[str, Any] | None = None,
    ) -> Run:
        dataset = self.dataset
        several = hosts.count() > 1  # then each process has the whole state for itself, and uses a device of its own
        return Run(
            self.program.on(one_device()) if several else self.program,
            jax.tree.map(hosts.fetch, state) if several else state,
            self.dataset.domain,
            manifest=self.described,
            records=records,
            summary=summary,
            path=path,
            dataset=lambda: dataset,
            kept=lambda: Kept.of(dataset),
        )

    def _summary(self, run: Run, trainer: Trainer) -> dict[str, Any]:
        """Evaluates a trained run on every split."""
        found: dict[str, Any] = {}
        for name in self.dataset.splits:
            if hosts.agree(self.stop()).any():
                raise StoppedError("stopped in the final evaluation; run the same command with --resume to finish it")
            found[name] = with_floor(self.program, self.dataset, name, trainer.evaluate(name))
            if broken := [metric for metric, value in found[name].items() if not math.isfinite(value)]:
                said = f"the {name} split's {', '.join(broken)}"
                sound = math.isfinite(found[name]["mse"])
                raise divergence.unusable(run.experiment, run.step, said, reconstructs=sound)
        epoch, best = trainer.epoch, {}
        if (monitor := trainer.monitor) is not None:
            best = {"best": {"step": monitor.step, "monitor": monitor.name, "value": monitor.best}}
        summary = {
            "status": "done",
            "step": run.step,
            "epoch": epoch,
            "resumed_from": trainer.resumed_from,
            "seconds": trainer.seconds,
            "images_per_second": epoch * len(self.dataset.train.values) / max(trainer.seconds, 1e-9),
            "compile_seconds": trainer.compile_seconds,
            "devices": str(self.program.placement),
            "device_count": self.program.placement.shards,
            "parameters": run.parameters,
            "skipped_updates": int(run.state.skipped),
            "stopped_early": trainer.stopped_early,
            **best,
            "state_sha256": state_sha256(run.state),
            **found,
            "pca": hosts.by_one(run.pca),
        }
        return hosts.from_first(summary)  # one clock's


def _report(run: Run) -> None:
    """Draws the report; where it cannot be written, warns: the run is complete without it."""
    try:
        run.report()
    except ConfigError as error:
        said, _, _ = str(error).partition(";")
        warn(f"{said}; the run is complete, and aeflax report {run.path} draws it later")


def _ended(summary: dict[str, Any], resolved: Experiment) -> bool:
    """Whether a summary tells of a run that has nothing left to train."""
    ended = summary.get("step") == resolved.train.steps or summary.get("stopped_early") is True
    return ended and isinstance(summary.get("step"), int)


@contextlib.contextmanager
def _begun_or_gone(directory: RunDirectory | None, fresh: bool) -> Iterator[None]:
    """Clears the directory of a fresh run that fails before its first record or checkpoint, other than by itself."""
    try:
        yield
    except (StoppedError, DivergedError, CheckpointError):
        raise
    except Exception as error:
        if fresh and directory is not None and not (hosts.joined() and hosts.lost(error)):
            path = directory.path
            if not (runs.holds_checkpoint(path) or runs.read_metrics(path)):
                directory.clear()
        raise
