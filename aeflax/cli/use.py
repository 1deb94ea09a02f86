"""The commands evaluate, report, encode and reconstruct."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from aeflax.cli import answer
from aeflax.cli.kept import (
    CarryingCommand,
    ReconstructCommand,
    RunCommand,
    Split,
    open_inputs,
    open_run,
    warn_of_unfamiliar,
    write_out,
    write_reconstructions,
)
from aeflax.cli.parsing import console, parse, say
from aeflax.data import places
from aeflax.errors import ConfigError
from aeflax.population.record import SWEEP


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand(RunCommand):
    """Arguments of `aeflax evaluate`."""

    # which examples
    split: Split = "test"


@dataclass(frozen=True, kw_only=True)
class ReportCommand(RunCommand):
    """Arguments of `aeflax report`."""

    # of a run: a folder for the figures and the page; None: the run directory
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class EncodeCommand(CarryingCommand):
    """Arguments of `aeflax encode`."""

    # a folder for TensorBoard's embedding projector, of the first 10,000 codes
    projector: Path | None = None


def evaluate(arguments: list[str]) -> int:
    """Prints the metrics of a run."""
    what = "Metrics of a kept run over a whole split."
    command: EvaluateCommand = parse(EvaluateCommand, arguments, "aeflax evaluate", what)
    run = open_run(command)

    from aeflax.cli.progress import table

    metrics = run.evaluate(command.split)
    title = f"{command.run}, step {run.step:,}"
    console(stderr=command.json).print(table({command.split: metrics}, title))
    if command.json:
        answer.give({"split": command.split, "step": run.step, **metrics})
    return 0


def report(arguments: list[str]) -> int:
    """Draws a run's figures and its page anew, and prints the page's path."""
    what = "Draws figures/*.png and report.html anew, from what the directory of a run or of a sweep holds."
    command: ReportCommand = parse(ReportCommand, arguments, "aeflax report", what)
    if (command.run / SWEEP).exists():
        from aeflax.population.outcome import load_sweep

        if command.out is not None:
            raise ConfigError("the page of a sweep leads to its members and stays with them; leave --out out")
        return _drawn(command, load_sweep(command.run).report())
    run = open_run(command)
    return _drawn(command, run.report(command.out), step=run.step)


def _drawn(command: ReportCommand, page: Path, **of: int) -> int:
    """Prints the path of a page."""
    if command.json:
        answer.give({**of, "report": str(page)})
    else:
        print(page)  # noqa: T201
    return 0


def encode(arguments: list[str]) -> int:
    """Writes the codes of examples."""
    what = "Writes the codes [N, K] of examples, the mean of a posterior, with their labels where IN has them."
    command: EncodeCommand = parse(EncodeCommand, arguments, "aeflax encode", what)
    if places.is_picture(command.out):
        raise ConfigError(f"codes are no pictures; end {command.out} in .npy, .npz, .csv or .parquet")
    if command.projector is not None:
        places.require_folder(command.projector)
    run, inputs = open_inputs(command, places.TABLES, command.carry)
    warn_of_unfamiliar(run, inputs)

    from aeflax.applications import transforms

    if command.projector is not None:  # first: where it cannot be written, neither is OUT
        from aeflax.data import projector

        projector.write(command.projector, *transforms.projected(run.inference, inputs))
    written = write_out(command.out, transforms.codes(run.inference, inputs), len(inputs), "codes")
    if command.projector is not None:
        shown = f"tensorboard --logdir {shlex.quote(str(command.projector))}  (tab Projector)"
        say(console(stderr=True), shown)
    if command.json:
        answer.give({"step": run.step, **written})
    return 0


def reconstruct(arguments: list[str]) -> int:
    """Writes the reconstructions of examples."""
    what = "Writes the reconstructions of examples, [N, D] or [N, H, W, C] in the units of IN."
    command: ReconstructCommand = parse(ReconstructCommand, arguments, "aeflax reconstruct", what)
    run, inputs = open_inputs(command, carry=command.carry)
    warn_of_unfamiliar(run, inputs)
    written = write_reconstructions(command.out, run, inputs, "reconstructions")
    if command.json:
        answer.give({"step": run.step, **written})
    return 0
