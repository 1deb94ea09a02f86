"""The run directory: its lock, its manifest and its metrics log.

A run directory holds `experiment.json` (configuration, versions, data fingerprint), `checkpoints/`,
`metrics.jsonl` (one object a record) and `summary.json`. Files are replaced by an atomic rename after fsync.
"""

import fcntl
import json
import os
import re
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from aeflax.errors import ConfigError, RunInUseError

MANIFEST = "experiment.json"
SUMMARY = "summary.json"
METRICS = "metrics.jsonl"
LOCK = "run.lock"
TEMPORARY = ".tmp"  # ends the name of a file that is being written


class RunDirectory:
    """A locked run directory; use as a context manager, the lock ends with it (or with the process)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: TextIO | None = None
        self._log: TextIO | None = None

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._log, self._lock):
            if file is not None:
                file.close()
        self._log = self._lock = None

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are kept."""
        return self.path / "checkpoints"

    def lock(self) -> None:
        """Takes the lock. Raises RunInUseError naming its holder."""
        file = (self.path / LOCK).open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise RunInUseError(
                f"{self.path} is in use by {holder}; wait for it or choose another --run-dir"
            ) from error
        except OSError:
            file.close()
            raise
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        self._lock = file

    def clear(self) -> None:
        """Deletes everything but the lock; the manifest last, so that what a crash leaves is still a run."""
        for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name == MANIFEST):
            if entry.name == LOCK:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Replaces a JSON file, durably."""
        write_json(self.path / name, content)

    def read(self, name: str) -> dict[str, Any] | None:
        """The content of a JSON file, None where there is none."""
        return read_json(self.path / name)

    def remove(self, name: str) -> None:
        """Deletes a file if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def start_log(self, step: int) -> None:
        """Opens the metrics log and drops the records after `step`, which a resumed run writes again."""
        path = self.path / METRICS
        kept = [record for record in read_metrics(self.path) if record["step"] <= step]
        _replace(path, "".join(json.dumps(record) + "\n" for record in kept))
        self._log = path.open("a", encoding="utf-8")

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends one record to the metrics log."""
        if self._log is not None:
            self._log.write(json.dumps(record) + "\n")
            self._log.flush()


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
    except OSError as error:
        raise ConfigError(f"cannot write to the run directory {path}: {os.strerror(error.errno or 0)}") from error
    try:
        require_usable(path, resume=resume, overwrite=overwrite)  # again: another process may have been faster
        if overwrite:
            run.clear()
    except BaseException:
        run.__exit__()
        raise
    return run


def require_usable(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuses a path that is no directory for a run, or that holds one; touches nothing.

    Raises:
      ConfigError: as `claim` does.
    """
    try:
        held = {entry.name for entry in path.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path} cannot be a run directory: {os.strerror(error.errno or 0)}") from error
    if MANIFEST in held:
        if not (resume or overwrite):
            raise ConfigError(f"{path} already holds a run; add --resume to go on or --overwrite to replace it")
    elif held - {LOCK, MANIFEST + TEMPORARY}:
        raise ConfigError(f"{path} is not empty and holds no {MANIFEST}; choose another --run-dir")


def first_free(root: Path, preset: str, source: str) -> Path:
    """`root/PRESET-SOURCE-K` with the first K from 1 that is free."""
    kind, _, place = source.partition(":")
    stem = Path(place.partition("#")[0]).stem or place
    label = re.sub(r"[^A-Za-z0-9_.]+", "-", "-".join(filter(None, (kind, stem)))).strip("-")[:100] or "data"
    k = 1
    while (root / f"{preset}-{label}-{k}").exists():
        k += 1
    return root / f"{preset}-{label}-{k}"


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run. Raises ConfigError where the directory holds none, or a damaged one."""
    manifest = read_json(path / MANIFEST)
    if manifest is None:
        held = sorted(str(found.parent) for found in path.glob(f"*/{MANIFEST}")) if path.is_dir() else []
        mend = f"did you mean {' or '.join(held[:3])}?" if held else "check the path"
        raise ConfigError(f"{path} holds no run ({MANIFEST} is missing); {mend}")
    wanted = ("experiment", "resolved", "data", "inputs", "versions", "random")
    if missing := [name for name in wanted if not isinstance(manifest.get(name), dict)]:
        raise ConfigError(f"{path / MANIFEST} lacks {', '.join(missing)}; the run directory is damaged")
    return manifest


def read_summary(path: Path) -> dict[str, Any] | None:
    """The summary of a run; None where there is none that can be used, since it can be made again."""
    with suppress(ConfigError):
        summary = read_json(path / SUMMARY)
        if summary is not None and all(isinstance(summary.get(name), dict) for name in ("train", "test", "pca")):
            return summary
    return None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a run's metrics log; a last line cut short by a crash is left out."""
    try:
        lines = (path / METRICS).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines:
        with suppress(json.JSONDecodeError, RecursionError):
            records.append(json.loads(line))
    return [record for record in records if isinstance(record, dict) and isinstance(record.get("step"), int)]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replaces a JSON file, durably."""
    _replace(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None where there is no file. Raises ConfigError where it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); the run directory is damaged") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no JSON object; the run directory is damaged")
    return content


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
