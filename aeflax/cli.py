"""The command line: parses, validates, calls. It holds no logic, and imports JAX only when a command runs.

Results go to standard output, progress and messages to standard error.
"""

import difflib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from aeflax import __version__
from aeflax import run as runs
from aeflax.config import Experiment
from aeflax.errors import AeflaxError, ConfigError
from aeflax.presets import PRESETS
from aeflax.schema import nearest, problems
from aeflax.slots import choose_parts, describe_slots
from aeflax.validation import validate

if TYPE_CHECKING:
    from rich.console import Console

HELP = """\
usage: aeflax COMMAND [ARGUMENTS]

Trains autoencoders with JAX, fast and reproducibly.

commands:
  train [PRESET | experiments/FILE.py]   train, evaluate and keep a run; without a name: vanilla on digits
  evaluate RUN                           metrics of a kept run over a split

presets:
{presets}

examples:
  aeflax train                                                  vanilla on the embedded digits
  aeflax train vae --data.source mnist --train.epochs 20
  aeflax train conv --model.corruption gaussian --model.corruption.sigma 0.3
  aeflax train vanilla --run-dir runs/first --resume
  aeflax evaluate runs/first --split train --json

aeflax COMMAND --help lists all options of a command; aeflax train PRESET --help shows a preset's defaults.
Exit codes: 0 done, 1 a bug of ours, 2 configuration, 3 diverged, 4 checkpoint, 5 data, 6 run in use,
75 stopped by a signal with everything saved."""


@dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """Arguments of `aeflax train`."""

    run_dir: Path | None = None  # where the run is kept; default: runs/PRESET-SOURCE-K, the first free K
    resume: bool = False  # go on from the newest checkpoint in --run-dir
    overwrite: bool = False  # replace the run in --run-dir
    json: bool = False  # print one JSON object as the last line of standard output
    # Its switches take a value, as every other field does: --model.backbone.spatial True.
    experiment: Annotated[tyro.conf.FlagConversionOff[Experiment], tyro.conf.arg(name="")] = field(
        default_factory=Experiment
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand:
    """Arguments of `aeflax evaluate`."""

    run: tyro.conf.Positional[Path]  # a run directory
    split: Literal["train", "validation", "test", "all"] = "test"  # which examples
    json: bool = False  # print one JSON object as the last line of standard output


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except AeflaxError as error:
        print(f"aeflax: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except SystemExit as error:  # from the parser, which has printed why
        return error.code if isinstance(error.code, int) else 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader is gone; nothing more to say
        return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        if _out_of_memory(error):
            print(f"aeflax: out of memory ({error}); lower data.batch_size", file=sys.stderr)  # noqa: T201
            return 2
        traceback.print_exc()
        print("aeflax: this is a bug of ours; please report it with the lines above", file=sys.stderr)  # noqa: T201
        return 1


def _dispatch(arguments: list[str]) -> int:
    commands: dict[str, Callable[[list[str]], int]] = {"train": _train, "evaluate": _evaluate}
    name = arguments[0] if arguments else ""
    if name in commands:
        return commands[name](arguments[1:])
    if name == "--version":
        print(f"aeflax {__version__}")  # noqa: T201
        return 0
    presets = "\n".join(f"  {key:<11}{(preset.__doc__ or '').splitlines()[0]}" for key, preset in PRESETS.items())
    if name in ("", "-h", "--help", "help"):
        print(HELP.format(presets=presets), file=sys.stdout if name else sys.stderr)
        return 0 if name else 2
    raise ConfigError(f"unknown command {name!r}{nearest(name, commands)} (see aeflax --help)")


def _train(arguments: list[str]) -> int:
    name = "vanilla"
    if arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
    experiment = _starting_point(name)
    model, arguments = choose_parts(experiment.model, arguments)
    default = TrainCommand(experiment=replace(experiment, model=model))
    command = _parse(TrainCommand, arguments, f"aeflax train {name}", describe_slots(model), default)
    experiment = validate(command.experiment)
    if command.resume and (command.run_dir is None or command.overwrite):
        raise ConfigError("--resume needs --run-dir and excludes --overwrite")
    stem = Path(name).stem
    path = command.run_dir or runs.first_free(Path("runs"), stem, experiment.data.source)
    runs.require_usable(path, resume=command.resume, overwrite=command.overwrite)

    from aeflax import api
    from aeflax.progress import final_table, reporter

    console = _console(stderr=True)
    show = reporter(console)
    try:
        run = api.train(
            experiment,
            run_dir=path,
            resume=command.resume,
            overwrite=command.overwrite,
            listeners=(show,),
            stop=_stop_on_signal(),
            preset=stem,
        )
    finally:
        show.close()
    assert run.summary is not None
    _console().print(final_table(run.summary, run.experiment.model.latent_dim))
    console.print(f"run kept in {path}", highlight=False, soft_wrap=True)
    if command.json:
        print(json.dumps(run.summary))  # noqa: T201
    return 0


def _evaluate(arguments: list[str]) -> int:
    command = _parse(EvaluateCommand, arguments, "aeflax evaluate", "Metrics of a kept run over a whole split.")
    runs.read_manifest(command.run)

    from aeflax import api
    from aeflax.progress import table

    run = api.load(command.run)
    metrics = run.evaluate(command.split)
    _console().print(table({command.split: metrics}, f"{command.run}, step {run.step}"))
    if command.json:
        print(json.dumps({"split": command.split, "step": run.step, **metrics}))  # noqa: T201
    return 0


def _parse(command: Any, arguments: list[str], prog: str, description: str, default: Any = None) -> Any:
    options = {} if default is None else {"default": default}
    flags = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff)
    return tyro.cli(command, args=arguments, prog=prog, description=description, config=flags, **options)


def _console(*, stderr: bool = False) -> "Console":
    """A console that falls silent when its reader is gone, where Rich's own would end the run."""
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

    return Quiet(stderr=stderr)


def _starting_point(name: str) -> Experiment:
    """The experiment of a preset, or `CONFIG` of a Python file."""
    if name in PRESETS:
        return PRESETS[name]()
    if not name.endswith(".py"):
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = (
            f"did you mean {near[0]}?" if near else f"choose {', '.join(PRESETS)}, or a Python file that defines CONFIG"
        )
        raise ConfigError(f"unknown preset {name!r}; {hint}")
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
    """Asks for a clean stop at the first SIGTERM or SIGINT; a second SIGINT quits at once."""
    heard: list[int] = []

    def hear(number: int, _: FrameType | None) -> None:
        heard.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hear)
    return lambda: bool(heard)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
