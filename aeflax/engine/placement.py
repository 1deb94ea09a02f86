"""Where the compiled loop runs: one device (`jit`) or several that share each batch (`pmap`).

The state has one layout in both: no leading device axis, so a checkpoint fits either.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from aeflax.engine.epoch import Epoch, make_epoch
from aeflax.engine.state import Order, Parts, Source

AXIS = "data"


@dataclass(frozen=True)
class Placement:
    """A way to run one program on given devices; `name` is jit or pmap."""

    name: str
    devices: tuple[jax.Device, ...]

    def __str__(self) -> str:
        return f"{len(self.devices)} × {self.devices[0].device_kind} ({self.name})"

    @property
    def shards(self) -> int:
        """Devices that share a batch."""
        return len(self.devices)

    def require_shares(self, batch_size: int) -> None:
        """Raises ValueError unless a batch divides over the devices."""
        if batch_size % self.shards:
            near = batch_size - batch_size % self.shards or self.shards
            raise ValueError(f"data.batch_size={batch_size} does not divide over {self.shards} devices; try {near}")

    def compile(self, parts: Parts, *, streamed: bool) -> Epoch:
        """The compiled epoch; equal parts and placements share one program."""
        return _compile(self, parts, streamed)

    def replicate(self, tree: Any) -> Any:
        """Puts a tree on every device."""
        return jax.device_put(tree, self.sharding())

    def shard(self, tree: Any) -> Any:
        """Puts arrays [B, ...] on the devices, each its part of the first axis."""
        return jax.device_put(tree, self.sharding(AXIS))

    def split(self, table: np.ndarray) -> Any:
        """Puts a table [S, B, ...] on the devices, each its columns of the batch."""
        if self.name == "jit":
            return jax.device_put(table, self.sharding())
        steps, batch = table.shape[:2]
        parted = table.reshape(steps, self.shards, batch // self.shards, *table.shape[2:])
        return jax.device_put(np.moveaxis(parted, 1, 0), self.sharding(AXIS))

    def split_rows(self, rows: np.ndarray) -> Any:
        """Puts the examples of a table's entries [S, B, F] on the devices, flattened to [S·B/shards, F] on each."""
        steps, batch, features = rows.shape
        if self.name == "jit":
            return jax.device_put(rows.reshape(-1, features), self.sharding())
        parted = np.moveaxis(rows.reshape(steps, self.shards, batch // self.shards, features), 1, 0)
        return jax.device_put(parted.reshape(self.shards, -1, features), self.sharding(AXIS))

    def local_positions(self, steps: int, batch: int) -> np.ndarray:
        """Where each table entry [S, B] lies in what `split_rows` put on its device."""
        share = batch // self.shards
        column = np.arange(batch) % share
        return (np.arange(steps)[:, None] * share + column).astype(np.int32)

    def sharding(self, *axes: str) -> Any:
        """Where an array goes whose leading axes are spread over `axes`; none: a copy on every device."""
        if self.name == "jit":
            return SingleDeviceSharding(self.devices[0])
        return NamedSharding(Mesh(np.array(self.devices), (AXIS,)), PartitionSpec(*axes))


@functools.lru_cache(maxsize=32)
def _compile(placement: Placement, parts: Parts, streamed: bool) -> Epoch:
    if placement.name == "jit":
        return jax.jit(make_epoch(parts, lambda tree: tree), donate_argnums=0)
    reduce = functools.partial(lax.psum, axis_name=AXIS)
    rows = 0 if streamed else None
    parallel: Epoch = jax.pmap(
        make_epoch(parts, reduce),
        axis_name=AXIS,
        devices=list(placement.devices),
        in_axes=(
            None,
            None,
            Source(rows=rows, shift=None, divisor=None),  # type: ignore[arg-type]
            Order(position=0, example=0),  # type: ignore[arg-type]
            None,
            None,
            None,
            None,
        ),
        out_axes=None,
        donate_argnums=0,
    )
    return parallel


def choose(name: str) -> Placement:
    """The placement called `name`; auto is pmap on several accelerators, else jit."""
    devices = tuple(jax.local_devices())
    if name == "auto":
        name = "pmap" if len(devices) > 1 and devices[0].platform != "cpu" else "jit"
    return Placement("pmap", devices) if name == "pmap" else Placement("jit", devices[:1])
