"""sweep.json: what a sweep is, and what has been decided in it, so that it goes on alike after a stop or a kill.

Written by an atomic replacement. Beside what the user asked for (`preset`, `experiment`, `grid`, `halving`, `data`, and
the digests of files with `parts` of the user's own) it holds, as far as known: `waves`, the models that each group
trains at once; `rungs` of halving; `diverged`, members whose weights are lost, by index, and why; `spent`, seconds of
training and of compiling by group; in the end `members` and `groups`.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from aeflax.config import Experiment
from aeflax.config.plain import differences, from_dict
from aeflax.errors import ConfigError, warn
from aeflax.rundir import runs
from aeflax.rundir.claim import LOCK, RunDirectory, create_folder
from aeflax.storage.document import changed, read_json, write_json
from aeflax.storage.durable import is_leftover

SWEEP = "sweep.json"
MEMBERS = "members"


class Record:
    """What is said of a sweep, as plain values."""

    def __init__(self, path: Path, told: Mapping[str, Any]) -> None:
        self._path, self.told = path / SWEEP, dict(told)

    def get(self, name: str, otherwise: Any) -> Any:
        """What is known by a name, or something else where nothing is."""
        return self.told.get(name, otherwise)

    def forget(self) -> None:
        """Leaves nothing of a sweep that did not begin."""
        self._path.unlink(missing_ok=True)

    def add(self, **more: Any) -> None:
        """Says more, on disk at once."""
        self.told |= _plain(more)
        write_json(self._path, self.told)


def read_sweep(path: Path) -> dict[str, Any]:
    """What is said of the sweep in a directory. Raises ConfigError where it holds none."""
    told = read_json(path / SWEEP)
    if told is None:
        raise ConfigError(f"{path} holds no sweep ({SWEEP} is missing); check the path")
    told = {"preset": "custom"} | told
    kinds = {"preset": str, "experiment": dict, "grid": dict, "halving": bool, "data": dict}
    if wrong := [name for name, kind in kinds.items() if not isinstance(told.get(name), kind)]:
        raise ConfigError(f"{path / SWEEP} has no sound {', '.join(wrong)}; the sweep is damaged")
    return told


def claim(path: Path, stack: ExitStack, asked: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Record:
    """Locks a sweep's directory until the stack ends, and begins its record, or goes on with the one that is there.

    Raises:
      ConfigError: where the directory holds another sweep, or something else.
      RunInUseError: where another process has it.
    """
    create_folder(path, "the sweep")
    stack.enter_context(directory := RunDirectory(path)).lock()
    require_usable(path, resume=resume, overwrite=overwrite)
    for entry in path.iterdir():
        if is_leftover(entry.name):  # of a process that was killed while it wrote
            entry.unlink()
    asked = _plain(asked)
    if overwrite:
        shutil.rmtree(path / MEMBERS, ignore_errors=True)
        directory.remove(runs.REPORT)
    stored = None if overwrite else read_json(path / SWEEP)
    if stored is not None and (found := _differences(stored, asked)):
        mend = "name no preset, and the sweep goes on with what it began with, or give the same, or another --run-dir"
        raise ConfigError(f"{path} holds another sweep ({'; '.join(found)}); {mend}")
    if stored is not None and stored.get("data") != asked["data"]:
        raise ConfigError(f"{path} holds a sweep over other data; give the same, or another --run-dir")
    if stored is not None and (names := changed(stored.get("parts", {}), asked["parts"])):
        said = f"{names[0]} has changed since the sweep in {path} began"
        if "members" not in stored:
            raise ConfigError(
                f"{said}, and members trained before and after cannot be compared; put it back as it was, or begin "
                "anew (--overwrite, or another --run-dir)"
            )
        warn(f"{said}: its models are as they were trained")
    record = Record(path, stored or asked)
    if stored is None:
        record.add()
    elif "diverged" not in stored:  # by an earlier version, which told of them at the end alone
        lost = [member for member in stored.get("members", []) if member["status"] == "diverged"]
        record.add(diverged={member["index"]: member["reason"] for member in lost})
    return record


def require_usable(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Raises ConfigError where a path is no place for a sweep."""
    if resume and overwrite:
        raise ConfigError("--resume goes on with what --overwrite would delete; leave one of them out")
    if not path.exists():
        return
    if not path.is_dir():
        raise ConfigError(f"{path} is a file; a sweep is kept in a directory, choose another --run-dir")
    if (path / SWEEP).exists():
        if not (resume or overwrite):
            raise ConfigError(f"{path} holds a sweep; go on with --resume, or replace it with --overwrite")
    elif any(entry.name != LOCK and not is_leftover(entry.name) for entry in path.iterdir()):
        raise ConfigError(f"{path} holds something else than a sweep; choose another --run-dir")


def _differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What is asked for in another way than before, in a few words each."""
    told = []
    if list(stored.get("grid", {}).items()) != list(asked["grid"].items()):  # in order, which numbers the members
        told.append(f"grid: {stored.get('grid')} -> {asked['grid']}")
    if stored.get("halving") != asked["halving"]:
        told.append(f"halving: {stored.get('halving')} -> {asked['halving']}")
    if stored.get("experiment") != asked["experiment"]:
        old, new = (from_dict(Experiment, part["experiment"]) for part in (stored, asked))
        told += differences(old, new)
    return told


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives them back: lists for tuples, texts for keys."""
    found: dict[str, Any] = json.loads(json.dumps(values))
    return found
