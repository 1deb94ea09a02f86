"""A disk that is full, for a while or until the end: a small file system of its own, filled up by another file."""

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import harness, runs
from faults.harness import Fault, Outcome

SIZE = 6 * 2**20


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of SIZE bytes; skips where this user may not mount one."""
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def forbid_writing(disk: Path) -> None:
    """Lets nobody write to a small disk any more, not even root; skips where this user may not."""
    done = subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted read-only here: {done.stderr.decode().strip()}")


@contextlib.contextmanager
def read_only_disk(place: Path) -> Iterator[Path]:
    """A small disk, empty, that nobody can write to."""
    with small_disk(place) as disk:
        forbid_writing(disk)
        yield disk


def fill(disk: Path, left: int) -> Path:
    """Takes all space but so many bytes."""
    hog = disk / "hog"
    with hog.open("wb") as file:
        while (size := os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - left) > 0:
            with contextlib.suppress(OSError):  # the command writes at the same time
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
    return hog


def attempt(seed: int, where: Path) -> list[Outcome]:
    """Fills the disk at a seeded moment; frees it soon, or when the command has given up."""
    chance, soon = random.Random(seed), bool(seed % 2)
    variant = list(runs.VARIANTS)[seed // 2 % len(runs.VARIANTS)]
    words, trouble = runs.words(variant, "one device", "disk/run"), ""
    with small_disk(where / "disk") as disk:
        command = harness.start(*words, cwd=where)
        reached = command.reached("saving", chance.randint(1, 5))
        time.sleep(chance.uniform(0, 0.02))
        hog = fill(disk, chance.choice((0, 5_000, 40_000)))
        if soon:
            time.sleep(1.5)
            hog.unlink()
            command.ended()
            trouble = harness.wrong(command, 0)
        else:
            command.ended()
            trouble = harness.wrong(command, 4, "cannot save step 150", "make room")
            held = list((disk / "run" / "checkpoints").iterdir())
            if not trouble and (partial := [entry.name for entry in held if not entry.name.isdigit()]):
                trouble = f"partial files stay: {partial}"
            hog.unlink()
            if not trouble and held:
                trouble = harness.wrong(harness.run("verify", "disk/run", cwd=where), 0)
            if not trouble:
                trouble = harness.wrong(harness.run(*words, "--resume", cwd=where), 0)
        if not trouble and not reached:
            trouble = "the run ended before the disk was full"
        if not trouble and (
            wrong := harness.differing(harness.digests(disk / "run"), runs.undisturbed(variant, "one device"))
        ):
            trouble = f"other digests than with room: {wrong[:3]}"
        if not trouble:
            trouble = harness.wrong(harness.run("verify", "disk/run", cwd=where), 0)
    return harness.outcomes(f"{variant}, seed {seed}", "freed in time" if soon else "full to the end", trouble)


FAULTS = [
    Fault(
        "disk",
        "the disk is full",
        "the last good checkpoint stays, partial files go, it tries again; exit 4 only if the last state is not saved",
        attempt,
        short=2,
        long=24,
    )
]
