"""Data that are damaged or vanish while they are streamed, and the processes that read them.

What is streamed is read again in every epoch, so that damage comes to light in the next one at the latest. An
ArrayRecord and a PNG have checksums. A raw NPY file has none: a flip among its values is seen by nobody while they are
streamed, and is not tried here; what tells of it later is the fingerprint, as far as its sample goes. A flip in its
header is found when the file is opened. A file that is deleted or replaced while a process has it open goes on to be
read as it was.
"""

import contextlib
import os
import random
import shutil
from pathlib import Path

import numpy as np
from faults import harness, readahead, streamed
from faults.harness import Fault, Outcome

CHANGES = ("truncated", "deleted", "garbage", "flipped")


def _victims(kind: str, where: Path, chance: random.Random) -> list[Path]:
    if kind == "npy":
        return [where / "given" / "values.npy"]
    found = sorted((where / "given").rglob("*.png" if kind == "images" else "*.array_record*"))
    return chance.sample(found, min(len(found), chance.choice((1, 5))))


def _change(path: Path, change: str, chance: random.Random) -> None:
    """In place, as a failing disk or a careless copy does."""
    size = path.stat().st_size
    if change == "deleted":
        path.unlink()
    elif change == "truncated":
        os.truncate(path, chance.choice((0, size // 10, size // 3)))
    elif change == "garbage":
        with path.open("r+b") as file:
            file.write(chance.randbytes(size))
    else:
        with path.open("r+b") as file:
            # Of an ArrayRecord in its middle: around the records lies padding, which no reader looks at.
            at = chance.randrange(size // 4, size // 2) if "array_record" in path.name else chance.randrange(size)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << chance.randrange(8)]))


def streaming(kind: str, change: str, workers: int, seed: int, where: Path) -> Outcome:
    """Damages the data while a run reads them."""
    chance = random.Random(seed)
    shutil.copytree(streamed.whole(kind), where / "given")
    command = harness.start(*streamed.words(kind, workers), cwd=where, environment=streamed.environment(where))
    reached = command.reached("computing", chance.randint(8, 25))
    for path in _victims(kind, where, chance):
        _change(path, change, chance)
    named = {"npy": "values.npy", "images": ".png", "tfds": "tfds:given_set"}[kind]
    # What is open is read on: the only file of an NPY, the shards of an ArrayRecord.
    trouble = streamed.wrong_end(command, where, kind, named, may_end=change == "deleted" and kind != "images")
    if not reached:
        trouble = trouble or "the run had ended before"
    return Outcome(f"{kind}, {change}, {workers} workers, seed {seed}", f"{kind}, {change}", not trouble, trouble)


def opening(seed: int, where: Path) -> Outcome:
    """One bit of the header of an NPY file flips before a run resumes."""
    chance = random.Random(seed)
    shutil.copytree(streamed.whole("npy"), where / "given")
    path, words = where / "given" / "values.npy", streamed.words("npy", 0)
    first = harness.run(*words, "--train.steps", "50", "--train.eval-every", "50", cwd=where)
    trouble = harness.wrong(first, 0)
    original = path.read_bytes()
    for _ in range(3):
        at, bit = chance.randrange(128), chance.randrange(8)
        path.write_bytes(original[:at] + bytes([original[at] ^ 1 << bit]) + original[at + 1 :])
        resumed = harness.run(*words, "--train.eval-every", "50", "--resume", cwd=where)
        same = _means_the_same(path, original)
        # Other values or another order would be another data set, which the fingerprint tells: exit 2.
        codes = (0,) if same else (2, 5)
        if not trouble and resumed.process.returncode not in codes:
            trouble = f"byte {at}, bit {bit}: exit {resumed.process.returncode}, not {codes}: {resumed.err[-300:]}"
        if not trouble and "Traceback" in resumed.err:
            trouble = f"a traceback: {resumed.err[-300:]}"
        if same:
            break
        trouble = trouble or harness.wrong(harness.run("verify", "run", cwd=where), 0)
    path.write_bytes(original)
    trouble = trouble or harness.wrong(harness.run(*words, "--train.eval-every", "50", "--resume", cwd=where), 0)
    wrong = harness.differing(harness.digests(where / "run"), streamed.undisturbed("npy"))
    if not trouble and wrong:
        trouble = f"other digests than undisturbed: {wrong[:3]}"
    return Outcome(f"npy header, seed {seed}", "npy, header flipped", not trouble, trouble)


def _means_the_same(path: Path, original: bytes) -> bool:
    """Whether NumPy reads the same array from a flipped header, as where a blank became another blank."""
    with contextlib.suppress(Exception):
        found = np.load(path)
        return (
            found.dtype == np.uint8 and found.tobytes() == original[128:] and found.shape == (streamed.EXAMPLES, 32, 32)
        )
    return False


CASES = [
    *(
        (kind, change)
        for kind in streamed.SOURCES
        for change in CHANGES
        if (kind, change) not in {("npy", "flipped"), ("npy", "garbage")}
    ),
    *(("npy", "header"), ("worker", "killed"), ("worker", "stopped"), ("shm", "small"), ("shm", "filled")),
]
ORDER = [2, 10, 11, *(place for place in range(len(CASES)) if place not in (2, 10, 11))]


def attempt(seed: int, where: Path) -> list[Outcome]:
    """One disturbance."""
    kind, change = CASES[ORDER[seed % len(CASES)]]
    match kind:
        case "worker":
            return [readahead.disturbed(change, seed, where)]
        case "shm":
            return [readahead.shared_memory(change, seed, where)]
        case _ if change == "header":
            return [opening(seed, where)]
        case _:
            return [streaming(kind, change, seed // len(CASES) % 2, seed, where)]


FAULTS = [
    Fault(
        "data",
        "data truncated, deleted, overwritten or flipped while they are streamed; a reading process killed or stopped; "
        "/dev/shm full",
        "exit 5 within 30 s that names the file, the state saved; --resume with whole data ends with equal digests",
        attempt,
        short=1,
        long=45,
    ),
]
