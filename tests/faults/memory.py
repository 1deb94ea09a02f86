"""Memory that is not there: a limit of the address space, and a batch that is too large."""

import random
from pathlib import Path

from faults import harness
from faults.harness import Fault, Outcome


def attempt(seed: int, where: Path) -> list[Outcome]:
    """Trains with a batch whose activations do not fit."""
    chance = random.Random(seed)
    limit = chance.choice((2, 3, 4)) * 2**30
    batch = chance.choice((30_000, 60_000))
    words = ("--data.source", f"synthetic:28x28x1:{batch * 5 // 4}", "--data.batch-size", batch, "--train.steps", 3)
    wide = ("--model.backbone.widths", 4096, 4096)
    cramped = ("sh", "-c", f'ulimit -v {limit >> 10}; exec "$@"', "sh")
    done = harness.run("train", "vanilla", *words, *wide, "--run-dir", "run", cwd=where, prefix=cramped)
    said = (f"data.batch_size={batch}", "train.accumulate", "train.rematerialize")
    trouble = harness.wrong(done, 2, "out of memory", *said)
    if not trouble and len(done.err.strip().splitlines()) > 4:  # devices, parts, data, and one message
        trouble = f"more than one message: {done.err[-300:]}"
    held = where / "run" / "checkpoints"
    if not trouble and held.is_dir() and any(held.iterdir()):
        trouble = f"left behind: {list(held.iterdir())}"
    return harness.outcomes(f"batch {batch:,} in {limit >> 30} GiB, seed {seed}", "", trouble)


FAULTS = [
    Fault(
        "memory",
        "the address space is limited, the batch too large",
        "one message that names batch size, accumulation and rematerialisation; no half-written state",
        attempt,
        short=1,
        long=10,
    )
]
