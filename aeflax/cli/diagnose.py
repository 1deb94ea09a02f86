"""`aeflax diagnose`: what ails the posterior or the sparse code of a kept run."""

from dataclasses import dataclass
from typing import Literal

from aeflax.cli.kept import RunCommand, open_run, show
from aeflax.cli.parsing import parse
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
    run = open_run(command)

    from aeflax.report import posterior, sparsity

    found = run.judge.diagnosis(command.split, samples=command.samples)
    ((name, values),) = found.items()
    panel = {"posterior": posterior, "sparsity": sparsity}[name]
    show(command, run, found, panel.tables(values), panel.sentences(values))
    return 0
