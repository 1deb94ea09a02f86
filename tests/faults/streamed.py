"""Runs that stream their data, and what they come to when these stay whole."""

import functools
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from faults import harness

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
    folder = harness.lasting_folder()
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
        done = harness.run(*words(kind, 0), cwd=folder, environment=environment(folder))
        assert not (fault := harness.wrong(done, 0)), fault
        return harness.digests(folder / "run")


def words(kind: str, workers: int) -> list[str]:
    """Arguments of `aeflax` that train on the data of a kind, read by so many processes."""
    more = ("--data.grey", "True") if kind == "images" else ()
    return ["train", "vae", "--data.source", SOURCES[kind], "--data.workers", str(workers), *more, *WORDS]


def environment(where: Path) -> dict[str, str]:
    """What tells TFDS where its data are."""
    return {"TFDS_DATA_DIR": str(where / "given")}


def wrong_end(command: harness.Command, where: Path, kind: str, said: str, *, may_end: bool) -> str:
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
        resumed = harness.run(*words(kind, 0), "--resume", cwd=where, environment=environment(where))
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
