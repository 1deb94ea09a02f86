"""A run that is attacked, and the watch over what its attacker could gain."""

import functools
import json
import os
import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from faults import harness

WORDS = (
    *("train", "vae", "--data.validation", "100", "--model.latent-dim", "4", "--train.digest-every", "10"),
    *("--train.checkpoint-every", "10", "--no-report", "--run-dir", "run"),
)
STEPS = 20
MEMORY = 1536 * 2**20  # that a command may take, of which JAX takes about a third
EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7*7}}--><svg/onload=alert(1)>&lt;"
Attacks = Iterator[tuple[str, Callable[[], str]]]  # names, and what each tries and finds wrong


@functools.cache
def kept() -> Path:
    """A finished run, in a folder of its own."""
    folder = harness.lasting_folder()
    done = harness.run(*WORDS, "--train.steps", STEPS, cwd=folder)
    assert not (fault := harness.wrong(done, 0)), fault
    return folder / "run"


class Scene:
    """A folder with the run, and beside it what must stay as it is."""

    def __init__(self, where: Path, chance: random.Random) -> None:
        self.where, self.run, self.chance = where, where / "run", chance
        self.outside, self.marker = where / "outside", where / "marker"
        shutil.copytree(kept(), self.run)
        (self.outside / "folder").mkdir(parents=True)
        (self.outside / "precious").write_text('{"step": 1, "precious": 1}\n{"step": 99}\n')
        (self.outside / "folder" / "12.orbax-checkpoint-tmp-1").mkdir()
        (self.outside / "folder" / "events.out.tfevents.1").write_text("precious")

    def said(self, *words: object, codes: tuple[int, ...]) -> str:
        """Runs a command; what is wrong with how it takes the attack, where it should end with one of the codes."""
        before = self._beside()
        command = harness.start(*words, cwd=self.where)
        stop, peak = threading.Event(), [0]
        watch = threading.Thread(target=_watch, args=(command.process.pid, stop, peak))
        watch.start()
        code = command.ended(90)
        stop.set()
        watch.join()
        sentences = [line for line in command.err.splitlines() if line.startswith("aeflax: ")]
        if self.marker.exists():
            return "it ran what it read"
        if self._beside() != before:
            after = self._beside()
            changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
            return f"it wrote outside of the run directory: {changed[:3]}"
        if "Traceback" in command.err:
            return f"a traceback: {command.err.strip()[-300:]}"
        if code not in codes:
            return f"exit {code}, not {codes}, {peak[0] >> 20} MiB: {command.err.strip()[-300:]}"
        if code and not sentences:
            return f"no sentence: {command.err.strip()[-300:]}"
        return f"{peak[0] >> 20} MiB of memory" if peak[0] > MEMORY else ""

    def _beside(self) -> dict[str, Any]:
        """Everything but the run directory: names, kinds and contents."""
        found = {}
        for path in self.where.rglob("*"):
            name = str(path.relative_to(self.where))
            if name.partition("/")[0] in ("run", "given", "out.npy") or name.startswith(".phases"):
                continue
            found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"
        return found

    def edit(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Changes a JSON file of the run, without the digest that would give it away."""
        content = json.loads((self.run / name).read_text())
        content.pop("sha256", None)
        change(content)
        (self.run / name).write_text(json.dumps(content))

    def given(self, name: str, content: bytes) -> Path:
        """A file of data."""
        path = self.where / "given" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
        return path

    def train(self, source: str, *words: object, codes: tuple[int, ...] = (5,)) -> str:
        """Trains on a source, in a new run directory inside `given`."""
        more = ("--train.steps", 2, "--no-report", "--run-dir", "given/new")
        return self.said("train", "--data.source", source, *more, *words, codes=codes)

    def resume(self, codes: tuple[int, ...] = (0, 2, 4, 5)) -> str:
        """Trains the run for longer."""
        return self.said(*WORDS, "--train.steps", STEPS + 10, "--resume", codes=codes)


def _watch(process: int, stop: threading.Event, peak: list[int]) -> None:
    """Notes the most memory that a process has had, and ends it before it fills the machine."""
    while not stop.wait(0.01):
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            return
        for line in lines:
            if line.startswith("VmHWM:"):
                peak[0] = max(peak[0], 1024 * int(line.split()[1]))
        if peak[0] > 3 * MEMORY:
            os.kill(process, signal.SIGKILL)
