"""An experiment made ready to run: its parts, its numbers, its root key and its devices."""

from dataclasses import dataclass

import jax

from aeflax.build import Built, build, hyper
from aeflax.config import Experiment
from aeflax.engine.keys import root_key
from aeflax.engine.placement import Placement, choose
from aeflax.engine.state import Hyper, PyTree, TrainState, init_state
from aeflax.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Program:
    """What training, evaluation and use of one model share. The experiment is a resolved one."""

    experiment: Experiment
    built: Built
    hyper: Hyper
    key: jax.Array
    placement: Placement

    def initial_state(self, weights: PyTree | None = None) -> TrainState:
        """The state before the first step, on the devices.

        Args:
          weights: (params, model state) to begin with; None draws them.
        """
        state = jax.jit(init_state, static_argnums=0)(self.built.parts, self.key, self.hyper, weights)
        return self.placement.replicate(state)  # type: ignore[no-any-return]

    def template(self) -> TrainState:
        """Shapes and dtypes of the state."""
        shapes: TrainState = jax.eval_shape(self.initial_state)
        return shapes

    def require_shares(self) -> None:
        """Raises ConfigError unless a batch divides over the devices."""
        try:
            self.placement.require_shares(self.experiment.data.batch_size)
        except ValueError as error:
            raise ConfigError(str(error)) from error


def prepare(experiment: Experiment, shape: tuple[int, ...]) -> Program:
    """The program of a resolved experiment for examples of a shape."""
    return Program(
        experiment,
        build(experiment, shape),
        hyper(experiment),
        root_key(experiment.train.seed),
        choose(experiment.train.placement),
    )
