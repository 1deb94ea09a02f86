"""Processes that read ahead for a run: killed, stopped, or without shared memory."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import harness, streamed
from faults.harness import Outcome


def _readers(process: int) -> list[int]:
    """Processes that read ahead for a command."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes()
            if parent == process and b"spawn_main" in words:
                found.append(int(entry.name))
    return found


def disturbed(change: str, seed: int, where: Path) -> Outcome:
    """Kills or stops a process that reads ahead."""
    chance = random.Random(seed)
    kind = chance.choice(("images", "npy"))
    shutil.copytree(streamed.whole(kind), where / "given")
    command = harness.start(*streamed.words(kind, 1), cwd=where, environment=streamed.environment(where))
    reached = command.reached("computing", chance.randint(6, 30))
    found = _readers(command.process.pid)
    for process in found:
        os.kill(process, signal.SIGKILL if change == "killed" else signal.SIGSTOP)
    trouble = streamed.wrong_end(command, where, kind, "a process that reads examples ahead", may_end=True)
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
    shutil.copytree(streamed.whole(kind), where / "given")
    with _own_shared_memory("200k" if change == "small" else "16m") as prefix:
        command = harness.start(
            *streamed.words(kind, 1), cwd=where, environment=streamed.environment(where), prefix=prefix
        )
        reached = command.reached("computing", chance.randint(6, 30))
        if change == "filled":
            own = Path("/proc", str(command.process.pid), "root", "dev", "shm")
            free = os.statvfs(own)
            assert free.f_blocks * free.f_frsize <= 2**24, "this is not the small one"
            # Page after page: the readers take and give back some of it meanwhile.
            with contextlib.suppress(OSError), (own / "hog").open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        trouble = streamed.wrong_end(command, where, kind, "a process that reads examples ahead", may_end=True)
    if not reached:
        trouble = trouble or "the run had ended before"
    return Outcome(f"/dev/shm {change}, seed {seed}", f"/dev/shm {change}", not trouble, trouble)
