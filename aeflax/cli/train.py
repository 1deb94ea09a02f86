"""`aeflax train`: a preset or an experiment file, varied by options, to a kept run."""

import json
import os
import shlex
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from aeflax.cli import answer, job
from aeflax.cli.job import Job
from aeflax.cli.naming import named_experiment, resumed
from aeflax.cli.parsing import console, parse, say, traced
from aeflax.cli.stopping import Stop
from aeflax.config import Experiment
from aeflax.config.plain import differing, from_dict
from aeflax.config.validation import EXACT_PARTS, validate
from aeflax.errors import ConfigError, StoppedError, warn
from aeflax.rundir import runs
from aeflax.rundir.claim import create_folder, first_free, require_usable

BUDGET = {"train.epochs", "train.steps"}  # which take each other's place


@dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """Arguments of `aeflax train`."""

    # where the run is kept; None: runs/PRESET-SOURCE-K, the first free K
    run_dir: Path | None = None
    # go on from the newest checkpoint in --run-dir, from step 0 if it holds none; where no preset is named, with the
    # run's own settings, of which only those have to be said that change: --train.epochs, --train.placement, ...
    resume: bool = False
    overwrite: bool = False  # replace the run in --run-dir
    init_from: Path | None = None  # begin with the weights of this run, which must have the same model
    no_report: bool = False  # draw no figures and no report.html; those of an earlier step are removed
    profile: Path | None = None  # trace the first steps into this directory, for TensorBoard or Perfetto
    json: bool = False  # print the summary as one JSON object; the table goes to standard error
    job: Annotated[Job, tyro.conf.arg(name="")] = field(default_factory=Job)  # several processes that train together
    # Its switches take a value, as every other field does: --model.backbone.spatial True.
    experiment: Annotated[tyro.conf.FlagConversionOff[Experiment], tyro.conf.arg(name="")] = field(
        default_factory=Experiment
    )


def main(arguments: list[str]) -> int:
    """Trains, prints the final table and returns the exit code."""
    stop = Stop(json=answer.awaited(arguments))
    begun = resumed(arguments, lambda path: _without_other_budget(runs.read_manifest(path), arguments))
    named = named_experiment("train", arguments, begun)
    default = TrainCommand(experiment=named.experiment)
    said = (named.prog, named.description)
    command: TrainCommand = parse(
        TrainCommand, named.arguments, *said, default, faults=named.faults, require=_require_possible
    )
    words = {argument.partition("=")[0] for argument in arguments}
    if command.resume and begun is None and arguments[0].startswith("-") and "--data.source" not in words:
        _refuse_to_begin(command.run_dir)
    if command.profile is not None:
        create_folder(command.profile, "the profile")
    stem = Path(named.name).stem
    with (
        first_free(Path("runs"), stem, command.experiment.data.source)
        if command.run_dir is None
        else nullcontext(command.run_dir)
    ) as path:
        stop.path, stop.created = path, command.run_dir is None
        try:
            of_run = begun is not None and arguments[0].startswith("-")
            return _train(replace(command, run_dir=path), stem, stop, None if of_run else words)
        except StoppedError as error:
            place = [] if command.run_dir is not None else [f"add --run-dir {shlex.quote(str(path))}"]
            more = place + (["leave out --overwrite"] if command.overwrite else [])
            whole = f"{error} ({' and '.join(more)})" if more else str(error)
            raise StoppedError(whole).telling(run_dir=str(path), **error.details) from error
        except Exception as error:
            if job.peer_is_lost(error) or (path / runs.MANIFEST).exists():
                error.details = {**getattr(error, "details", {}), "run_dir": str(path)}  # type: ignore[attr-defined]
            raise


def _refuse_to_begin(place: Path | None) -> None:
    """Raises ConfigError where a run is to go on that is not there, and nothing says what to begin in its place."""
    if place is not None and (place / runs.MANIFEST).exists():
        runs.read_manifest(place)  # raises, for it could not be read
    raise ConfigError(f"{place} holds no run to go on with; check the path, or name the preset of one to begin there")


def _warn_of_changes(command: TrainCommand, words: set[str]) -> None:
    """Warns of settings that a run may change when it goes on, and changes unsaid by the words of the command."""
    from aeflax.rundir.manifest import FREE

    if not command.resume or command.run_dir is None or not (command.run_dir / runs.MANIFEST).exists():
        return
    with suppress(ConfigError):  # which is told of where it matters
        manifest = runs.read_manifest(command.run_dir)
        stored = from_dict(Experiment, manifest["experiment"])
        named = {word.lstrip("-").replace("-", "_") for word in words}
        named |= BUDGET if named & BUDGET else set()
        found = differing(stored, command.experiment)
        changed = [change for path, change in found.items() if path in FREE and path not in named]
        if changed and not found.keys() - FREE:  # else it is refused
            said = "the run goes on with other settings than it had, which the command does not name"
            warn(f"{said}: {'; '.join(changed)} ({runs.alone(manifest)} keep them)")


def _warn_of_sweep(place: Path) -> None:
    """Warns where a member of a sweep goes on by itself, of which the leaderboard will not tell."""
    from aeflax.population.record import MEMBERS, SWEEP

    sweep = place.absolute().parent.parent
    if place.absolute().parent.name == MEMBERS and (sweep / SWEEP).exists():
        mend = "to leave it as it is, begin a run of your own with --init-from"
        warn(f"{place} is a member of the sweep {sweep}, whose leaderboard goes on telling what it was; {mend}")


def _without_other_budget(manifest: dict[str, Any], arguments: list[str]) -> dict[str, Any]:
    """The manifest without the run's epochs where steps are asked for, and the other way round."""
    words = {argument.partition("=")[0] for argument in arguments}
    given = {name for name in ("epochs", "steps") if f"--train.{name}" in words}
    train = manifest["experiment"].get("train", {})
    changed = {name: None if len(given) == 1 and name not in given else train.get(name) for name in ("epochs", "steps")}
    return manifest | {"experiment": manifest["experiment"] | {"train": train | changed}}


def _require_possible(command: TrainCommand) -> None:
    """Raises ConfigError with all that is wrong with a command, as far as can be told before anything is imported."""
    resumed = command.run_dir if command.resume else None
    looks: tuple[Callable[[], object], ...] = (
        lambda: validate(command.experiment),
        lambda: command.job.require(command.run_dir),
        lambda: require_usable(command.run_dir, resume=command.resume, overwrite=command.overwrite),
        lambda: command.init_from and runs.require_first_weights(command.init_from, resumed),
    )
    faults = []
    for look in looks:
        try:
            look()
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("; ".join(faults))


def _train(command: TrainCommand, preset: str, stop: Stop, words: set[str] | None) -> int:
    """Trains in the run directory of a command that is found to be right.

    Args:
      command: what to train, and where.
      preset: its name.
      stop: whether to stop.
      words: of the command, where it says all itself; None: what it does not say is the run's.
    """
    if command.experiment.train.exact:
        # On CPU a matrix product rounds by the number of threads that share it: as many as the devices that the mode
        # allows, for each of which XLA has one at least; to be set before JAX starts.
        os.environ.setdefault("PJRT_NPROC", str(EXACT_PARTS))
    if command.job.several:
        stop.together = True
        command.job.join(json=command.json)
    from aeflax import api, hosts
    from aeflax.cli.progress import final_table, reporter
    from aeflax.data.dataset import called

    progress = console(stderr=True)
    progress.quiet = not hosts.primary()
    if words and hosts.primary():
        _warn_of_changes(command, words)
    if command.resume and command.run_dir is not None and hosts.primary():
        _warn_of_sweep(command.run_dir)
    before = runs.read_summary(command.run_dir) if command.resume and command.run_dir is not None else None
    if command.resume and before is None and command.run_dir and not runs.holds_checkpoint(command.run_dir):
        begun = f"{preset} on {command.experiment.data.source}"
        said = f"{command.run_dir} holds no checkpoint; starting at step 0 ({begun})"
        say(progress, said)
    run = api.train(
        command.experiment,
        run_dir=command.run_dir,
        resume=command.resume,
        overwrite=command.overwrite,
        init_from=command.init_from,
        report=not command.no_report,
        profile=command.profile,
        callbacks=(reporter(progress, command.experiment.train.monitor),) if hosts.primary() else (),
        stop=stop,
        preset=preset,
    )
    assert run.summary is not None
    if not hosts.primary():
        return 0
    examples = called(run.inference.program.built.shape)
    console(stderr=command.json).print(final_table(run.summary, run.experiment.model, examples))
    assert run.path is not None
    if run.summary == before:
        say(progress, f"{run.path} was at step {run.step:,} already: nothing was left to train")
    report = run.path / runs.REPORT
    kept = f"run kept in {run.path}" if command.no_report or not report.exists() else f"report: {report}"
    say(progress, kept)
    if command.profile is not None:
        say(progress, traced(command.profile))
    if command.json:  # as the file has it, its digest included, and where it lies
        answer.give(json.loads((run.path / runs.SUMMARY).read_text()) | {"run_dir": str(run.path)})
    return 0
