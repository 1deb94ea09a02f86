"""SIGTERM, SIGINT, SIGHUP and SIGUSR1 at whatever the command does."""

import random
import signal
import time
from pathlib import Path

from faults import harness, runs
from faults.harness import Fault, Outcome

from aeflax.errors import SIGNALS

PHASES = ("compiling", "restoring", "computing", "saving", "evaluating", "hearing")


def once(seed: int, where: Path) -> list[Outcome]:
    """One signal; the run is then resumed to its end."""
    phase, number = PHASES[seed % len(PHASES)], SIGNALS[seed // len(PHASES) % len(SIGNALS)]
    variant, placement = runs.CASES[seed % len(runs.CASES)]
    chance, options = random.Random(seed), {"cwd": where, "devices": runs.devices(placement)}
    words = runs.words(variant, placement)
    if phase == "restoring":
        first = harness.start(*words, **options)
        first.reached("saving", 3)
        first.send(signal.SIGTERM)
        first.ended()
    command = harness.start(*words, "--resume", **options)
    reached = command.reached(phase, chance.randint(1, 3) if phase in ("computing", "saving", "evaluating") else 1)
    time.sleep(chance.uniform(0, 0.5 if phase == "hearing" else 0.03))
    command.send(number)
    command.ended()
    trouble = "" if reached else f"{phase} was never reached"
    trouble = trouble or harness.wrong(command, 75, "--resume")
    if not trouble:
        done = harness.run(*words, "--resume", **options)
        trouble = harness.wrong(done, 0)
    if not trouble and harness.digests(where / "run") != runs.undisturbed(variant, placement):
        trouble = "other digests than without the signal"
    name = "starting" if phase == "hearing" else phase
    return harness.outcomes(f"{number.name}, {variant}, {placement}, seed {seed}", name, trouble)


def twice(seed: int, where: Path) -> list[Outcome]:
    """SIGINT twice: the second one does not wait for anything, and nothing that was saved is lost."""
    phase = ("compiling", "computing", "evaluating")[seed % 3]
    variant, placement = "conv", "one device"
    words = runs.words(variant, placement)
    command = harness.start(*words, cwd=where, environment={"AEFLAX_COMPILATION_CACHE": "off"})
    command.reached(phase, 1 if phase == "compiling" else 2)
    command.send(signal.SIGINT)
    time.sleep(0.01)
    command.send(signal.SIGINT)
    began = time.monotonic()
    code = command.ended()
    took = time.monotonic() - began
    # The first may have been answered before the second came.
    trouble = (
        ""
        if code in (130, 75, -signal.SIGINT) and took < 15
        else f"exit {code} after {took:.1f} s: {command.err[-300:]}"
    )
    if not trouble:
        done = harness.run(*words, "--resume", cwd=where)
        trouble = harness.wrong(done, 0)
    if not trouble and harness.digests(where / "run") != runs.undisturbed(variant, placement):
        trouble = "other digests than without the signals"
    return harness.outcomes(f"seed {seed}", phase, trouble)


FAULTS = [
    Fault(
        "signal",
        "SIGTERM, SIGINT or a lost terminal",
        "saved, exit 75; `--resume` ends with equal digests",
        once,
        short=0,  # tests/test_cli.py has SIGTERM and SIGINT
        long=72,
    ),
    Fault("second-sigint", "SIGINT twice", "ends at once; nothing that was saved is lost", twice, short=1, long=9),
]
