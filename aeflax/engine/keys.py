"""Random keys, derived and never carried: a checkpoint needs none.

A draw is addressed by (root, stream, step, example). The example is its global index in the data set, so the
noise that an example meets does not depend on the batch size's split, the placement or the device count.
"""

from enum import IntEnum
from typing import NamedTuple

import jax
import numpy as np

IMPLEMENTATION = "threefry2x32"  # its bits do not depend on how a batch is split or mapped


def root_key(seed: int | np.uint32) -> jax.Array:
    """The key that every draw of a run is derived from, whatever JAX's default generator is."""
    return jax.random.key(seed, impl=IMPLEMENTATION)


class Stream(IntEnum):
    """Purposes of randomness; two purposes never share a key."""

    INIT = 0
    CORRUPTION = 1
    LATENT = 2
    BINARIZE = 3
    EVALUATION = 4
    BINARIZE_ONCE = 5  # the only one used with `Keys.constant`
    PRIOR = 6  # of codes to be decoded; `example` counts them
    SCORING = 7  # of posteriors that give an anomaly score; `step` counts the samples of an example


class Split(IntEnum):
    """Parts of a data set; index i of one split is another example than index i of the next."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


class Keys(NamedTuple):
    """Addresses the draws of one batch: `example` [B] holds global indices, -1 where a row is padding."""

    root: jax.Array
    step: jax.Array | int
    example: jax.Array
    split: jax.Array | np.int32 | int = Split.TRAIN

    @classmethod
    def of_evaluation(cls, root: jax.Array, split: jax.Array | np.int32 | int, example: jax.Array) -> "Keys":
        """Addresses the draws of evaluation, the same whenever a split is evaluated."""
        return cls(jax.random.fold_in(jax.random.fold_in(root, Stream.EVALUATION), split), 0, example, split)

    def of(self, stream: Stream) -> jax.Array:
        """One key an example [B], fresh at every step."""
        return self._each(jax.random.fold_in(jax.random.fold_in(self.root, stream), self.step))

    def constant(self, stream: Stream) -> jax.Array:
        """One key an example [B], the same at every step and for every seed: for what belongs to the data."""
        return self._each(jax.random.fold_in(jax.random.fold_in(root_key(0), stream), self.split))

    def _each(self, key: jax.Array) -> jax.Array:
        return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, self.example)
