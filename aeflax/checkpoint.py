"""Checkpoints by Orbax: the whole training state, sealed, and a digest of it that a restore must reproduce.

Orbax restores a flipped bit without a word, which the seal finds, and casts a wrong dtype silently, which the digest
finds.
"""

import functools
import hashlib
import itertools
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp

from aeflax import hosts, seal
from aeflax.durable import sync
from aeflax.engine.state import TrainState, leaf_name
from aeflax.errors import AeflaxWarning, CheckpointError, ConfigError, reason

KEEP = 2  # checkpoints kept, the newest ones; beside them the best one
_UNNAMED = ".orbax-checkpoint-tmp"  # in the name of a checkpoint that is not complete

Which = Literal["latest", "best"]


def state_sha256(state: Any) -> str:
    """Digest over the leaves sorted by path: path, dtype, global shape and little-endian bytes of each."""
    digest = hashlib.sha256()
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    named = {leaf_name(path): leaf for path, leaf in leaves}
    for name, leaf in sorted(named.items()):  # one at a time: a whole state may exceed a host's memory
        value = hosts.fetch(leaf)
        digest.update(f"{name}\0{value.dtype.name}\0{value.shape}\0".encode())
        digest.update(np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"), copy=False)).tobytes())
    return digest.hexdigest()


class Checkpoints:
    """The checkpoints of one run directory.

    Only sealed ones count (`aeflax.seal`). Where one is damaged, restoring says so and takes the one before.

    Args:
      directory: that holds them, one folder a step.
      held: whether the caller holds the run's lock. It may then save, what a killed process left is removed, and
        damaged checkpoints are moved to `damaged/` in the run directory.
    """

    def __init__(self, directory: Path, *, held: bool = False) -> None:
        self._directory, self._held = directory, held
        # The best step, and the one before: that goes only when a checkpoint which names the new one is complete.
        self._best: tuple[int | None, int | None] = None, None
        self._saving: int | None = None  # step of a save that is not known to be on disk
        if held:
            hosts.by_one(self._prepare)
        self._manager = self._open()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        if error is not None and hosts.lost(error):
            return  # a save that waits for a process which is gone would never end
        try:
            self.wait()
            self._manager.close()
        except CheckpointError:
            if kind is None:  # else the error that ends the run says more
                raise

    @property
    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, in order."""
        return hosts.from_first(sorted(step for step, folder in self._folders() if seal.is_closed(folder)))

    @property
    def latest(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return max(self.steps, default=None)

    def holds(self, step: int) -> bool:
        """Whether a step is saved, or its save has begun and has not failed so far."""
        return step == self._saving or step in self.steps

    def save(self, state: TrainState, progress: dict[str, Any], *, best: int | None = None) -> None:
        """Saves the state and what the host loop needs to go on; returns while the write goes on.

        Args:
          state: what to save.
          progress: of the host loop, as JSON.
          best: step of the checkpoint that is kept as the best one, this one or an older one.

        Raises:
          CheckpointError: if this save could not begin or the one before could not be finished.
        """
        self.wait()
        step = int(state.step)
        meta = {"step": step, "state_sha256": state_sha256(state), "progress": progress, "best": best}
        self._best = self._best[1], best
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
        self._saving = step
        with self._saved():
            self._manager.save(step, args=items, force=True)

    def wait(self) -> None:
        """Blocks until the last save is on disk. Raises CheckpointError if it failed; what it left is gone then."""
        if self._saving is None:
            return
        with self._saved():
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
            sync(self._directory)
        self._saving = None

    def restore(self, template: TrainState, which: int | Which = "latest") -> tuple[TrainState, dict[str, Any]]:
        """A state and the host loop's progress at that step.

        Args:
          template: shapes, dtypes and shardings of the state, whatever devices it was saved from.
          which: the newest checkpoint that is sound, the best one on the validation split, or the one of a step.

        Raises:
          CheckpointError: if there is none, it cannot be read, or it is not what was saved.
          ConfigError: if there is no checkpoint of that step, or no best one.
        """
        step = self._step(which)
        state, meta = self._read(step, state=ocp.args.StandardRestore(template), meta=ocp.args.JsonRestore())
        if state_sha256(state) != meta["state_sha256"]:
            raise CheckpointError(
                f"the checkpoint {self._directory}/{step} is sound, but gives other values than were saved; restore it "
                "with the versions that experiment.json names"
            )
        self._best = meta["best"], meta["best"]
        return state, meta["progress"]

    def _step(self, which: int | Which) -> int:
        """The step to restore; its files are sound."""
        if which == "latest" or not (steps := self.steps):
            return self._latest_sound()
        if which == "best":
            (meta,) = self._read(self._latest_sound(), meta=ocp.args.JsonRestore())
            if meta["best"] is None:
                raise ConfigError("the run has no best checkpoint; train it with --data.validation N")
            which = int(meta["best"])
        if which not in steps:
            held = ", ".join(map(str, steps))
            raise ConfigError(f"{self._directory} holds no checkpoint of step {which}, only {held}")
        if found := self._faults(which):
            raise CheckpointError(
                f"the checkpoint {self._directory}/{which} is damaged ({found}); choose another --step"
            )
        return which

    def _latest_sound(self) -> int:
        """The newest step whose files are as they were saved; newer ones are told of and, if they may be, moved."""
        damaged: list[int] = []
        for step in reversed(self.steps):
            if not (found := self._faults(step)):
                return step
            damaged.append(step)
            moved = f"; moved to {hosts.by_one(functools.partial(self._set_aside, step))}" if self._held else ""
            warnings.warn(
                f"the checkpoint {self._directory}/{step} is damaged ({found}){moved}; taking the one before",
                AeflaxWarning,
                stacklevel=2,
            )
        if damaged:
            held = "all checkpoints are damaged" if len(damaged) > 1 else "the only checkpoint is damaged"
            raise CheckpointError(
                f"{self._directory}: {held} ({', '.join(map(str, damaged))}); train anew with --overwrite"
            )
        raise CheckpointError(f"{self._directory} holds no complete checkpoint; train the run first")

    def _faults(self, step: int) -> str:
        """What differs from the step's seal, as one phrase."""
        found: list[str] = hosts.from_first(seal.faults(self._directory / str(step)) if hosts.primary() else [])
        return "; ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")

    def _read(self, step: int, **items: Any) -> list[Any]:
        try:
            found = self._manager.restore(step, args=ocp.args.Composite(**items))
            return [found[name] for name in items]
        except Exception as error:
            raise CheckpointError(
                f"the checkpoint {self._directory}/{step} cannot be read ({reason(error)})"
            ) from error

    def _open(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_Kept(self),
            create=False,
            cleanup_tmp_directories=False,  # ours knows that the run's lock is held
            async_options=ocp.options.AsyncOptions(
                post_finalization_callback=self._seal,
                create_directories_asynchronously=False,  # else they may come back after a save that failed
            ),
        )
        return ocp.CheckpointManager(os.path.abspath(self._directory), options=options)

    def _seal(self) -> None:
        """Called by Orbax on the process that commits, when all is written and before the checkpoint gets its name."""
        (unnamed,) = self._directory.glob(f"{self._saving}{_UNNAMED}*")
        seal.close(unnamed)

    @contextmanager
    def _saved(self) -> Iterator[None]:
        """Turns what a save fails with into a CheckpointError, and is ready for another attempt then."""
        try:
            yield
        except Exception as error:  # Orbax and tensorstore raise many kinds; each means: not saved
            if hosts.lost(error):
                raise
            step, self._saving = self._saving, None
            self._reopen()
            raise CheckpointError(f"cannot save step {step} in {self._directory}: {reason(error)}") from error

    def _reopen(self) -> None:
        with suppress(Exception):  # what failed is known
            self._manager.close()
        with suppress(Exception):  # which leaves out, after an error, to wait for what still writes
            self._manager._checkpointer.close()
        hosts.by_one(self._prepare)
        self._manager = self._open()

    def _prepare(self) -> None:
        """Removes what a process left that was killed or failed while it saved; moves what has lost its seal."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for entry in list(self._directory.iterdir()):
            if _UNNAMED in entry.name and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
        for step, folder in self._folders():
            if not seal.is_closed(folder):
                warnings.warn(
                    f"the checkpoint {folder} has lost its {seal.NAME}; moved to {self._set_aside(step)}",
                    AeflaxWarning,
                    stacklevel=2,
                )

    def _set_aside(self, step: int) -> str:
        """Moves a damaged checkpoint out of Orbax's sight -> where it lies now."""
        place = self._directory.parent / seal.DAMAGED
        place.mkdir(exist_ok=True)
        free = next(place / name for name in _names(step) if not os.path.lexists(place / name))
        (self._directory / str(step)).rename(free)
        return str(free)

    def _folders(self) -> list[tuple[int, Path]]:
        """(step, folder) of everything that looks like a checkpoint."""
        if not self._directory.is_dir():
            return []
        named = [entry for entry in self._directory.iterdir() if entry.name.isascii() and entry.name.isdigit()]
        return [(int(entry.name), entry) for entry in named]


def _names(step: int) -> Iterator[str]:
    """Names for a step: 100, 100-2, 100-3 and so on."""
    yield str(step)
    yield from (f"{step}-{k}" for k in itertools.count(2))


@dataclass(frozen=True)
class _Kept:
    """Keeps the newest checkpoints and the best ones."""

    checkpoints: Checkpoints

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """One answer for each of Orbax's checkpoints, oldest first."""
        newest = {info.step for info in checkpoints[-KEEP:]}
        return [info.step in newest or info.step in self.checkpoints._best for info in checkpoints]
