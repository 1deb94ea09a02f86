"""An experiment made ready to run: its parts, its numbers, its root key and its devices."""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax

from aeflax.build import Built, build, hyper
from aeflax.config import Experiment
from aeflax.engine.epoch import Epoch
from aeflax.engine.feed import Chunk
from aeflax.engine.keys import root_key
from aeflax.engine.placement import Placement, choose
from aeflax.engine.sharding import override, require_matches
from aeflax.engine.state import Hyper, PyTree, TrainState, create, init_state, leaf_name
from aeflax.engine.step import Sums, zero_sums
from aeflax.engine.team import Division
from aeflax.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Program:
    """What training, evaluation and use of one model share. The experiment is a resolved one."""

    experiment: Experiment
    built: Built
    hyper: Hyper
    key: jax.Array
    placement: Placement

    @property
    def division(self) -> Division:
        """Into what a device's share of a batch is cut."""
        train = self.experiment.train
        return Division(train.accumulate, train.exact)

    def compile(self, *, streamed: bool) -> Epoch:
        """The compiled epoch of training."""
        return self.placement.compile(self.built.parts, self.division, streamed=streamed)

    def arguments(self, chunk: Chunk) -> tuple[Any, ...]:
        """What the compiled epoch takes behind the state and the sums, to run a chunk."""
        return chunk.source, chunk.order, chunk.first, chunk.steps, self.key, self.hyper

    def initial_state(self, weights: PyTree | None = None) -> TrainState:
        """The state before the first step, on the devices.

        Args:
          weights: (params, model state) to begin with; None draws them.
        """
        where = self.placement.shardings(self._shapes)
        return create(self.built.parts, self.key, self.hyper, weights, where=where)

    def template(self) -> TrainState:
        """Shapes, dtypes and places of the state."""
        where = self.placement.shardings(self._shapes)
        template: TrainState = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), self._shapes, where
        )
        return template

    def zero_sums(self) -> Sums:
        """Accumulators of one record's metrics, on the devices."""
        return self.placement.replicate(zero_sums(self.built.parts))  # type: ignore[no-any-return]

    def require_shares(self) -> None:
        """Raises ConfigError unless a batch divides over the devices, and the state as it was asked to."""
        with _as_config_error():
            self.placement.require_shares(self.experiment.data.batch_size, self.division)
            self.placement.shardings(self._shapes)
            named = jax.tree_util.tree_leaves_with_path(self._shapes.params)
            paths = [leaf_name(path) for path, _ in named]
            require_matches(self.placement.overrides, paths)

    def on(self, placement: Placement) -> "Program":
        """The same program on other devices."""
        return _place(self.experiment, self.built, placement)

    @functools.cached_property
    def _shapes(self) -> TrainState:
        return _shapes(self.built, self.hyper)


def _shapes(built: Built, numbers: Hyper) -> TrainState:
    """Shapes and dtypes of a model's training state."""
    state: TrainState = jax.eval_shape(functools.partial(init_state, built.parts), root_key(0), numbers)
    return state


def prepare(experiment: Experiment, shape: tuple[int, ...]) -> Program:
    """The program of a resolved experiment for examples of a shape.

    Raises:
      ConfigError: where the devices do not suit the placement.
    """
    built, train = build(experiment, shape), experiment.train

    def state_bytes() -> int:
        leaves = jax.tree.leaves(_shapes(built, hyper(experiment)))
        return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)

    with _as_config_error():
        placement = choose(
            train.placement,
            fsdp=train.fsdp,
            overrides=tuple(map(override, train.sharding)),
            exact=train.exact,
            state_bytes=state_bytes,
        )
    return _place(experiment, built, placement)


def _place(experiment: Experiment, built: Built, placement: Placement) -> Program:
    key = placement.key(experiment.train.seed)
    return Program(experiment, built, placement.replicate(hyper(experiment)), key, placement)


@contextmanager
def _as_config_error() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(error)) from error
