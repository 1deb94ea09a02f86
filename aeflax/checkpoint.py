"""Checkpoints by Orbax: the whole training state, and beside it a digest that a restore must reproduce.

Orbax restores a flipped bit without a word and casts a wrong dtype silently; the digest finds both.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from aeflax.engine.state import TrainState
from aeflax.errors import CheckpointError

KEEP = 2  # checkpoints kept, the newest ones

logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax reports its progress as warnings


def state_sha256(state: Any) -> str:
    """Digest over the leaves sorted by path: path, dtype, global shape and little-endian bytes of each."""
    digest = hashlib.sha256()
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(state))
    named = sorted((jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves)
    for name, leaf in named:
        value = np.asarray(leaf)
        digest.update(f"{name}\0{value.dtype.name}\0{value.shape}\0".encode())
        digest.update(np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"), copy=False)).tobytes())
    return digest.hexdigest()


class Checkpoints:
    """The checkpoints of one run directory, whose lock the caller holds if it saves."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._manager = ocp.CheckpointManager(
            os.path.abspath(directory),
            options=ocp.CheckpointManagerOptions(max_to_keep=KEEP, create=True, cleanup_tmp_directories=False),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._manager.close()
        except Exception as error:
            if kind is None:  # else the error that ends the run says more
                raise CheckpointError(f"the last save in {self._directory} failed: {_reason(error)}") from error

    @property
    def latest(self) -> int | None:
        """Step of the newest complete checkpoint."""
        step: int | None = self._manager.latest_step()
        return step

    def save(self, state: TrainState, progress: dict[str, Any]) -> None:
        """Saves the state and what the host loop needs to go on; returns while the write goes on.

        Raises:
          CheckpointError: if this save could not begin or the one before could not be finished.
        """
        step = int(state.step)
        meta = {"step": step, "state_sha256": state_sha256(state), "progress": progress}
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
        try:
            self._manager.save(step, args=items, force=True)
        except Exception as error:  # Orbax and tensorstore raise many kinds; each means: not saved
            raise CheckpointError(f"cannot save step {step} in {self._directory}: {_reason(error)}") from error

    def wait(self) -> None:
        """Blocks until the last save is on disk. Raises CheckpointError if it failed."""
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:
            raise CheckpointError(f"the last save in {self._directory} failed: {_reason(error)}") from error

    def restore(self, template: TrainState, sharding: Any) -> tuple[TrainState, dict[str, Any]]:
        """The newest state, placed by `sharding`, and the host loop's progress.

        Args:
          template: a state of the right structure; shapes and dtypes suffice.
          sharding: where the leaves go.

        Raises:
          CheckpointError: if there is none, it cannot be read, or it is not what was saved.
        """
        step = self.latest
        if step is None:
            raise CheckpointError(f"{self._directory} holds no complete checkpoint; train the run first")
        place = f"{self._directory}/{step}"
        leaves = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), template)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(leaves), meta=ocp.args.JsonRestore())
        try:
            found = self._manager.restore(step, args=items)
            state, meta = found["state"], found["meta"]
        except Exception as error:
            raise CheckpointError(
                f"the checkpoint {place} cannot be read ({_reason(error)}); delete it to fall back to an older one"
            ) from error
        if state_sha256(state) != meta.get("state_sha256"):
            raise CheckpointError(
                f"the checkpoint {place} is damaged: its digest differs from the one recorded when it was saved; "
                "delete it to fall back to an older one"
            )
        return state, meta["progress"]


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
