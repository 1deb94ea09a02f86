"""Several processes as one program, on JAX's own runtime. With a single process every function here does nothing.

Every process runs the same command and dispatches the same programs in the same order; whatever is decided from
something that only one of them knows (the clock, a signal, a file) is decided with `agree`, and what only one of them
does, or can fail at, is done with `by_one` and `by_all`: where it fails, it fails on all of them.
"""

import faulthandler
import json
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from aeflax.errors import AeflaxError, ConfigError, reason

T = TypeVar("T")

HEARTBEAT = 10  # seconds of silence after which a process counts as lost
SHUTDOWN = 15  # seconds that a process that is done waits for the others
LINGER = 5  # seconds that process 0 waits longer than those that came after it: without it they would be aborted
SHOWN = 60  # characters of a value that differs
MESSAGE = 2000  # bytes of an error that others are told


def start(
    coordinator: str | None = None,
    process_id: int | None = None,
    num_processes: int | None = None,
    *,
    timeout: int = 300,
    give_up: Callable[[str], None] = lambda said: print(said, file=sys.stderr, flush=True),  # noqa: T201
) -> None:
    """Makes this process one of several. To be called before anything uses a device.

    Args:
      coordinator: HOST:PORT at which process 0 listens, and no other address; None: JAX finds it and the numbers in
        what SLURM, Open MPI, Kubernetes or a TPU pod tell each process.
      process_id: of this one, from 0.
      num_processes: in all.
      timeout: seconds until all have come; then this process ends, with the exit code of a ConfigError.
      give_up: told why before that.

    Raises:
      ConfigError: where process 0 cannot listen, or nothing tells of a cluster.
    """
    if coordinator is not None and process_id == 0:
        _require_free(coordinator)
    where = "" if coordinator is None else f" at {coordinator}"
    number = "this process" if process_id is None else f"process {process_id}"
    others = "the other processes" if num_processes is None else f"all {num_processes} processes"

    def end() -> None:
        # JAX would abort with a stack trace, and what it waits in cannot be interrupted.
        mend = "start all of them, with the same --coordinator and --num-processes and a --process-id of their own"
        give_up(f"{number} waited {timeout} s{where} in vain for {others}; {mend}, or raise --start-timeout")
        os._exit(ConfigError.exit_code)

    watchdog = threading.Timer(timeout + (LINGER if process_id == 0 else 0), end)
    watchdog.daemon = True
    watchdog.start()
    jax.config.update("jax_enable_preemption_service", False)  # signals are heard by the command itself
    faulthandler.enable()  # where JAX aborts because another process is gone, it says what this one was waiting for
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            coordinator_bind_address=coordinator if process_id == 0 else None,
            cluster_detection_method=None if coordinator is None else "deactivate",
            initialization_timeout=timeout + 60,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=SHUTDOWN,
        )
    except Exception as error:
        if coordinator is None:
            raise ConfigError(
                "--distributed finds no cluster: neither SLURM nor Open MPI, Kubernetes or a TPU pod started this "
                f"process ({reason(error)}); use --coordinator HOST:PORT --process-id I --num-processes N"
            ) from error
        raise ConfigError(f"{number} cannot join the others{where}: {reason(error)}; check the address") from error
    finally:
        watchdog.cancel()
    _require_as_many_devices()


def joined() -> bool:
    """Whether this process is one of several, or was started as one."""
    return jax.distributed.is_initialized()


def finish() -> None:
    """Leaves the others, once all have come as far."""
    jax.distributed.shutdown()


def count() -> int:
    """Processes that train together."""
    processes: int = jax.process_count()
    return processes


def primary() -> bool:
    """Whether this process writes what all of them share: logs, reports, the run's manifest."""
    return jax.process_index() == 0


def agree(values: Any) -> np.ndarray:
    """Gathers small values, alike in shape, from all processes -> [processes, ...], the same on each of them."""
    if count() == 1:
        return np.asarray(values)[None]
    gathered: np.ndarray = multihost_utils.process_allgather(np.asarray(values))
    return gathered


def by_all(action: Callable[[], T]) -> T:
    """Runs an action on every process -> its own result; where it fails on one, the first such error is raised on all.

    The action must not use devices of other processes: one that fails would leave the rest waiting.
    """
    if count() == 1:
        return action()
    result, failure = None, None
    try:
        result = action()
    except Exception as error:
        failure = error
    told = agree(_encoded(failure))
    failed = np.flatnonzero(told[:, 0])
    if not len(failed):
        return result  # type: ignore[return-value]
    first = int(failed[0])
    if failure is not None and first == jax.process_index():
        failure.told = True  # type: ignore[attr-defined]
        raise failure
    raise _decoded(told[first]) from failure


def by_one(action: Callable[[], T]) -> T | None:
    """Runs an action on process 0 -> its result there and None elsewhere; the others wait, and raise its error too."""
    return by_all(action if primary() else lambda: None)


def by_first(action: Callable[[], T]) -> T:
    """Runs an action on process 0 -> its result on every process: anything that JSON holds. Errors as `by_one`."""
    return from_first(by_one(action))  # type: ignore[return-value]


def from_first(value: T) -> T:
    """What process 0 has, on every process: anything that JSON holds."""
    if count() == 1:
        return value
    text = json.dumps(value).encode() if primary() else b""
    content = np.zeros(int(agree(len(text))[0]), np.uint8)
    content[: len(text)] = np.frombuffer(text, np.uint8)
    result: T = json.loads(agree(content)[0].tobytes())
    return result


def require_alike(parts: Mapping[str, Any]) -> None:
    """Raises ConfigError where what the processes were given, as JSON holds it, is not the same on all of them."""
    first = from_first(parts)

    def compare() -> None:
        for name, part in parts.items():
            if told := _difference(json.loads(json.dumps(part)), first[name]):
                said = f"process {jax.process_index()} has another {name} than process 0{told}"
                raise ConfigError(f"{said}; start all of them with the same")

    by_all(compare)


def _difference(own: Any, other: Any, path: str = "") -> str:
    """Where two values of JSON differ first, as part of a sentence; nothing where they are equal."""
    if isinstance(own, dict) and isinstance(other, dict) and own.keys() == other.keys():
        steps = (_difference(own[name], other[name], f"{path}.{name}" if path else name) for name in own)
        return next(filter(None, steps), "")
    if repr(own) == repr(other):  # NaN is one value here
        return ""
    where = f" of {path}" if path else ""
    return f" ({_shown(own)} in place of {_shown(other)}{where})"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def met_by_all(error: BaseException) -> bool:
    """Whether all processes raise an error, or what they were told of it."""
    return isinstance(error, AeflaxError) or getattr(error, "told", False)


def fetch(leaf: Any) -> np.ndarray:
    """The whole of an array on this host, also where its parts lie on devices of other processes."""
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        return np.asarray(leaf)
    whole: np.ndarray = multihost_utils.process_allgather(leaf, tiled=True)
    return whole


def lost(error: BaseException) -> bool:
    """Whether an error says that another process is gone, as far as JAX's communication tells."""
    words = ("gloo", "nccl", "connection", "heartbeat", "unavailable", "deadline_exceeded", "another task")
    said = str(error).lower()
    if isinstance(error, jax.errors.JaxRuntimeError) and any(word in said for word in words):
        return True
    if isinstance(error, ValueError) and said.startswith("unknown: gloo"):  # what JAX makes of it in some places
        return True
    return error.__cause__ is not None and lost(error.__cause__)  # Orbax tells it in words of its own


def _require_as_many_devices() -> None:
    """Raises ConfigError, on all of them, where a process has another number of devices than process 0."""
    counts = Counter(device.process_index for device in jax.devices())
    if other := next((process for process in sorted(counts) if counts[process] != counts[0]), None):
        said = f"process {other} has {counts[other]} devices, process 0 has {counts[0]}"
        raise ConfigError(f"{said}; give all of them as many")


def _require_free(address: str) -> None:
    """Raises ConfigError where process 0 cannot listen: JAX's own attempt would end in a crash."""
    host, _, port = address.rpartition(":")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        raise ConfigError(
            f"process 0 cannot listen at --coordinator {address} ({error.strerror or error}); name an address of its "
            "machine and a free port"
        ) from error


def _encoded(failure: Exception | None) -> np.ndarray:
    """An error as bytes: whether there is one, its exit code, its message padded with zeros."""
    told = np.zeros(2 + MESSAGE, np.uint8)
    if failure is not None:
        code = failure.exit_code if isinstance(failure, AeflaxError) else 1
        said = str(failure) if isinstance(failure, AeflaxError) else f"{type(failure).__name__}: {reason(failure)}"
        text = f"{said} (on process {jax.process_index()})".encode()[:MESSAGE]
        told[:2] = 1, code
        told[2 : 2 + len(text)] = np.frombuffer(text, np.uint8)
    return told


def _decoded(told: np.ndarray) -> AeflaxError:
    """The error that another process told of."""
    kinds = {kind.exit_code: kind for kind in AeflaxError.__subclasses__() if "exit_code" in vars(kind)}
    message = told[2:].tobytes().rstrip(b"\0").decode(errors="replace")
    return kinds.get(int(told[1]), AeflaxError)(message)
