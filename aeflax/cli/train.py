"""`aeflax train`: a preset or an experiment file, varied by options, to a kept run."""

import difflib
import json
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, ModuleType
from typing import Annotated

import tyro

from aeflax import run as runs
from aeflax.cli.parsing import console, parse
from aeflax.cli.slots import choose_parts, describe_slots, is_choice
from aeflax.config import Experiment
from aeflax.errors import AeflaxError, ConfigError
from aeflax.presets import PRESETS
from aeflax.schema import problems
from aeflax.validation import validate


@dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """Arguments of `aeflax train`."""

    run_dir: Path | None = None  # where the run is kept; default: runs/PRESET-SOURCE-K, the first free K
    resume: bool = False  # go on from the newest checkpoint in --run-dir, from step 0 if it holds none
    overwrite: bool = False  # replace the run in --run-dir
    init_from: Path | None = None  # begin with the weights of this run, which must have the same model
    no_report: bool = False  # draw no figures and no report.html
    profile: Path | None = None  # trace the first steps into this directory, for TensorBoard or Perfetto
    json: bool = False  # print the summary as one JSON object; the table goes to standard error
    # Its switches take a value, as every other field does: --model.backbone.spatial True.
    experiment: Annotated[tyro.conf.FlagConversionOff[Experiment], tyro.conf.arg(name="")] = field(
        default_factory=Experiment
    )


def main(arguments: list[str]) -> int:
    """Trains, prints the final table and returns the exit code."""
    named = bool(arguments) and not arguments[0].startswith("-") and not is_choice(arguments[0])
    name, arguments = (arguments[0], arguments[1:]) if named else ("vanilla", arguments)
    experiment = _starting_point(name)
    model, arguments = choose_parts(experiment.model, arguments)
    default = TrainCommand(experiment=replace(experiment, model=model))
    prog = f"aeflax train {name if named else '[PRESET|FILE.py]'}"
    command: TrainCommand = parse(TrainCommand, arguments, prog, describe_slots(model), default)
    experiment = validate(command.experiment)
    runs.require_usable(command.run_dir, resume=command.resume, overwrite=command.overwrite)
    if command.init_from is not None:
        runs.require_first_weights(command.init_from, command.run_dir if command.resume else None)
    if command.profile is not None:
        runs.create_folder(command.profile, "the profile")
    stem = Path(name).stem
    with (
        runs.first_free(Path("runs"), stem, experiment.data.source)
        if command.run_dir is None
        else nullcontext(command.run_dir)
    ) as path:
        return _train(replace(command, run_dir=path), stem)


def _train(command: TrainCommand, preset: str) -> int:
    """Trains in the run directory of a command that is found to be right."""
    from aeflax import api
    from aeflax.cli.progress import final_table, reporter

    progress = console(stderr=True)
    run = api.train(
        command.experiment,
        run_dir=command.run_dir,
        resume=command.resume,
        overwrite=command.overwrite,
        init_from=command.init_from,
        report=not command.no_report,
        profile=command.profile,
        callbacks=(reporter(progress),),
        stop=_stop_on_signal(),
        preset=preset,
    )
    assert run.summary is not None
    console(stderr=command.json).print(final_table(run.summary, run.experiment.model.latent_dim))
    assert run.path is not None
    report = run.path / runs.REPORT
    kept = f"run kept in {run.path}" if command.no_report or not report.exists() else f"report: {report}"
    progress.print(kept, highlight=False, soft_wrap=True)
    if command.json:
        print(json.dumps(run.summary))  # noqa: T201
    return 0


def _starting_point(name: str) -> Experiment:
    """The experiment of a preset, or `CONFIG` of a Python file."""
    if name in PRESETS:
        return PRESETS[name]()
    if not name.endswith(".py"):
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]}? There are" if near else "choose"
        raise ConfigError(f"unknown preset {name!r}; {hint} {', '.join(PRESETS)}, or a Python file that defines CONFIG")
    if not Path(name).is_file():
        raise ConfigError(f"{name} is no file; check the path")
    module = ModuleType("aeflax_experiment")
    module.__file__ = name
    sys.modules[module.__name__] = module  # where the parser looks up the help texts of parts that the file defines
    try:
        exec(compile(Path(name).read_bytes(), name, "exec"), vars(module))
    except AeflaxError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{_place(error, name)} fails: {type(error).__name__}: {error}") from error
    found = getattr(module, "CONFIG", None)
    if not isinstance(found, Experiment):
        raise ConfigError(f"{name} defines no CONFIG, an aeflax.config.Experiment; add one")
    if faults := problems(found):
        raise ConfigError(f"CONFIG in {name} is wrong: {'; '.join(faults)}")
    return found


def _place(error: BaseException, name: str) -> str:
    """The last line of an experiment file that an error passed through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    if isinstance(error, SyntaxError) and error.filename == name:
        lines.append(error.lineno)
    return f"{name}:{lines[-1]}" if lines else name


def _stop_on_signal() -> Callable[[], bool]:
    """Asks for a clean stop at the first SIGTERM, SIGINT or lost terminal; a second SIGINT quits at once."""
    heard: list[int] = []
    # What whoever started the command ignores stays ignored: nohup SIGHUP, a shell's background job SIGINT.
    numbers = [n for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]

    def hear(number: int, _: FrameType | None) -> None:
        heard.append(number)
        if signal.SIGINT in numbers:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in numbers:
        signal.signal(number, hear)
    return lambda: bool(heard)
