"""Who has a run directory: its lock, and what a path must be for a run to be kept there."""

import errno
import fcntl
import itertools
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from aeflax.data.places import KEPT
from aeflax.errors import ConfigError, RunInUseError
from aeflax.rundir import runs
from aeflax.storage import seal
from aeflax.storage.document import write_json
from aeflax.storage.durable import is_leftover, leftover, replacing

LOCK = "run.lock"
PROBE = leftover("probe")


class RunDirectory:
    """A locked run directory; use as a context manager, the lock ends with it (or with the process)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: TextIO | None = None

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()
        self._lock = None

    def lock(self) -> None:
        """Takes the lock. Raises RunInUseError naming its holder."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW  # a link would lead out of the directory
        file = os.fdopen(os.open(self.path / LOCK, flags, 0o666), "a+")
        try:
            while not _locked(file, fcntl.LOCK_EX):
                if by := holder(self.path):
                    raise _in_use(self.path, by)
                time.sleep(0.001)  # somebody asked at this moment who holds it
        except (OSError, RunInUseError):
            file.close()
            raise
        self._lock = file
        file.truncate(0)
        os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def clear(self) -> None:
        """Deletes all that is a run's but the lock; the manifest last, so that what a crash leaves is still a run."""
        for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name == runs.MANIFEST):
            if not _is_own(entry.name):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Replaces a JSON file, durably. Raises ConfigError where it cannot be written."""
        try:
            write_json(self.path / name, content)
        except OSError as error:
            raise _unwritable("the run directory", self.path, error) from error

    def remove(self, name: str) -> None:
        """Deletes a file if it is there."""
        (self.path / name).unlink(missing_ok=True)


def _is_own(name: str) -> bool:
    """Whether an entry of a run directory is one that aeflax made."""
    files = (runs.MANIFEST, runs.SUMMARY, runs.METRICS, runs.DIGESTS, runs.REPORT, KEPT)
    return (
        name in (*files, *runs.FOLDERS, runs.EXPORTS, seal.DAMAGED) or name.startswith(runs.EVENTS) or is_leftover(name)
    )


def require_free(path: Path | None) -> None:
    """Raises RunInUseError, naming who, where another process trains in a directory."""
    if path is not None and (by := holder(path)):
        raise _in_use(path, by)


def _in_use(path: Path, by: str) -> RunInUseError:
    return RunInUseError(f"{path} is in use by {by}; wait for it or choose another --run-dir")


def holder(path: Path) -> str | None:
    """Who holds the lock of a run directory; None where nobody does, or where that cannot be asked."""
    with suppress(OSError), (path / LOCK).open(encoding="utf-8", errors="replace") as file:
        if not _locked(file, fcntl.LOCK_SH):
            return file.read().strip() or "another process"
    return None


def _locked(file: TextIO, kind: int) -> bool:
    """Takes a lock that lasts as long as the file is open; False where another one is in its way."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def claim(path: Path, *, resume: bool, overwrite: bool) -> RunDirectory:
    """Creates or takes over a run directory and locks it.

    Raises:
      ConfigError: where the path is no directory for a run, or holds one and neither `resume` nor `overwrite`
        was given.
      RunInUseError: where another process holds it.
    """
    require_usable(path, resume=resume, overwrite=overwrite)
    run = RunDirectory(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        run.lock()
        _probe(path)
    except OSError as error:
        run.__exit__()
        raise _unwritable("the run directory", path, error) from error
    try:
        _require_place(path, resume=resume, overwrite=overwrite)  # again: another process may have been faster
        for left in list(path.rglob(leftover("*"))):  # by a process that was killed while it wrote
            left.unlink()
        if overwrite:
            run.clear()
    except BaseException:
        run.__exit__()
        raise
    return run


def require_usable(path: Path | None, *, resume: bool, overwrite: bool) -> None:
    """Refuses a path that is no directory for a run, or that holds one; touches nothing.

    Args:
      path: None for a run that is kept nowhere or gets a new directory of its own.
      resume: go on with the run that the path holds.
      overwrite: replace it.

    Raises:
      ConfigError, RunInUseError: as `claim` does.
    """
    require_free(path)
    _require_place(path, resume=resume, overwrite=overwrite)


def _require_place(path: Path | None, *, resume: bool, overwrite: bool) -> None:
    """Raises ConfigError where a path is no directory for a run, whoever holds it."""
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other; drop one")
    if resume and path is None:
        raise ConfigError("--resume needs --run-dir, the run to go on with")
    if path is None:
        return
    _require_name(path)
    try:
        held = {entry.name for entry in path.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        fault = os.strerror(error.errno or 0)
        raise ConfigError(f"{path} cannot be a run directory: {fault}; choose another --run-dir") from error
    for name in (runs.CHECKPOINTS, seal.DAMAGED):
        if (path / name).is_symlink():
            mend = "put back a folder, or link the whole run directory"
            raise ConfigError(f"{path / name} is a link, and a run writes nowhere but in its own directory; {mend}")
    if runs.MANIFEST in held:
        if not (resume or overwrite):
            raise ConfigError(f"{path} already holds a run; add --resume to go on or --overwrite to replace it")
    elif any(name != LOCK and not is_leftover(name) for name in held):
        raise ConfigError(f"{path} is not empty and holds no {runs.MANIFEST}; choose another --run-dir")


def _require_name(path: Path) -> None:
    """Raises ConfigError for a path by which not every library finds the same place, and for a link to nowhere."""
    try:
        alike = os.fsencode(whole := os.path.abspath(path)) == whole.encode()  # as the library of checkpoints names it
    except UnicodeEncodeError:
        alike = False
    if not alike:
        said = str(path).encode(errors="replace").decode()
        raise ConfigError(
            f"{said} is no UTF-8 name; choose another --run-dir, or a UTF-8 locale, such as LC_ALL=C.UTF-8"
        )
    for place in (path, *path.parents):
        if os.path.islink(place) and not os.path.lexists(os.path.realpath(place)):
            mend = "create that or choose another --run-dir"
            raise ConfigError(f"{place} is a link to {os.readlink(place)}, which is not there; {mend}")


@contextmanager
def first_free(root: Path, preset: str, source: str) -> Iterator[Path]:
    """A new directory `root/PRESET-SOURCE-K` with the first K from 1 that is free; gone again if it stays empty.

    Processes that ask together get one each.

    Raises:
      ConfigError: if it cannot be created.
    """
    kind, _, place = source.partition(":")
    named = place.partition("#")[0]
    stem = (named if kind == "tfds" else Path(named).stem) or place  # what ends a version is no suffix
    label = re.sub(r"[^A-Za-z0-9_.]+", "-", "-".join(filter(None, (kind, stem)))).strip("-")[:100] or "data"
    new = not root.exists()
    for k in itertools.count(1):
        path = root / f"{preset}-{label}-{k}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise _unwritable("the run directory", path, error) from error
        break
    try:
        yield path
    finally:
        with suppress(OSError):  # it holds a run
            path.rmdir()
            if new:
                root.rmdir()


def _probe(path: Path) -> None:
    """Writes, syncs, renames and deletes a file, as every save will. Raises OSError where that is not possible."""
    target = path / PROBE
    with replacing(target) as file:
        file.write(b"a file system that takes this takes a checkpoint")
    target.unlink()


def create_folder(path: Path, what: str) -> None:
    """Creates a directory with its parents where it is not there yet.

    Args:
      path: of the directory.
      what: it is, for the message.

    Raises:
      ConfigError: if it cannot be created or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _unwritable(what, path, error) from error


def _unwritable(what: str, path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write to {what} {path}: {os.strerror(error.errno or 0)}; choose another place")
