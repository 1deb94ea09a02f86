"""`aeflax codes`: how good the codes of a kept run are, as a reduction of dimension and as features."""

from dataclasses import dataclass
from typing import Literal

from aeflax.cli.kept import RunCommand, open_run, show
from aeflax.cli.parsing import parse


@dataclass(frozen=True, kw_only=True)
class CodesCommand(RunCommand):
    """Arguments of `aeflax codes`."""

    # which examples are judged; PCA, neighbours and probes learn from the training split
    split: Literal["validation", "test"] = "test"
    # labels per class that probes learn from; by default 10, 100, 1000 and all, as far as there are so many
    label_counts: tuple[int | Literal["all"], ...] | None = None
    # draws of labelled examples, over which the intervals are
    seeds: int = 5


def main(arguments: list[str]) -> int:
    """Judges the codes of a run, and keeps what is found for its report."""
    what = "Codes as a reduction of dimension and as features, beside PCA and raw inputs."
    command: CodesCommand = parse(CodesCommand, arguments, "aeflax codes", what)
    run = open_run(command)

    from aeflax.report import codes

    found = run.judge.codes(command.split, label_counts=command.label_counts, seeds=command.seeds)
    tables = [codes.quality_table(found["codes"])]
    if "transfer" in found:
        tables.append(codes.transfer_table(found["transfer"]))
    show(command, run, found, tables)
    return 0
