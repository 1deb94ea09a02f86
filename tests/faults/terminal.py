"""Terminals, streams and homes that are not there."""

import contextlib
import os
import pty
import random
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from faults import disk, harness, quick
from faults.harness import Command, Fault, Outcome

Surroundings = Callable[[Path, random.Random], Command]  # runs the command in them
FIRST = ("importing", "hearing", "compiling", "computing", "evaluating")  # when what it talks to goes away


def left(stream: str) -> Surroundings:
    """A reader that closes a stream (or both: stdout and stderr) while the command works."""

    def run(where: Path, chance: random.Random) -> Command:
        reading, writing = os.pipe()
        streams = dict.fromkeys(stream.split(), writing)
        command = harness.start(*quick.TRAIN, "run", "--json", cwd=where, **streams)
        os.close(writing)
        command.reached(chance.choice(FIRST))
        os.close(reading)
        command.ended()
        return command

    return run


def closed(*numbers: int) -> Surroundings:
    """File descriptors that are closed from the start."""
    closing = " ".join(f"{number}>&-" for number in numbers)
    prefix = ("sh", "-c", f'exec "$@" {closing}', "sh")
    return lambda where, _: harness.run(*quick.TRAIN, "run", "--json", cwd=where, prefix=prefix)


def terminal(rows: int, columns: int, *, goes: bool = False) -> Surroundings:
    """A terminal of a size, which may go away without a word."""

    def run(where: Path, chance: random.Random) -> Command:
        ours, theirs = pty.openpty()
        subprocess.run(["stty", "rows", str(rows), "cols", str(columns)], stdin=theirs, check=True)
        command = harness.start(
            *quick.TRAIN, "run", cwd=where, stdout=theirs, stderr=theirs, environment={"TERM": "xterm"}
        )
        os.close(theirs)
        reader = threading.Thread(target=drain, args=(ours,))
        if goes:
            command.reached(chance.choice(FIRST))
            os.close(ours)
            command.ended()
        else:
            reader.start()
            command.ended()
            reader.join()
            os.close(ours)
        return command

    return run


def drain(number: int) -> None:
    """Reads until there is nobody who writes."""
    with contextlib.suppress(OSError):
        while os.read(number, 4096):
            pass


def without(*names: str, **given: str) -> Surroundings:
    """An environment that lacks some variables and has others; `{}` in a value is the folder."""

    def run(where: Path, _: random.Random) -> Command:
        prefix = ["env", *(word for name in names for word in ("-u", name))]
        environment = {name: value.replace("{}", str(where)) for name, value in given.items()}
        return harness.run(*quick.TRAIN, "run", cwd=where, prefix=prefix, environment=environment)

    return run


def read_only_home(where: Path, _: random.Random) -> Command:
    with disk.read_only_disk(where / "disk"):
        return without("XDG_CACHE_HOME", HOME="{}/disk")(where, _)


def ascii_locale(where: Path, _: random.Random) -> Command:
    (where / "Läufe").mkdir()
    (where / "run").symlink_to("Läufe")
    return harness.run(*quick.TRAIN, "Läufe", cwd=where, environment={"LC_ALL": "C"})


TERMINALS: dict[str, Surroundings] = {
    "standard output is left by its reader": left("stdout"),
    "standard error is closed": closed(2),
    "no home": without("HOME", "XDG_CACHE_HOME", "TERM"),
    "standard output and error are closed": closed(1, 2),
    "standard error is left by its reader": left("stderr"),
    "both are left by their reader": left("stdout stderr"),
    "standard output is closed": closed(1),
    "all streams are closed": closed(0, 1, 2),
    "no terminal": without("TERM", "COLUMNS", "LINES"),
    "a dumb terminal": without(TERM="dumb", NO_COLOR="1"),
    "a terminal that goes away": terminal(24, 80, goes=True),
    "a terminal of one column": terminal(1, 1),
    "a wide terminal": terminal(50, 300),
    "a home that is not there": without("XDG_CACHE_HOME", HOME="{}/not/there"),
    "a home that is a file": without("XDG_CACHE_HOME", HOME="/dev/null"),
    "a home that cannot be written": read_only_home,
    "no bytecode is written": without(PYTHONDONTWRITEBYTECODE="1"),
    "letters that are not ASCII, in the locale C": ascii_locale,
    "ASCII alone": without(PYTHONIOENCODING="ascii"),
    "no folder for temporary files": without(TMPDIR="{}/not/there"),
    "a matplotlib that cannot keep its fonts": without(MPLCONFIGDIR="/dev/null/x"),
    "an environment that is nearly empty": without(*sorted({*os.environ} - {"PATH"})),
    "a console of no columns": without(COLUMNS="0", LINES="0"),
}


def streams(seed: int, where: Path) -> list[Outcome]:
    """A run in such surroundings: it ends with the values that it has in others."""
    case = list(TERMINALS)[seed % len(TERMINALS)]
    command = TERMINALS[case](where, random.Random(seed))
    command.out, command.err = command.out or "", command.err or ""
    trouble = harness.wrong(command, 0)
    if not trouble and "bug of ours" in command.err:
        trouble = command.err[-300:]
    trouble = trouble or harness.wrong(harness.run("verify", "run", cwd=where), 0)
    if not trouble and harness.last_digest(where / "run") != harness.last_digest(quick.kept() / "run"):
        trouble = "another final state"
    return harness.outcomes(f"{case}, seed {seed}", "", trouble)


FAULTS = [
    Fault(
        "terminal",
        "streams closed or left by their reader, no terminal, no home, another locale",
        "trains to its end, with the same final state",
        streams,
        short=2,
        long=24,
    ),
]
