"""Data that are damaged or vanish while they are streamed, and the processes that read them.

What is streamed is read again in every epoch, so that damage comes to light in the next one at the latest. An
ArrayRecord and a PNG have checksums. A raw NPY file has none: a flip among its values is seen by nobody while they are
streamed, and is not tried here; what tells of it later is the fingerprint, as far as its sample goes. A flip in its
header is found when the file is opened. A file that is deleted or replaced while a process has it open goes on to be
read as it was.
"""

import atexit
import contextlib
import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from faults import harness
from faults.harness import Fault, Outcome

SECONDS = 30  # from the damage to the exit
EXAMPLES = 400
WORDS = (
    *("--data.resident", "False", "--data.batch-size", "32", "--model.latent-dim", "4", "--train.steps", "600"),
    *("--train.checkpoint-every", "50", "--train.eval-every", "600", "--train.digest-every", "10"),
    *("--train.log-every", "600", "--no-report", "--run-dir", "run"),
)
SOURCES = {"npy": "npy:given/values.npy", "images": "images:given", "tfds": "tfds:given_set"}
PREPARE = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import numpy as np
from data.test_tfds import prepare, tensor
values = np.random.default_rng(0).integers(0, 256, (400, 32, 32, 1)).astype(np.uint8)
prepare(Path(sys.argv[1]), "given_set", {"train": ({"image": value} for value in values)}, image=tensor(32, 32, 1))
"""


@functools.cache
def whole(kind: str) -> Path:
    """The data of a kind, whole, in a folder of their own."""
    folder = Path(tempfile.mkdtemp(prefix="aeflax-given-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    values = np.random.default_rng(0).integers(0, 256, (EXAMPLES, 32, 32), np.uint8)
    if kind == "npy":
        np.save(folder / "values.npy", values)
    if kind == "images":
        from PIL import Image

        for number, value in enumerate(values):
            place = folder / str(number % 2)
            place.mkdir(exist_ok=True)
            Image.fromarray(value).save(place / f"{number}.png")
    if kind == "tfds":
        paths = [str(harness.ROOT / "tests"), str(harness.ROOT)]
        done = subprocess.run([sys.executable, "-c", PREPARE, folder, *paths], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"no data set can be prepared here: {done.stderr.decode()[-300:]}")
    return folder


@functools.cache
def undisturbed(kind: str) -> dict[tuple[int, str], str]:
    """Digests of a run whose data stay whole."""
    with tempfile.TemporaryDirectory(prefix="aeflax-whole-") as name:
        folder = Path(name)
        shutil.copytree(whole(kind), folder / "given")
        done = harness.run(*_words(kind, 0), cwd=folder, environment=_environment(folder))
        assert not (fault := harness.wrong(done, 0)), fault
        return harness.digests(folder / "run")


def _words(kind: str, workers: int) -> list[str]:
    more = ("--data.grey", "True") if kind == "images" else ()
    return ["train", "vae", "--data.source", SOURCES[kind], "--data.workers", str(workers), *more, *WORDS]


def _environment(where: Path) -> dict[str, str]:
    return {"TFDS_DATA_DIR": str(where / "given")}


def _end(command: harness.Command, where: Path, kind: str, said: str, *, may_end: bool) -> str:
    """What is wrong with how a disturbed run ends, and with the run that goes on from it when the data are whole."""
    started = time.monotonic()
    code = command.ended(3 * SECONDS)
    seconds = time.monotonic() - started
    if not (may_end and code == 0):
        trouble = harness.wrong(command, 5, said)
        if not trouble and seconds > SECONDS:
            trouble = f"it took {seconds:.0f} s to end"
        sentences = [line for line in command.err.splitlines() if line.startswith("aeflax: ")]
        if not trouble and len(sentences) != 1:
            trouble = f"not one sentence: {sentences}"
        trouble = trouble or harness.wrong(harness.run("verify", "run", cwd=where), 0)
        if trouble:
            return trouble
        shutil.rmtree(where / "given")
        shutil.copytree(whole(kind), where / "given")
        resumed = harness.run(*_words(kind, 0), "--resume", cwd=where, environment=_environment(where))
        if trouble := harness.wrong(resumed, 0):
            return trouble
    else:
        trouble = harness.wrong(command, 0)
    found, wanted = harness.digests(where / "run"), undisturbed(kind)
    if not trouble and (wrong := harness.differing(found, wanted)):
        trouble = f"other digests than undisturbed: {wrong[:3]}"
    if not trouble and (missing := wanted.keys() - found.keys()):
        trouble = f"digests are missing: {sorted(missing)[:3]}"
    return trouble


# Damage

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
    shutil.copytree(whole(kind), where / "given")
    command = harness.start(*_words(kind, workers), cwd=where, environment=_environment(where))
    reached = command.reached("computing", chance.randint(8, 25))
    for path in _victims(kind, where, chance):
        _change(path, change, chance)
    named = {"npy": "values.npy", "images": ".png", "tfds": "tfds:given_set"}[kind]
    # What is open is read on: the only file of an NPY, the shards of an ArrayRecord.
    trouble = _end(command, where, kind, named, may_end=change == "deleted" and kind != "images")
    if not reached:
        trouble = trouble or "the run had ended before"
    return Outcome(f"{kind}, {change}, {workers} workers, seed {seed}", f"{kind}, {change}", not trouble, trouble)


def opening(seed: int, where: Path) -> Outcome:
    """One bit of the header of an NPY file flips before a run resumes."""
    chance = random.Random(seed)
    shutil.copytree(whole("npy"), where / "given")
    path, words = where / "given" / "values.npy", _words("npy", 0)
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
    wrong = harness.differing(harness.digests(where / "run"), undisturbed("npy"))
    if not trouble and wrong:
        trouble = f"other digests than undisturbed: {wrong[:3]}"
    return Outcome(f"npy header, seed {seed}", "npy, header flipped", not trouble, trouble)


def _means_the_same(path: Path, original: bytes) -> bool:
    """Whether NumPy reads the same array from a flipped header, as where a blank became another blank."""
    with contextlib.suppress(Exception):
        found = np.load(path)
        return found.dtype == np.uint8 and found.tobytes() == original[128:] and found.shape == (EXAMPLES, 32, 32)
    return False


# The processes that read


def _workers(process: int) -> list[int]:
    """Processes that read ahead for a command."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes()
            if parent == process and b"spawn_main" in words:
                found.append(int(entry.name))
    return found


def worker(change: str, seed: int, where: Path) -> Outcome:
    """Kills or stops a process that reads ahead."""
    chance = random.Random(seed)
    kind = chance.choice(("images", "npy"))
    shutil.copytree(whole(kind), where / "given")
    command = harness.start(*_words(kind, 1), cwd=where, environment=_environment(where))
    reached = command.reached("computing", chance.randint(6, 30))
    found = _workers(command.process.pid)
    for process in found:
        os.kill(process, signal.SIGKILL if change == "killed" else signal.SIGSTOP)
    trouble = _end(command, where, kind, "a process that reads examples ahead", may_end=True)
    for process in found:  # one that was stopped and left
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            trouble = trouble or "the process that reads is left behind"
    if not (reached and found):
        trouble = trouble or "there was no process that reads"
    return Outcome(f"{kind}, worker {change}, seed {seed}", f"worker {change}", not trouble, trouble)


@contextlib.contextmanager
def _own_shared_memory(size: str) -> Iterator[tuple[str, ...]]:
    """What comes before a command that has a small /dev/shm of its own; skips where there can be none."""
    mount = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
    prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no file system can be mounted here")
    yield prefix


def shared_memory(change: str, seed: int, where: Path) -> Outcome:
    """Little shared memory from the start, or none any more."""
    chance, kind = random.Random(seed), "images"
    shutil.copytree(whole(kind), where / "given")
    with _own_shared_memory("200k" if change == "small" else "16m") as prefix:
        command = harness.start(*_words(kind, 1), cwd=where, environment=_environment(where), prefix=prefix)
        reached = command.reached("computing", chance.randint(6, 30))
        if change == "filled":
            own = Path(f"/proc/{command.process.pid}/root/dev/shm")
            free = os.statvfs(own)
            assert free.f_blocks * free.f_frsize <= 2**24, "this is not the small one"
            with (own / "hog").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
        trouble = _end(command, where, kind, "a process that reads examples ahead", may_end=True)
    if not reached:
        trouble = trouble or "the run had ended before"
    return Outcome(f"/dev/shm {change}, seed {seed}", f"/dev/shm {change}", not trouble, trouble)


CASES = [
    *(
        (kind, change)
        for kind in SOURCES
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
            return [worker(change, seed, where)]
        case "shm":
            return [shared_memory(change, seed, where)]
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
        short=3,
        long=45,
    )
]
