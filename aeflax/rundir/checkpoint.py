"""Checkpoints by Orbax: the whole training state, sealed, and a digest of it that a restore must reproduce.

Orbax restores a flipped bit without a word, which the seal finds, and casts a wrong dtype silently, which the digest
finds.
"""

import hashlib
import itertools
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp

from aeflax import hosts
from aeflax.engine.state import TrainState, leaf_name
from aeflax.errors import CheckpointError, ConfigError, is_out_of_memory, reason, warn
from aeflax.rundir.claim import holder
from aeflax.storage import seal
from aeflax.storage.durable import sync

KEEP = 2  # checkpoints kept, the newest ones; beside them the best one
SWEEPS = 10  # attempts at removing what a failed save left
PATIENCE = 600  # seconds that processes wait for each other's part of a save
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

    Only what its seal vouches for is restored (`aeflax.storage.seal`). Where the newest is damaged, that is said, and
    the one before is taken.

    Args:
      directory: that holds them, one folder a step.
      held: whether the caller holds the run's lock. It may then save; what a killed process left is removed, and
        damaged checkpoints are moved to `damaged/` in the run directory.
    """

    def __init__(self, directory: Path, *, held: bool = False) -> None:
        self._directory, self._held = directory, held
        self._best: int | None = None  # step of the best checkpoint that is kept
        self._saving: tuple[int, int | None] | None = None  # step and best of a save that is not known to be on disk
        self._manager: ocp.CheckpointManager | None = None
        if held:
            hosts.by_one(self._prepare)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        if error is not None and (hosts.lost(error) or (hosts.count() > 1 and not isinstance(error, Exception))):
            return  # a save that waits for a process which is gone would never end
        try:
            self.wait()
            if self._manager is not None:
                self._manager.close()
        except CheckpointError:
            if kind is None:  # else the error that ends the run says more
                raise

    def steps(self) -> list[int]:
        """Steps of the checkpoints, in order; asked by all processes together."""
        return hosts.by_first(lambda: list(seal.folders(self._directory)))

    def latest(self) -> int | None:
        """Step of the newest checkpoint; asked by all processes together."""
        return max(self.steps(), default=None)

    def holds(self, step: int) -> bool:
        """Whether a step is saved, or its save has begun and has not failed so far."""
        return (self._saving is not None and step == self._saving[0]) or step in self.steps()

    def sound(self, step: int) -> bool:
        """Whether a step's files are as they were saved. One that is damaged is told of and, if it may be, moved."""
        if found := self._faults(step):
            self._pass_over(step, found)
        return not found

    def save(self, state: TrainState, progress: dict[str, Any], *, best: int | None = None) -> None:
        """Saves the state and what the host loop needs to go on; returns while the write goes on.

        Args:
          state: what to save.
          progress: of the host loop, as JSON.
          best: step of the checkpoint that is kept as the best one, this one or an older one. One that could not be
            saved is none, and the best one before it stays.

        Raises:
          CheckpointError: if this save could not begin or the one before could not be finished.
        """
        self.wait()
        step = int(state.step)
        best = best if best in (step, *self.steps()) else self._best
        meta = {"step": step, "state_sha256": state_sha256(state), "progress": progress, "best": best}
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
        self._saving = step, best
        self._attempt(lambda: self._orbax().save(step, args=items, force=True))

    def wait(self) -> None:
        """Blocks until the last save is on disk. Raises CheckpointError if it failed; what it left is gone then."""
        if self._saving is None:
            return
        self._attempt(self._finish)
        (_, self._best), self._saving = self._saving, None
        hosts.by_one(self._retire)

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
        if state_sha256(state) != meta["state_sha256"] or meta["step"] != step:
            raise CheckpointError(
                f"the files of checkpoint {self._directory}/{step} are sound, but what they give is not what was saved "
                "as that step; restore it with the versions that experiment.json names"
            )
        self._best = meta["best"]
        return state, meta["progress"]

    def _step(self, which: int | Which) -> int:
        """The step to restore; its files are sound."""
        if which == "latest" or not (steps := self.steps()):
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
        damaged: dict[int, str] = {}
        for step in reversed(steps := self.steps()):
            if not (found := self._faults(step)):
                for other, what in damaged.items():
                    self._pass_over(other, what)
                return step
            damaged[step] = found
        if not steps:
            user = holder(self._directory.parent)
            mend = "train the run first" if user is None else f"it is in use by {user}, which has saved none yet"
            raise CheckpointError(f"{self._directory} holds no complete checkpoint; {mend}")
        said = "; ".join(f"{step}: {what}" for step, what in damaged.items())
        raise CheckpointError(
            f"no checkpoint in {self._directory} is sound ({said}); put back a copy, or train anew with --overwrite"
        )

    def _faults(self, step: int) -> str:
        """What differs from the step's seal, as one phrase."""
        found = hosts.by_first(lambda: seal.faults(self._directory / str(step)))
        return "; ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")

    def _pass_over(self, step: int, what: str) -> None:
        """Warns of a damaged checkpoint, and moves it out of the way where the lock is held."""
        moved = hosts.by_one(lambda: self._set_aside(step)) if self._held else None
        if self._held and self._manager is not None:
            self._manager.reload()  # else it would not save that step again
        if hosts.primary():
            then = f"; moved to {moved}" if moved else ""
            said = f"the checkpoint {self._directory}/{step} is damaged ({what}){then}; taking the one before"
            warn(said)

    def _set_aside(self, step: int) -> str:
        """Moves a damaged checkpoint away -> where it lies now."""
        place = self._directory.parent / seal.DAMAGED
        place.mkdir(exist_ok=True)
        names = itertools.chain([str(step)], (f"{step}-{k}" for k in itertools.count(2)))
        free = next(place / name for name in names if not os.path.lexists(place / name))
        (self._directory / str(step)).rename(free)
        return str(free)

    def _read(self, step: int, **items: Any) -> list[Any]:
        try:
            found = self._orbax().restore(step, args=ocp.args.Composite(**items))
            return [found[name] for name in items]
        except Exception as error:
            if hosts.lost(error) or is_out_of_memory(error):  # nothing that the checkpoint is to blame for
                raise
            raise CheckpointError(
                f"the checkpoint {self._directory}/{step} cannot be read ({reason(error)})"
            ) from error

    def _finish(self) -> None:
        """Waits for the save that goes on; then its name is on disk, too."""
        manager = self._orbax()
        manager.wait_until_finished()
        manager.check_for_errors()
        sync(self._directory)

    def _attempt(self, action: Callable[[], object]) -> None:
        """Does a part of a save on all processes; where it fails on one, it has failed on all of them."""
        try:
            hosts.by_all(action)
        except Exception as error:  # Orbax and tensorstore raise many kinds; each means: not saved
            if hosts.lost(error):
                raise
            (step, _), self._saving = self._saving or (None, None), None
            self._let_go()
            raise CheckpointError(f"cannot save step {step} in {self._directory}: {reason(error)}") from error

    def _orbax(self) -> ocp.CheckpointManager:
        """Orbax's manager, opened when something needs it. It keeps everything: what goes is our business."""
        if self._manager is None:
            options = ocp.CheckpointManagerOptions(
                create=False,
                cleanup_tmp_directories=False,  # ours knows that the run's lock is held
                async_options=ocp.options.AsyncOptions(
                    timeout_secs=PATIENCE,
                    post_finalization_callback=self._seal,
                    create_directories_asynchronously=False,  # else they may come back after a save that failed
                ),
            )
            self._manager = ocp.CheckpointManager(os.path.abspath(self._directory), options=options)
        return self._manager

    def _let_go(self) -> None:
        """Drops a manager whose save failed: it would raise the same error for ever, and count the step as saved."""
        manager, self._manager = self._manager, None
        if manager is None:
            return
        with suppress(Exception):  # what failed is known
            manager.close()
        with suppress(Exception):  # which, after an error, does not wait for what still writes
            manager._checkpointer.close()
        with suppress(Exception):
            hosts.by_one(self._sweep)

    def _seal(self) -> None:
        """Called by Orbax on the process that commits, when all is written and before the checkpoint gets its name."""
        assert self._saving is not None
        (unnamed,) = self._directory.glob(f"{self._saving[0]}{_UNNAMED}*")
        seal.close(unnamed)

    def _retire(self) -> None:
        """Deletes the checkpoints that are neither among the newest nor the best one."""
        held = seal.folders(self._directory)
        for step in list(held)[:-KEEP]:
            if step != self._best:
                # Without its name first: what is half deleted is no checkpoint.
                unnamed = self._directory / f"{step}{_UNNAMED}-old"
                with suppress(OSError):  # it can go another time
                    held[step].rename(unnamed)
                    shutil.rmtree(unnamed, ignore_errors=True)

    def _prepare(self) -> None:
        """Makes the directory, and removes what a process left that was killed or failed while it saved or deleted."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for entry in self._unnamed():
            shutil.rmtree(entry, ignore_errors=True)

    def _sweep(self) -> None:
        """The same after a failed save, some of whose threads may write on for a moment."""
        for _ in range(SWEEPS):
            self._prepare()
            time.sleep(0.1)
            if not self._unnamed():
                return

    def _unnamed(self) -> list[Path]:
        """Folders of checkpoints that are not complete, or half deleted."""
        return [entry for entry in self._directory.iterdir() if _UNNAMED in entry.name and not entry.is_symlink()]
