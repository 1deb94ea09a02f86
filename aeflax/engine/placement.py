"""Where the compiled loop runs: one device (`jit`), several that share each batch (`pmap`), or also the model (`mesh`).

The state has one layout in all of them: global arrays without a device axis, so a checkpoint of one fits every other,
on any number of devices and processes. A batch is spread over the devices in their order, which is that of the
processes, so each process holds a range of its columns.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from aeflax import hosts
from aeflax.engine.compiling import PROGRAMS, repeatable
from aeflax.engine.epoch import Epoch, make_epoch
from aeflax.engine.keys import root_key
from aeflax.engine.sharding import Override, partition, travels
from aeflax.engine.state import Order, Parts, Source, leaf_name
from aeflax.engine.team import ALONE, SHARDS, WHOLE, Division, Team

DATA, FSDP = "data", "fsdp"


@dataclass(frozen=True)
class Placement:
    """A way to run one program on given devices.

    Attributes:
      name: jit, pmap or mesh.
      devices: of all processes, in their order.
      fsdp: devices over which a parameter is spread; 1 but for mesh.
      overrides: of the rule that says along which axis, see `aeflax.engine.sharding`.
    """

    name: str
    devices: tuple[jax.Device, ...]
    fsdp: int = 1
    overrides: tuple[Override, ...] = ()

    def __str__(self) -> str:
        spread = f", state over {self.fsdp}" if self.fsdp > 1 else ""
        return f"{self.shards} × {self.devices[0].device_kind} ({self.name}{spread})"

    @property
    def shards(self) -> int:
        """Devices that share a batch."""
        return len(self.devices)

    @functools.cached_property
    def local_shards(self) -> int:
        """Devices of this process."""
        return sum(device.process_index == jax.process_index() for device in self.devices)

    @functools.cached_property
    def mesh(self) -> Mesh:
        """The devices by the axes that arrays are spread over."""
        if self.name != "mesh":
            return Mesh(np.array(self.devices), (DATA,))
        return Mesh(np.array(self.devices).reshape(-1, self.fsdp), (DATA, FSDP))

    def require_shares(self, batch_size: int, division: Division = WHOLE) -> None:
        """Raises ValueError unless a batch divides over the devices and their pieces."""
        if division.exact and SHARDS % self.shards:
            mend = "hide some of them, or take --train.placement jit, which takes one"
            raise ValueError(f"train.exact works on 1, 2, 4 or {SHARDS} devices, not on {self.shards}; {mend}")
        unit = SHARDS if division.exact else self.shards * division.pieces
        if batch_size % unit:
            near = max(round(batch_size / unit), 1) * unit
            pieces = f" in {division.pieces} pieces each" if division.pieces > 1 else ""
            parts = f"into {SHARDS} exact parts" if division.exact else f"over {self.shards} devices{pieces}"
            others = "or other devices (--train.placement jit takes one)"
            raise ValueError(f"data.batch_size={batch_size} does not divide {parts}; try {near} in a new run, {others}")

    def divided(self, division: Division) -> Division:
        """How each device cuts its share: in exact mode, into its part of the SHARDS."""
        return division._replace(pieces=SHARDS // self.shards) if division.exact else division

    def compile(self, parts: Parts, division: Division = WHOLE, *, streamed: bool) -> Epoch:
        """The compiled epoch; equal arguments share one program."""
        return _compile(self, parts, division, streamed)

    def columns(self, batch_size: int) -> slice:
        """The part of a batch that this process holds."""
        share = batch_size // self.shards * self.local_shards
        first = next(i for i, device in enumerate(self.devices) if device.process_index == jax.process_index())
        start = batch_size // self.shards * first
        return slice(start, start + share)

    def sharding(self, *axes: Any) -> NamedSharding:
        """Where an array goes whose leading axes are spread over the mesh's `axes`; none: a copy on every device."""
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def shardings(self, tree: Any) -> Any:
        """Where the leaves of a state (or a part of one) go."""
        return jax.tree_util.tree_map_with_path(self._of_leaf, tree)

    def replicate(self, tree: Any) -> Any:
        """Puts a tree, the same on every process, on every device."""
        # Not `device_put`, by which processes would compare what they have, each time.
        return self._placed(jax.tree.map(np.asarray, tree), self.sharding())

    def key(self, seed: int) -> jax.Array:
        """The root key of a seed, on every device. The seed is traced: every seed runs one program."""
        found: jax.Array = jax.jit(root_key, out_shardings=self.sharding())(np.uint32(seed))
        return found

    def shard(self, tree: Any) -> Any:
        """Puts this process's columns of arrays [B, ...] on its devices, each its part of the first axis."""
        return self._placed(tree, self.sharding(self.mesh.axis_names))

    def split(self, table: np.ndarray) -> Any:
        """Puts this process's columns of a table [S, B, ...] on its devices, as the compiled epoch takes it.

        For pmap that is an array of this process alone, [S, local devices, B / devices, ...].
        """
        if self.name != "pmap":
            return self._placed(table, self.sharding(None, self.mesh.axis_names))
        steps, columns = table.shape[:2]
        parted = table.reshape(steps, self.local_shards, columns // self.local_shards, *table.shape[2:])
        return jax.device_put(parted, NamedSharding(self.mesh.local_mesh, PartitionSpec(None, DATA)))

    def _placed(self, tree: Any, sharding: NamedSharding) -> Any:
        return jax.tree.map(lambda part: jax.make_array_from_process_local_data(sharding, part), tree)

    def _of_leaf(self, path: Any, leaf: Any) -> NamedSharding:
        axis = None
        if self.fsdp > 1:
            axis = partition(leaf_name(path), leaf.shape, self.fsdp, self.overrides)
        return self.sharding() if axis is None else self.sharding(*[None] * axis, FSDP)

    def team(self) -> Team:
        """What the devices do together inside the compiled loop."""
        if self.name == "jit":
            return ALONE
        if self.name == "pmap":
            total = functools.partial(lax.psum, axis_name=DATA)
            return ALONE._replace(sum=total, gather=functools.partial(lax.all_gather, axis_name=DATA, tiled=True))

        def spread(tree: Any, axis: int = 0) -> Any:
            return lax.with_sharding_constraint(tree, self.sharding(*[None] * axis, self.mesh.axis_names))

        def lend(params: Any, examples: int) -> Any:
            def one(leaf: jax.Array) -> jax.Array:
                return lax.with_sharding_constraint(leaf, self.sharding()) if travels(leaf.shape, examples) else leaf

            return jax.tree.map(one, params)

        def keep(tree: Any) -> Any:
            return lax.with_sharding_constraint(tree, self.shardings(tree))

        return ALONE._replace(spread=spread, keep=keep, lend=lend)


@functools.lru_cache(maxsize=PROGRAMS)
def _compile(placement: Placement, parts: Parts, division: Division, streamed: bool) -> Epoch:
    division = placement.divided(division)
    epoch, options = make_epoch(parts, placement.team(), division), repeatable(placement.devices[0], division)
    if placement.name != "pmap":
        compiled: Epoch = jax.jit(epoch, donate_argnums=0, compiler_options=options)
        return compiled
    rows = 1 if streamed else None
    parallel: Epoch = jax.pmap(
        epoch,
        axis_name=DATA,
        devices=list(placement.devices),
        in_axes=(
            None,
            None,
            Source(rows=rows, shift=None, divisor=None),  # type: ignore[arg-type]
            Order(example=1, size=None),  # type: ignore[arg-type]
            None,
            None,
            None,
            None,
        ),
        out_axes=None,
        donate_argnums=0,
    )
    if options is not None:  # which pmap itself cannot be given
        parallel = jax.jit(parallel, donate_argnums=0, compiler_options=options)
    if hosts.count() == 1:
        return parallel

    def joined(*arguments: Any) -> Any:
        # What pmap gives is an array of this process alone; what it takes may be one of all.
        return multihost_utils.host_local_array_to_global_array(parallel(*arguments), placement.mesh, PartitionSpec())

    return joined


def choose(
    name: str,
    *,
    fsdp: int | None = None,
    overrides: tuple[Override, ...] = (),
    exact: bool = False,
    state_bytes: Callable[[], int] = int,
) -> Placement:
    """The placement called `name` on all devices that there are.

    Args:
      name: jit, pmap, mesh, or auto: jit on one device and on CPU; pmap on several accelerators and in several
        processes; mesh where the state would take more than half of a device.
      fsdp: for mesh, devices over which a parameter is spread; None: all.
      overrides: for mesh, of the axis that is spread.
      exact: whether the exact mode is wanted, which a mesh does not have.
      state_bytes: tells the size of the state.

    Raises:
      ValueError: where the devices are not enough or do not divide.
    """
    devices = tuple(sorted(jax.devices(), key=lambda device: (device.process_index, device.id)))
    several = hosts.count() > 1
    if name == "auto":
        alone = len(devices) == 1 or (devices[0].platform == "cpu" and not several)
        name = "jit" if alone else "pmap" if exact or _holds(state_bytes) else "mesh"
    if name == "jit":
        if several:
            raise ValueError("train.placement=jit runs on one device of one process; use pmap or mesh for several")
        return Placement("jit", devices[:1])
    if name == "pmap":
        return Placement("pmap", devices)
    fsdp = fsdp or len(devices)
    if len(devices) % fsdp:
        raise ValueError(
            f"train.fsdp={fsdp} does not divide the number of devices, {len(devices)}; choose a divisor of it, or "
            "--train.fsdp None, which spreads over all of them"
        )
    return Placement("mesh", devices, fsdp, overrides)


def one_device() -> Placement:
    """The first device of this process: what a process uses for itself."""
    return Placement("jit", tuple(jax.local_devices()[:1]))


def device_bytes() -> int | None:
    """Memory of the smallest device of all processes, which decide by it alike; None on CPU, where it is the host's."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return None
    mebibytes = (device.memory_stats() or {}).get("bytes_limit", 0) >> 20
    return int(hosts.agree(np.int32(mebibytes)).min()) << 20 or None


def _holds(state_bytes: Callable[[], int]) -> bool:
    """Whether a device can hold the whole state and has as much again for gradients and activations."""
    limit = device_bytes()
    return limit is None or 2 * state_bytes() <= limit
