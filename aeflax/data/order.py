"""The one order of examples: (seed, epoch) -> permutation of N, on the host, for resident and streamed data alike."""

import hashlib

import numpy as np

FINGERPRINTED = 4096  # examples, which takes no time


def permutation(seed: int, epoch: int, examples: int) -> np.ndarray:
    """The order of an epoch, [N] int32, for a seed below 2^32.

    `RandomState` and not `Generator`: NumPy promises that its stream never changes (NEP 19), so an order is
    the same for every NumPy version.
    """
    words = np.array([seed, 0, epoch], np.uint32)  # the seed's upper word, which is 0
    order = np.arange(examples, dtype=np.int32)
    np.random.RandomState(words).shuffle(order)  # `permutation` does the same, with 12 bytes an example more
    return order


def order_sha256(seed: int, examples: int) -> str:
    """Digest of the first order, of so many examples or their beginning: another one would be another training."""
    return hashlib.sha256(permutation(seed, 0, min(examples, FINGERPRINTED)).tobytes()).hexdigest()
