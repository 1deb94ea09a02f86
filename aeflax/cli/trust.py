"""`aeflax trust`: whether a small reconstruction error of a kept run means anything."""

from dataclasses import dataclass

from aeflax.cli.kept import RunCommand, open_run, show
from aeflax.cli.parsing import parse


@dataclass(frozen=True, kw_only=True)
class TrustCommand(RunCommand):
    """Arguments of `aeflax trust`."""


def main(arguments: list[str]) -> int:
    """Judges whether a run copies its input and whether it overfits, and keeps that for its report."""
    what = "Does the model reconstruct noise as well as data? Does it overfit?"
    command: TrustCommand = parse(TrustCommand, arguments, "aeflax trust", what)
    run = open_run(command)

    from aeflax.report.trust import sentences, table

    values = run.judge.trust()
    show(command, run, values, [table(values)], sentences(values))
    return 0
