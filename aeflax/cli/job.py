"""How a command becomes one process of several, and how it leaves them. Standard library only, until it joins."""

import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from aeflax.cli import answer, streams
from aeflax.errors import ConfigError

PATIENCE = 10  # seconds that a process which is done waits for the others


@dataclass(frozen=True, kw_only=True)
class Job:
    """Options of a command that several processes run together."""

    # train together with the processes that SLURM, Open MPI, Kubernetes or a TPU pod started like this one
    distributed: bool = False
    # HOST:PORT at which process 0 listens for the others, in place of --distributed
    coordinator: str | None = None
    # number of this process, from 0; with --coordinator
    process_id: int | None = None
    # how many there are in all; with --coordinator
    num_processes: int | None = None
    # seconds to wait until all processes have come
    start_timeout: int = 300

    @property
    def several(self) -> bool:
        """Whether this process is to be one of several."""
        return self.distributed or self.coordinator is not None

    def require(self, run_dir: Path | None) -> None:
        """Raises ConfigError where the options do not say who trains together, or where to keep the run."""
        if faults := self._faults(run_dir):
            raise ConfigError("; ".join(faults))

    def join(self, *, json: bool = False) -> None:
        """Waits until all processes have come. Raises ConfigError where this one cannot join them.

        Where the others do not come in time, the process ends, and with `json` says so on standard output, too.
        """
        from aeflax import hosts

        _keep_standard_output_for_results()

        def give_up(said: str) -> None:
            print(f"aeflax: {said}", file=sys.stderr, flush=True)  # noqa: T201
            if json and self.process_id == 0:
                print(answer.failed(ConfigError.exit_code, said), flush=True)  # noqa: T201

        given = self.coordinator, self.process_id, self.num_processes
        hosts.start(*given, timeout=self.start_timeout, give_up=give_up)

    def _faults(self, run_dir: Path | None) -> list[str]:
        named = {
            "--coordinator": self.coordinator,
            "--process-id": self.process_id,
            "--num-processes": self.num_processes,
        }
        given = [name for name, value in named.items() if value is not None]
        if self.distributed and given:
            return [f"--distributed finds the other processes by itself; leave out {' and '.join(given)}"]
        if given and len(given) < len(named):
            missing = " and ".join(name for name in named if name not in given)
            return [f"--coordinator, --process-id and --num-processes go together; add {missing}"]
        faults = []
        if self.coordinator is not None and not _is_address(self.coordinator):
            faults.append(f"--coordinator {self.coordinator} has the form HOST:PORT, e.g. 10.0.0.1:9800")
        if self.num_processes is not None and self.num_processes < 1:
            faults.append(f"--num-processes must be at least 1, got {self.num_processes}")
        elif self.process_id is not None and not 0 <= self.process_id < (self.num_processes or 1):
            faults.append(f"--process-id must lie in 0 to {(self.num_processes or 1) - 1}, got {self.process_id}")
        if self.start_timeout < 1:
            faults.append(f"--start-timeout must be at least 1 second, got {self.start_timeout}")
        if self.several and run_dir is None:
            faults.append("several processes need --run-dir, a directory that all of them share")
        return faults


def peer_is_lost(error: BaseException) -> bool:
    """Whether an error means that another process is gone."""
    hosts = sys.modules.get("aeflax.hosts")
    return hosts is not None and hosts.joined() and hosts.lost(error)


def met_by_all(error: BaseException) -> bool:
    """Whether the others of a job end with this error, too."""
    hosts = sys.modules.get("aeflax.hosts")
    return hosts is not None and hosts.met_by_all(error)


def speaks() -> bool:
    """Whether this is the process of a job that prints results."""
    hosts = sys.modules.get("aeflax.hosts")
    return hosts is None or not hosts.joined() or hosts.primary()


def leave(code: int, *, alike: bool) -> None:
    """Ends this process's part of what several do together.

    Args:
      code: its exit code.
      alike: whether the others end like this one, and are waited for, so that no one misses the other. Without, it ends
        at once: they would wait for this one, and it for them.
    """
    hosts = sys.modules.get("aeflax.hosts")
    if hosts is None or not hosts.joined():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    if not alike:
        os._exit(code)
    watchdog = threading.Timer(PATIENCE, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()
    hosts.finish()
    watchdog.cancel()


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and port.isascii() and 0 < int(port) < 2**16


def _keep_standard_output_for_results() -> None:
    """Lets what libraries print (gloo names its connections) go to standard error, as all but results do."""
    sys.stdout.flush()
    results = streams.Results(open(os.dup(1), "wb"), sys.stdout.encoding)  # noqa: SIM115 - until the process ends
    os.dup2(2, 1)
    sys.stdout = results
