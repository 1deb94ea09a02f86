"""`aeflax trust`: whether a small reconstruction error of a kept run means anything."""

from dataclasses import dataclass

from aeflax import runs
from aeflax.cli import answer
from aeflax.cli.parsing import console, parse, say
from aeflax.cli.use import RunCommand


@dataclass(frozen=True, kw_only=True)
class TrustCommand(RunCommand):
    """Arguments of `aeflax trust`."""


def main(arguments: list[str]) -> int:
    """Judges whether a run copies its input and whether it overfits, and keeps that for its report."""
    what = "Does the model reconstruct noise as well as data? Does it overfit?"
    command: TrustCommand = parse(TrustCommand, arguments, "aeflax trust", what)
    runs.read_manifest(command.run)

    from aeflax import api
    from aeflax.cli.progress import grid
    from aeflax.report.trust import sentences, table

    run = api.load(command.run, step=command.step)
    values = run.judge.trust()
    screen = console(stderr=command.json)
    screen.print(grid(table(values), f"{command.run}, step {run.step:,}"))
    for sentence in sentences(values):
        say(screen, sentence)
    if command.json:
        answer.give({"step": run.step, **values})
    return 0
