"""Many models of one structure as one compiled program: the epoch of a single run, for each of its members.

Accelerators compute them at once, a processor in turn: two cores took 6 % (dense) to 50 % (convolutional) longer for
many at once.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from aeflax.engine.compiling import repeatable
from aeflax.engine.epoch import Epoch, make_epoch
from aeflax.engine.state import Order, Parts, PyTree, Source, TrainState
from aeflax.engine.step import Sums, zero_sums
from aeflax.engine.team import ALONE, Division
from aeflax.models.convolution import many_kernels
from aeflax.program import Program

MEMBERS = "members"
AXES = (0, 0, None, Order(example=0, size=None), None, None, 0, 0)  # type: ignore[arg-type]  # of an epoch's arguments


class Population:
    """Members' programs, which share their structure, as one. States and sums carry an axis of members in front.

    The members are spread over the devices, and never ask each other anything. Where they do not come out even, the
    last one is computed again in the places that are left.

    Args:
      programs: one a member, each as it would run alone on one device.
      rows: the stored training examples [N, F], of which every device gets a copy.
      scaling: (shift, divisor) of each feature.
    """

    def __init__(self, programs: Sequence[Program], rows: np.ndarray, scaling: tuple[np.ndarray, np.ndarray]) -> None:
        self.programs = tuple(programs)
        self._each, self._all = _places(len(programs))
        self._epoch = compiled(programs, rows, scaling)
        self._hyper = self.stacked([program.hyper for program in programs])
        keys = self._filled([program.key for program in programs])
        self._key = jax.device_put(jax.numpy.stack(keys), self._each)
        shift, divisor = jax.device_put(scaling, self._all)
        self._source = Source(rows=jax.device_put(rows, self._all), shift=shift, divisor=divisor)

    def __str__(self) -> str:
        devices = self._all.mesh.devices.size
        models = "1 model" if len(self.programs) == 1 else f"{len(self.programs)} models"
        return f"{models} on {devices} × {jax.local_devices()[0].device_kind}"

    def stacked(self, trees: Sequence[PyTree]) -> Any:
        """Members' trees as one, on the devices."""
        held = self._filled(jax.device_get(list(trees)))
        return jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *held), self._each)

    def initial_state(self) -> TrainState:
        """The state before the first step: each member's is drawn as it would be alone, to the bit."""
        state: TrainState = self.stacked([jax.device_get(program.initial_state()) for program in self.programs])
        return state

    def zero_sums(self) -> Sums:
        """Accumulators of one record's metrics, on the devices."""
        sums: Sums = self.stacked([zero_sums(self.programs[0].built.parts)] * len(self.programs))
        return sums

    def order(self, example: Sequence[np.ndarray], size: np.ndarray) -> Order:
        """Every member's batches of an epoch [S, B], and the examples that a step has [S], on the devices."""
        return Order(self.stacked(example), jax.device_put(size, self._all))

    def run(self, state: TrainState, sums: Sums, order: Order, first: int, count: int) -> tuple[TrainState, Sums]:
        """Runs rows first .. first + count - 1 of the order for every member; the state is donated."""
        steps = np.int32(first), np.int32(count)
        trained: tuple[TrainState, Sums] = self._epoch(state, sums, self._source, order, *steps, self._key, self._hyper)
        return trained

    def _filled(self, each: Sequence[Any]) -> list[Any]:
        return [*each, *[each[-1]] * (_width(len(each), len(self._each.device_set)) - len(each))]


def members_of(stacked: PyTree, count: int) -> list[PyTree]:
    """Each member's own tree, on the host."""
    held = jax.device_get(stacked)
    return [jax.tree.map(operator.itemgetter(index), held) for index in range(count)]


def compiled(programs: Sequence[Program], rows: np.ndarray, scaling: tuple[np.ndarray, np.ndarray]) -> Any:
    """The mapped epoch of some members, compiled and not run; populations of the same shapes share it."""
    first, (each, everywhere) = programs[0], _places(len(programs))
    count = _width(len(programs), len(each.device_set))

    def stacked(tree: PyTree) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype, sharding=each), tree)

    def shared(*shape: int, dtype: Any = np.int32) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=everywhere)

    batch, steps = first.experiment.data.batch_size, first.experiment.data.steps_per_epoch(len(rows))
    shift, divisor = (shared(*part.shape, dtype=part.dtype) for part in scaling)
    arguments = (
        stacked(first.template()),
        stacked(zero_sums(first.built.parts)),
        Source(rows=shared(*rows.shape, dtype=rows.dtype), shift=shift, divisor=divisor),
        Order(stacked(jax.ShapeDtypeStruct((steps, batch), np.int32)), shared(steps, dtype=np.float32)),
        shared(),
        shared(),
        stacked(first.key),
        stacked(first.hyper),
    )
    leaves, structure = jax.tree.flatten(arguments)
    division = first.placement.divided(first.division)
    return _compiled(first.built.parts, division, tuple(leaves), structure)


def _places(members: int) -> tuple[NamedSharding, NamedSharding]:
    """Where an axis of members lies, and where what all of them share."""
    mesh = Mesh(np.array(jax.local_devices()[:members]), (MEMBERS,))
    return NamedSharding(mesh, P(MEMBERS)), NamedSharding(mesh, P())


def _width(members: int, devices: int) -> int:
    """Of the axis of members: every device holds as many."""
    return -(-members // devices) * devices


@functools.lru_cache(maxsize=256)  # all of a sweep's are compiled before the first one is trained
def _compiled(parts: Parts, division: Division, leaves: tuple[Any, ...], structure: Any) -> Callable[..., Any]:
    epoch, device = make_epoch(parts, ALONE, division), jax.local_devices()[0]
    # One model keeps a processor busy and its numbers in the cache; alone on an accelerator it waits for kernels.
    members = _in_turn(epoch, leaves[0].sharding.mesh) if device.platform == "cpu" else _at_once(epoch)
    jitted = jax.jit(members, donate_argnums=0, compiler_options=repeatable(device, division))
    program: Callable[..., Any] = jitted.lower(*jax.tree.unflatten(structure, leaves)).compile()
    return program


def _at_once(epoch: Epoch) -> Epoch:
    """Every operation of an epoch for all members together."""

    def members(*arguments: Any) -> tuple[TrainState, Sums]:
        with many_kernels():
            return jax.vmap(epoch, in_axes=AXES)(*arguments)

    return members


def _in_turn(epoch: Epoch, mesh: Mesh) -> Epoch:
    """On each device the epoch of one of its members after the other."""

    def members(
        state: TrainState, sums: Sums, source: Source, order: Order, first: Any, count: Any, key: jax.Array, hyper: Any
    ) -> tuple[TrainState, Sums]:
        def one(index: jax.Array, held: tuple[TrainState, Sums]) -> tuple[TrainState, Sums]:
            every = (*held, order.example, key, hyper)
            own, told, example, own_key, own_hyper = jax.tree.map(lambda leaf: leaf[index], every)
            made = epoch(own, told, source, Order(example, order.size), first, count, own_key, own_hyper)
            # In its place: no state is kept twice.
            put = functools.partial(jax.lax.dynamic_update_index_in_dim, index=index, axis=0)
            replaced: tuple[TrainState, Sums] = jax.tree.map(put, held, made)
            return replaced

        return jax.lax.fori_loop(0, len(order.example), one, (state, sums))  # type: ignore[no-any-return]

    places = jax.tree.map(lambda axis: P() if axis is None else P(MEMBERS), AXES, is_leaf=lambda axis: axis is None)
    return jax.shard_map(members, mesh=mesh, in_specs=places, out_specs=P(MEMBERS), check_vma=False)
