"""Checkpoints by Orbax: the whole training state, and beside it a digest that a restore must reproduce.

Orbax restores a flipped bit without a word and casts a wrong dtype silently; the digest finds both.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp

from aeflax import hosts
from aeflax.engine.state import TrainState, leaf_name
from aeflax.errors import CheckpointError, ConfigError, reason

KEEP = 2  # checkpoints kept, the newest ones; beside them the best one

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
    """The checkpoints of one run directory, whose lock the caller holds if it saves."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # The best step, and the one before: that goes only when a checkpoint which names the new one is complete.
        self._best: tuple[int | None, int | None] = None, None
        self._manager = ocp.CheckpointManager(
            os.path.abspath(directory),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=_Kept(self), create=True, cleanup_tmp_directories=False
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._manager.close()
        except Exception as error:
            if kind is None:  # else the error that ends the run says more
                raise CheckpointError(f"the last save in {self._directory} failed: {reason(error)}") from error

    @property
    def latest(self) -> int | None:
        """Step of the newest complete checkpoint."""
        step: int | None = self._manager.latest_step()
        return step

    @property
    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, in order."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, progress: dict[str, Any], *, best: int | None = None) -> None:
        """Saves the state and what the host loop needs to go on; returns while the write goes on.

        Args:
          state: what to save.
          progress: of the host loop, as JSON.
          best: step of the checkpoint that is kept as the best one, this one or an older one.

        Raises:
          CheckpointError: if this save could not begin or the one before could not be finished.
        """
        step = int(state.step)
        meta = {"step": step, "state_sha256": state_sha256(state), "progress": progress, "best": best}
        self._best = self._best[1], best
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
        try:
            self._manager.save(step, args=items, force=True)
        except Exception as error:  # Orbax and tensorstore raise many kinds; each means: not saved
            raise CheckpointError(f"cannot save step {step} in {self._directory}: {reason(error)}") from error

    def wait(self) -> None:
        """Blocks until the last save is on disk. Raises CheckpointError if it failed."""
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:
            raise CheckpointError(f"the last save in {self._directory} failed: {reason(error)}") from error

    def restore(self, template: TrainState, which: int | Which = "latest") -> tuple[TrainState, dict[str, Any]]:
        """A state and the host loop's progress at that step.

        Args:
          template: shapes, dtypes and shardings of the state, whatever devices it was saved from.
          which: the newest checkpoint, the best one on the validation split, or the one of a step.

        Raises:
          CheckpointError: if there is none, it cannot be read, or it is not what was saved.
          ConfigError: if there is no checkpoint of that step, or no best one.
        """
        step = self._step(which)
        place = f"{self._directory}/{step}"
        state, meta = self._read(step, state=ocp.args.StandardRestore(template), meta=ocp.args.JsonRestore())
        if state_sha256(state) != meta.get("state_sha256"):
            raise CheckpointError(
                f"the checkpoint {place} is damaged: its digest differs from the one recorded when it was saved; "
                "delete it to fall back to an older one"
            )
        self._best = meta["best"], meta["best"]
        return state, meta["progress"]

    def _step(self, which: int | Which) -> int:
        latest = self.latest
        if latest is None:
            raise CheckpointError(f"{self._directory} holds no complete checkpoint; train the run first")
        if which == "latest":
            return latest
        if which == "best":
            (meta,) = self._read(latest, meta=ocp.args.JsonRestore())
            if meta["best"] is None:
                raise ConfigError("the run has no best checkpoint; train it with --data.validation N")
            which = int(meta["best"])
        if which not in self.steps:
            held = ", ".join(map(str, self.steps))
            raise ConfigError(f"{self._directory} holds no checkpoint of step {which}, only {held}")
        return which

    def _read(self, step: int, **items: Any) -> list[Any]:
        try:
            found = self._manager.restore(step, args=ocp.args.Composite(**items))
            return [found[name] for name in items]
        except Exception as error:
            raise CheckpointError(
                f"the checkpoint {self._directory}/{step} cannot be read ({reason(error)}); "
                "delete it to fall back to an older one"
            ) from error


@dataclass(frozen=True)
class _Kept:
    """Keeps the newest checkpoints and the best ones."""

    checkpoints: Checkpoints

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """One answer for each of Orbax's checkpoints, oldest first."""
        newest = {info.step for info in checkpoints[-KEEP:]}
        return [info.step in newest or info.step in self.checkpoints._best for info in checkpoints]
