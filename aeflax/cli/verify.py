"""`aeflax verify`: whether a kept run is still what was written."""

from dataclasses import dataclass

from aeflax.cli import answer
from aeflax.cli.kept import RunPath
from aeflax.cli.parsing import console, parse, say
from aeflax.errors import CheckpointError
from aeflax.rundir import audit


@dataclass(frozen=True, kw_only=True)
class VerifyCommand:
    """Arguments of `aeflax verify`."""

    # a run directory, or the folder of an export
    run: RunPath
    # print one JSON object; the table goes to standard error
    json: bool = False


def main(arguments: list[str]) -> int:
    """Checks every digest of a run; exit code 4 where one does not hold."""
    what = "Checks the digest of every file of a run's checkpoints, of its own files and of exports. Changes nothing."
    command: VerifyCommand = parse(VerifyCommand, arguments, "aeflax verify", what)
    found = audit.verify(command.run)

    from rich.table import Table

    drawn = Table(title=str(command.run), title_justify="left")
    drawn.add_column("part", no_wrap=True)
    drawn.add_column("state", overflow="fold")
    shipped = list(found.files) == [str(command.run)]  # the folder of an export, which is no run
    newest = max(found.checkpoints, default=None)
    for name, faults in found.files.items():
        step = found.exported.get(name)
        old = f", of step {step:,}; the run is at {newest:,}" if step is not None and newest not in (None, step) else ""
        drawn.add_row(name, "; ".join(faults) or f"sound{old}")
    for step, faults in found.checkpoints.items():
        drawn.add_row(f"checkpoint {step}", "; ".join(faults) or "sound")
    incomplete = "not complete; the next --resume removes it"
    for name in found.unfinished:
        drawn.add_row(name, incomplete if found.holder is None else f"being written: in use by {found.holder}")
    told = "Logs, kept examples, figures and the report have no digests."
    if found.holder is not None:
        told = f"In use by {found.holder}: more may come."
    elif shipped:
        told = ""
    elif not found.checkpoints and found.sound:
        told = "There is no checkpoint yet: --resume starts at step 0."
    screen = console(stderr=command.json)
    screen.print(drawn, markup=False)
    if told:
        say(screen, told)
    if not found.sound:
        at = found.resumes_at
        then = "nothing can go on from it" if at is None else f"--resume goes on from step {at}"
        if shipped:
            then = "use another copy"
        said = f"{command.run} is not sound, as the table says; {then}"
        raise CheckpointError(said).telling(**found.entry())
    if command.json:
        answer.give(found.entry())
    return 0
