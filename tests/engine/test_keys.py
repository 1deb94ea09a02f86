"""Derived keys."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from aeflax import noise
from aeflax.engine.keys import Keys, Split, Stream, root_key

EXAMPLES = jnp.array([0, 1, 2**31 - 1, -1])


def words(keys):
    return [tuple(row) for row in np.asarray(jax.random.key_data(keys))]


def test_no_two_draws_share_a_key():
    found = []
    streams = [stream for stream in Stream if stream is not Stream.BINARIZE_ONCE]
    for stream, step, seed in itertools.product(streams, (0, 1, 2**31 - 1), (0, 1)):
        found += words(Keys(root_key(seed), step, EXAMPLES).of(stream))
    for split in Split:
        found += words(Keys(root_key(0), 0, EXAMPLES, split).constant(Stream.BINARIZE_ONCE))
        found += words(Keys.of_evaluation(root_key(0), split, EXAMPLES).of(Stream.LATENT))
    assert len(set(found)) == len(found)


def test_bits_do_not_depend_on_jaxs_default_generator():
    expected = np.asarray(noise.uniform(Keys(root_key(3), 5, EXAMPLES).of(Stream.CORRUPTION), 7))
    with jax.default_prng_impl("rbg"):
        keys = Keys(root_key(3), 5, EXAMPLES)
        np.testing.assert_array_equal(noise.uniform(keys.of(Stream.CORRUPTION), 7), expected)
        noise.uniform(keys.constant(Stream.BINARIZE_ONCE), 7)


def test_the_keys_of_a_seed_are_what_they_were():
    """Golden: a run resumed by a later version must draw the same; recorded with JAX 0.10.2, equal on 0.12.0."""
    key = Keys(root_key(1), 2, jnp.array([3])).of(Stream.LATENT)
    root = jax.random.key(1, impl="threefry2x32")
    for number in (2, 2, 3):  # stream LATENT, step, example
        root = jax.random.fold_in(root, number)
    assert words(key) == words(root[None])
