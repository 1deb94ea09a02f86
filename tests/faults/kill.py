"""kill -9, again and again, until the run is done."""

import random
import signal
import time
from pathlib import Path

from faults import harness, runs
from faults.harness import Fault, Outcome

TARGETS = ("computing", "saving", "evaluating", "restoring")
KILLS = 10  # of one run


def attempt(seed: int, where: Path) -> list[Outcome]:
    """Kills one run at seeded moments and resumes it each time."""
    variant, placement = runs.CASES[seed % len(runs.CASES)]
    chance, hit, trouble = random.Random(seed), [], ""
    wanted = runs.undisturbed(variant, placement)
    for kill in range(KILLS + 1):
        command = harness.start(*runs.words(variant, placement), "--resume", cwd=where, devices=runs.devices(placement))
        target, times = chance.choice(TARGETS if kill else TARGETS[:3]), chance.randint(1, 3)
        if kill < KILLS and command.reached(target, 1 if target == "restoring" else times):
            time.sleep(chance.uniform(0, 0.04))
            command.send(signal.SIGKILL)
        code = command.ended()
        try:
            found = harness.digests(where / "run")
        except AssertionError as error:
            trouble = str(error)
            break
        if code != -signal.SIGKILL:
            trouble = harness.wrong(command, 0)
            break
        hit.append(_phase(command, where / "run"))
        if wrong := harness.differing(found, wanted):
            trouble = f"after {len(hit)} kills other digests than without: {wrong[:3]}"
            break
    if not trouble and (missing := wanted.keys() - found.keys()):
        trouble = f"digests are missing: {sorted(missing)[:3]}"
    if not trouble and (left := [entry.name for entry in (where / "run").rglob("*tmp*")]):
        trouble = f"left behind: {left}"
    case = f"{variant}, {placement}, seed {seed}"
    return [Outcome(case, phase, not trouble, trouble) for phase in hit] or [
        Outcome(case, "none", False, trouble or "no kill landed")
    ]


def _phase(command: harness.Command, run_directory: Path) -> str:
    """What a killed command was doing."""
    if any((run_directory / "checkpoints").glob("*.orbax-checkpoint-tmp*")):
        return "saving"
    last = command.phase
    begun = "computing" in command.heard() or (run_directory / "digests.jsonl").exists()
    if not begun:
        return "before the first step"
    return {"between": "computing", "saving": "computing", "hearing": "starting", "importing": "starting"}.get(
        last, last
    )


FAULTS = [
    Fault(
        "kill",
        "kill -9, ten times in one run",
        "`--resume` ends with equal digests of every batch and state; what a save left behind is removed",
        attempt,
        short=1,
        long=len(runs.CASES),
    )
]
