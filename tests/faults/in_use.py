"""Two commands in one run directory."""

import random
import signal
import socket
import time
from pathlib import Path

from faults import harness, quick
from faults.harness import Fault, Outcome

# Long enough for the second to come while the first trains.
LONG = ("--train.steps", "8000", "--train.checkpoint-every", "500")


def two(seed: int, where: Path) -> list[Outcome]:
    """Two commands at once, or one shortly after the other; every third time the first one is killed."""
    chance, words = random.Random(seed), (*quick.TRAIN, "run", *LONG, "--resume")
    kind = ("at once", "shortly after", "the first is killed")[seed % 3]
    first = harness.start(*words, cwd=where)
    if kind != "at once":
        first.reached("computing" if kind == "the first is killed" else "hearing")
        time.sleep(chance.uniform(0, 0.5))
    if kind == "the first is killed":
        first.send(signal.SIGKILL)
        first.ended()
        trouble = "" if first.process.pid == holder(where / "run") else "its lock does not name it"
        return harness.outcomes(f"seed {seed}", kind, trouble or quick.whole(words, where))
    second = harness.start(*words, cwd=where)
    for command in (first, second):
        command.ended()
    winner, loser = sorted((first, second), key=lambda command: command.process.returncode)
    told = f"run is in use by process {winner.process.pid} on {socket.gethostname()}"
    trouble = harness.wrong(winner, 0) or harness.wrong(loser, 6, told)
    return harness.outcomes(f"seed {seed}", kind, trouble or harness.wrong(harness.run("verify", "run", cwd=where), 0))


def holder(run_directory: Path) -> int:
    """The process that the lock names."""
    return int((run_directory / "run.lock").read_text().split()[1])


FAULTS = [
    Fault(
        "two",
        "two commands in one run directory",
        "one trains to the end, the other says who holds it and exits with 6; the lock of a dead process is taken over",
        two,
        short=1,
        long=12,
    ),
]
