"""Two processes that train together, one of which is killed, stopped or told to end."""

import random
import signal
import socket
import time
from pathlib import Path

from faults import harness, runs
from faults.harness import Command, Fault, Outcome

WITHIN = 60  # seconds in which the other must have ended
PLACEMENTS = {"pmap": ("--train.placement", "pmap"), "mesh": ("--train.placement", "mesh", "--train.fsdp", "2")}


def lost(seed: int, where: Path) -> list[Outcome]:
    """Kills or freezes one of two, wherever it is; then both are started again."""
    chance = random.Random(seed)
    number = (signal.SIGKILL, signal.SIGSTOP)[seed % 2]
    victim, placement = seed // 2 % 2, list(PLACEMENTS)[seed // 4 % 2]
    phase = ("computing", "saving", "evaluating")[seed % 3]
    pair = _start(where, placement)
    reached = pair[victim].reached(phase, chance.randint(1, 4))
    time.sleep(chance.uniform(0, 0.05))
    pair[victim].send(number)
    began = time.monotonic()
    code = pair[1 - victim].ended(WITHIN)
    took = time.monotonic() - began
    pair[victim].send(signal.SIGKILL)
    pair[victim].ended()
    trouble = "" if reached else f"{phase} was never reached"
    if not trouble and code not in (75, -signal.SIGABRT):
        trouble = f"the other ended with {code} after {took:.0f} s: {pair[1 - victim].err[-300:]}"
    if not trouble and "most recent call first" not in pair[1 - victim].err:
        trouble = f"no stack was dumped: {pair[1 - victim].err[-300:]}"
    case = (
        f"{number.name} to process {victim}, {placement}, seed {seed}: the other ended with {code} after {took:.0f} s"
    )
    return harness.outcomes(case, phase, trouble or _goes_on(where, placement))


def told(seed: int, where: Path) -> list[Outcome]:
    """SIGTERM to one of two."""
    chance, placement = random.Random(seed), list(PLACEMENTS)[seed % 2]
    phase = ("computing", "saving", "evaluating", "compiling")[seed % 4]
    pair = _start(where, placement)
    reached = pair[seed % 2].reached(phase, 1 if phase == "compiling" else chance.randint(1, 4))
    pair[seed % 2].send(signal.SIGTERM)
    codes = [one.ended() for one in pair]
    trouble = "" if reached else f"{phase} was never reached"
    if not trouble and codes != [75, 75]:
        trouble = f"they ended with {codes}: {pair[0].err[-200:]} {pair[1].err[-200:]}"
    said = {one.err.split("stopped at step ")[-1].split()[0] for one in pair}
    if not trouble and len(said) != 1:
        trouble = f"they stopped at different steps: {said}"
    return harness.outcomes(f"{placement}, seed {seed}", phase, trouble or _goes_on(where, placement))


def _start(where: Path, placement: str) -> list[Command]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    words = ["train", "vanilla", *runs.SHORT, *PLACEMENTS[placement], "--run-dir", "run", "--no-report", "--resume"]
    job = ("--coordinator", address, "--num-processes", 2, "--process-id")
    return [harness.start(*words, *job, number, cwd=where) for number in range(2)]


def _goes_on(where: Path, placement: str) -> str:
    """What is wrong with the run when both are started again."""
    pair = _start(where, placement)
    for one in pair:
        one.ended()
    trouble = next(filter(None, (harness.wrong(one, 0) for one in pair)), "")
    try:
        found = harness.digests(where / "run")
    except AssertionError as error:
        return trouble or str(error)
    wanted = runs.undisturbed("vanilla", {"pmap": "pmap on 2", "mesh": "mesh on 2"}[placement])
    batches = {key: digest for key, digest in found.items() if key[1] == "batch"}
    if not trouble and (wrong := harness.differing(batches, wanted)):
        trouble = f"other batches than one process with two devices saw: {wrong[:3]}"
    return trouble or harness.wrong(harness.run("verify", "run", cwd=where), 0)


FAULTS = [
    Fault(
        "lost-peer",
        "one of two processes is killed or stops",
        "the other ends within 60 s and dumps its stack; started again, both go on from the last checkpoint",
        lost,
        short=0,  # tests/test_hosts.py has the same once
        long=24,
    ),
    Fault(
        "signal-to-one",
        "SIGTERM to one of two processes",
        "both save the same step and exit 75; started again, both go on",
        told,
        short=0,  # tests/test_hosts.py has the same once
        long=16,
    ),
]
