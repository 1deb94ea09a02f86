"""What every fault shares: the installed command as a process, what it does now, and whether a row holds.

A fault is a function from a seed to outcomes. `test_faults.py` tries a few seeds of each; `campaign.py` (`make
test-faults`) tries many and records how often the right behaviour was seen, for docs/reliability.md.
"""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SPY = Path(__file__).parent / "spy"
PATIENCE = 180  # seconds until a process that should have ended counts as hung


@dataclass(frozen=True)
class Outcome:
    """One attempt.

    Attributes:
      case: what was tried.
      phase: what it hit, by which a row is counted; "" where there is one kind alone.
      held: whether the behaviour was right.
      note: what was seen in its place.
    """

    case: str
    phase: str
    held: bool
    note: str = ""


def outcomes(case: str, phase: str, trouble: str) -> list[Outcome]:
    """One, which holds where there is no trouble."""
    return [Outcome(case, phase, not trouble, trouble)]


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Attributes:
      name: of the row, a word.
      fault: what happens to the run.
      right: what it then must do.
      attempt: (seed, empty folder) -> outcomes, one or more.
      short: seeds that `make test` tries.
      long: seeds that `make test-faults` tries.
    """

    name: str
    fault: str
    right: str
    attempt: Callable[[int, Path], Sequence[Outcome]]
    short: int
    long: int


@dataclass
class Command:
    """A running `aeflax`.

    Attributes:
      process: the command itself, not a shell.
      phases: file to which it tells what it does, a word a line: importing, compiling, restoring, computing, saving,
        evaluating, reporting, between.
    """

    process: subprocess.Popen[str]
    phases: Path
    out: str = field(default="")
    err: str = field(default="")

    @property
    def phase(self) -> str:
        """What it does now."""
        return (self.heard() or ["starting"])[-1]

    def heard(self) -> list[str]:
        """All that it has told."""
        return self.phases.read_text().split() if self.phases.exists() else []

    def reached(self, phase: str, times: int = 1) -> bool:
        """Waits until a phase has begun so many times; False if the command ended before."""
        deadline = time.monotonic() + PATIENCE
        while self.heard().count(phase) < times:
            if self.process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                self.process.kill()
                raise TimeoutError(f"{phase} was not reached within {PATIENCE} s: {self.heard()[-5:]}")
            time.sleep(0.0005)
        return True

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def ended(self, patience: float = PATIENCE) -> int:
        """Its exit code; `out` and `err` hold what it said. A command that hangs is killed, and its code is -999."""
        try:
            self.out, self.err = self.process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.out, self.err = self.process.communicate()
            return -999
        return self.process.returncode


def start(
    *words: object,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    devices: int = 1,
    prefix: Sequence[str] = (),
    **popen: Any,
) -> Command:
    """Starts `aeflax WORDS` in a folder, with so many host devices; `prefix` is a command that becomes it."""
    phases = cwd / f".phases-{time.monotonic_ns()}"
    given = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(SPY), str(ROOT)]),
        "FAULTS_PHASES": str(phases),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        **(environment or {}),
    }
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | popen
    process = subprocess.Popen(
        [*prefix, str(Path(sys.executable).parent / "aeflax"), *map(str, words)],
        cwd=cwd,
        env=given,
        text=True,
        **streams,
    )
    return Command(process, phases)


def run(*words: object, cwd: Path, **options: Any) -> Command:
    """Runs `aeflax WORDS` to its end."""
    command = start(*words, cwd=cwd, **options)
    command.ended()
    return command


def wrong(command: Command, code: int, *said: str) -> str:
    """Why a command that ended did not end as it should have: another exit code, a traceback, a word not said."""
    found = command.process.returncode
    if found != code:
        return f"exit {found}, not {code}: {command.err.strip()[-300:]}"
    if "Traceback" in command.err:
        return f"a traceback: {command.err.strip()[-300:]}"
    missing = [word for word in said if word not in command.err + command.out]
    return f"did not say {missing}: {command.err.strip()[-300:]}" if missing else ""


def refusal(command: Command, code: int, *said: str) -> str:
    """Why a command that ended did not refuse with one sentence that says so, and with nothing else."""
    trouble = wrong(command, code, *said)
    lines = command.err.strip().splitlines()
    if not trouble and (len(lines) != 1 or not lines[0].startswith("aeflax: ")):
        trouble = f"not one sentence: {command.err.strip()[-300:]}"
    return trouble or ("" if not command.out else f"on standard output: {command.out[-100:]}")


def lasting_folder() -> Path:
    """A folder of its own that lasts as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="aeflax-kept-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def digests(run_directory: Path) -> dict[tuple[int, str], str]:
    """(step, batch or state) -> digest, as far as a run wrote them. Raises AssertionError where one has two values."""
    path = run_directory / "digests.jsonl"
    found: dict[tuple[int, str], str] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:  # the last one, cut by a kill
            continue
        for kind in record.keys() - {"step"}:
            known = found.setdefault((record["step"], kind), record[kind])
            assert known == record[kind], f"step {record['step']} has two digests of its {kind}"
    return found


def differing(found: Mapping[Any, str], wanted: Mapping[Any, str]) -> list[Any]:
    """Steps whose digests are not as they should be."""
    return [key for key, digest in found.items() if wanted.get(key) != digest]


def last_digest(run_directory: Path) -> str:
    """Digest of the final state that the summary names."""
    digest: str = json.loads((run_directory / "summary.json").read_text())["state_sha256"]
    return digest
