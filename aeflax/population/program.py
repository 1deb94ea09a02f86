"""Many models of one structure as one compiled program: the epoch of a single run, mapped over its members."""

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from aeflax.engine.epoch import Epoch, make_epoch
from aeflax.engine.placement import repeatable
from aeflax.engine.state import Order, Parts, PyTree, Source, TrainState
from aeflax.engine.step import Sums, zero_sums
from aeflax.engine.team import ALONE, Division
from aeflax.models.convolution import many_kernels
from aeflax.program import Program

MEMBERS = "members"


class Population:
    """Members' programs, which share their structure, as one. States and sums carry an axis of members in front.

    The members are spread over the devices that divide them, and never ask each other anything.

    Args:
      programs: one a member, each as it would run alone on one device.
      rows: the stored training examples [N, F], of which every device gets a copy.
      scaling: (shift, divisor) of each feature.
    """

    def __init__(self, programs: Sequence[Program], rows: np.ndarray, scaling: tuple[np.ndarray, np.ndarray]) -> None:
        self.programs = tuple(programs)
        devices = jax.local_devices()
        used = devices[: math.gcd(len(programs), len(devices))]
        mesh = Mesh(np.array(used), (MEMBERS,))
        self._each, self._all = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((MEMBERS,), ()))
        first = programs[0]
        self.epoch = _compiled(first.built.parts, first.division)
        self._hyper = self.stacked([program.hyper for program in programs])
        self._key = jax.device_put(jax.numpy.stack([program.key for program in programs]), self._each)
        shift, divisor = jax.device_put(scaling, self._all)
        self._source = Source(rows=jax.device_put(rows, self._all), shift=shift, divisor=divisor)

    def __str__(self) -> str:
        devices = self._all.mesh.devices.size
        return f"{len(self.programs)} models on {devices} × {jax.local_devices()[0].device_kind}"

    def stacked(self, trees: Sequence[PyTree]) -> Any:
        """Members' trees as one, on the devices."""
        return jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(trees)), self._each)

    def initial_state(self) -> TrainState:
        """The state before the first step: each member's is drawn as it would be alone, to the bit."""
        state: TrainState = self.stacked([jax.device_get(program.initial_state()) for program in self.programs])
        return state

    def zero_sums(self) -> Sums:
        """Accumulators of one record's metrics, on the devices."""
        sums: Sums = self.stacked([zero_sums(self.programs[0].built.parts)] * len(self.programs))
        return sums

    def order(self, example: np.ndarray, size: np.ndarray) -> Order:
        """Every member's batches [M, S, B], and the examples that a step has [S], on the devices."""
        return Order(jax.device_put(example, self._each), jax.device_put(size, self._all))

    def run(self, state: TrainState, sums: Sums, order: Order, first: int, count: int) -> tuple[TrainState, Sums]:
        """Runs rows first .. first + count - 1 of the order for every member; the state is donated."""
        return self.epoch(state, sums, self._source, order, first, count, self._key, self._hyper)


def members_of(stacked: PyTree, count: int) -> list[PyTree]:
    """Each member's own tree, on the host."""
    held = jax.device_get(stacked)
    return [jax.tree.map(operator.itemgetter(index), held) for index in range(count)]


@functools.lru_cache(maxsize=32)
def _compiled(parts: Parts, division: Division) -> Epoch:
    epoch = make_epoch(parts, ALONE, division)
    order = Order(example=0, size=None)  # type: ignore[arg-type]

    def mapped(*arguments: Any) -> tuple[TrainState, Sums]:
        with many_kernels():
            return jax.vmap(epoch, in_axes=(0, 0, None, order, None, None, 0, 0))(*arguments)

    options = repeatable(jax.local_devices()[0], division)
    compiled: Epoch = jax.jit(mapped, donate_argnums=0, compiler_options=options)
    return compiled
