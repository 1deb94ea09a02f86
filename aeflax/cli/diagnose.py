"""`aeflax diagnose`: what ails the posterior or the sparse code of a kept run."""

from dataclasses import dataclass
from typing import Literal

from aeflax import runs
from aeflax.cli import answer
from aeflax.cli.parsing import console, parse, say
from aeflax.cli.use import RunCommand
from aeflax.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DiagnoseCommand(RunCommand):
    """Arguments of `aeflax diagnose`."""

    # which examples are judged
    split: Literal["train", "validation", "test"] = "test"
    # draws of each posterior, for the importance-weighted likelihood
    samples: int = 64


def main(arguments: list[str]) -> int:
    """Prints the panel that fits a run's model, and keeps it for the run's report."""
    what = "What ails the code: collapse and information of a posterior, sparsity and dictionary of a sparse code."
    command: DiagnoseCommand = parse(DiagnoseCommand, arguments, "aeflax diagnose", what)
    if command.samples < 1:
        raise ConfigError(f"--samples {command.samples} is too few; draw at least one")
    runs.read_manifest(command.run)

    from aeflax import api
    from aeflax.cli.progress import grid
    from aeflax.report import posterior, sparsity

    run = api.load(command.run, step=command.step)
    found = run.judge.diagnosis(command.split, samples=command.samples)
    screen = console(stderr=command.json)
    for name, values in found.items():
        panel = {"posterior": posterior, "sparsity": sparsity}[name]
        screen.print(f"{command.run}, step {run.step:,}", style="italic", highlight=False, markup=False)
        for table in panel.tables(values):
            screen.print(grid(table))
        for sentence in panel.sentences(values):
            say(screen, sentence)
    if command.json:
        answer.give({"step": run.step, **found})
    return 0
