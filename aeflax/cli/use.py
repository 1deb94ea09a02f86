"""The commands that use a kept run: evaluate, report, encode, reconstruct, sample."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from aeflax import run as runs
from aeflax.cli.parsing import console, parse

Step = Literal["latest", "best"] | int


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand:
    """Arguments of `aeflax evaluate`."""

    run: tyro.conf.Positional[Path]  # a run directory
    split: Literal["train", "validation", "test", "all"] = "test"  # which examples
    step: Step = "latest"  # which checkpoint: the newest, the best on validation, or one that is kept
    json: bool = False  # print one JSON object; the table goes to standard error


@dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """Arguments of `aeflax report`."""

    run: tyro.conf.Positional[Path]  # a run directory
    step: Step = "latest"  # which checkpoint: the newest, the best on validation, or one that is kept


def evaluate(arguments: list[str]) -> int:
    """Prints the metrics of a run."""
    command: EvaluateCommand = parse(
        EvaluateCommand, arguments, "aeflax evaluate", "Metrics of a kept run over a whole split."
    )
    runs.read_manifest(command.run)

    from aeflax import api
    from aeflax.cli.progress import table

    run = api.load(command.run, step=command.step)
    metrics = run.evaluate(command.split)
    title = f"{command.run}, step {run.step:,}"
    console(stderr=command.json).print(table({command.split: metrics}, title))
    if command.json:
        print(json.dumps({"split": command.split, "step": run.step, **metrics}))  # noqa: T201
    return 0


def report(arguments: list[str]) -> int:
    """Draws a run's figures and its page anew, and prints the page's path."""
    what = "Draws figures/*.png and report.html anew, from what the run directory holds."
    command: ReportCommand = parse(ReportCommand, arguments, "aeflax report", what)
    runs.read_manifest(command.run)

    from aeflax import api

    print(api.load(command.run, step=command.step).report())  # noqa: T201
    return 0
