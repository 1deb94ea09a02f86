"""Per-feature noise and the corruption processes built on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aeflax import corruption, noise
from aeflax.errors import ConfigError
from aeflax.own_parts import depends_on_rows, draws_again, require_addressed

KEYS = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(2000))
KEY = jax.random.key(7)
IMAGES = jnp.full((2000, 5, 5, 2), 0.5)


def mix(x):
    """lowbias32 in Python integers."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return x ^ (x >> 16)


def test_noise_is_the_documented_hash_of_the_examples_key():
    """The stream is part of the contract: a run resumed with another version must meet the same noise."""
    first, second = (int(word) for word in jax.random.key_data(KEYS[3]))
    words = [mix(mix((first + i * 0x9E3779B9) & 0xFFFFFFFF) ^ second) for i in range(4)]
    expected = [np.float32((word >> 9) * 2.0**-23 + 2.0**-24) for word in words]
    np.testing.assert_array_equal(noise.uniform(KEYS, 4)[3], expected)


def test_uniform_noise_is_uniform_and_open():
    draw = np.asarray(noise.uniform(KEYS, 50))
    assert draw.min() > 0
    assert draw.max() < 1
    assert stats.kstest(draw.ravel(), "uniform").pvalue > 1e-3  # fixed keys: fails for good or never


def test_normal_noise_is_normal_and_finite():
    draw = np.asarray(noise.normal(KEYS, 50))
    assert np.isfinite(draw).all()
    assert stats.kstest(draw.ravel(), "norm").pvalue > 1e-3


def test_features_and_examples_are_uncorrelated():
    draw = np.asarray(noise.normal(KEYS, 30))
    for matrix in (draw, draw[:30].T):
        correlation = np.corrcoef(matrix, rowvar=False) - np.eye(matrix.shape[1])
        assert np.abs(correlation).max() < 5 / np.sqrt(len(matrix))


def test_noise_of_an_example_does_not_depend_on_its_batch():
    np.testing.assert_array_equal(noise.uniform(KEYS, 9)[5:7], noise.uniform(KEYS[5:7], 9))


def test_gaussian_has_the_asked_deviation_and_clips_only_when_asked():
    free = corruption.gaussian(clip=False)(KEYS, IMAGES, {"sigma": jnp.float32(0.4)})
    clipped = corruption.gaussian(clip=True)(KEYS, IMAGES, {"sigma": jnp.float32(0.4)})
    assert abs(float(jnp.std(free - IMAGES)) - 0.4) < 0.005
    assert float(free.min()) < 0 < 1 < float(free.max())
    np.testing.assert_array_equal(clipped, np.clip(free, 0, 1))


def test_masking_zeroes_the_asked_share_and_keeps_the_rest():
    masked = np.asarray(corruption.masking(KEYS, IMAGES, {"rate": jnp.float32(0.3)}))
    assert set(np.unique(masked)) == {0.0, 0.5}
    assert abs(np.mean(masked == 0) - 0.3) < 0.01


def test_salt_and_pepper_are_equally_frequent():
    noisy = np.asarray(corruption.salt_pepper(KEYS, IMAGES, {"rate": jnp.float32(0.2)}))
    assert abs(np.mean(noisy == 0) - 0.1) < 0.005
    assert abs(np.mean(noisy == 1) - 0.1) < 0.005


@pytest.mark.parametrize("low", [0.1, 0.5])
def test_a_range_draws_each_examples_level_uniformly(low):
    wide = jnp.full((2000, 400), 0.5)
    masked = corruption.masking(KEYS, wide, {"rate": jnp.float32(0.5), "rate_min": jnp.float32(low)})
    rates = np.mean(np.asarray(masked) == 0, axis=1)
    assert abs(rates.mean() - (low + 0.5) / 2) < 0.01
    spread = np.sqrt((0.5 - low) ** 2 / 12 + np.mean(rates * (1 - rates)) / 400)  # of the level, and of 400 draws
    np.testing.assert_allclose(rates.std(), spread, rtol=0.05)


def test_no_corruption_is_the_identity():
    assert corruption.identity(KEYS, IMAGES, {}) is IMAGES


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 7), (3, 4, 5, 2)])
@pytest.mark.parametrize(
    ("process", "values"),
    [
        (corruption.gaussian(clip=True), {"sigma": jnp.float32(0.1)}),
        (corruption.masking, {"rate": jnp.float32(0.5)}),
        (corruption.salt_pepper, {"rate": jnp.float32(0.5)}),
    ],
)
def test_vectors_and_images_keep_their_shape(process, values, shape):
    assert process(KEYS[:3], jnp.full(shape, 0.5), values).shape == shape


def _vmapped(keys, images):
    return images + jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys)


def _where_a_key_of_its_own_says(keys, images):
    where = jax.random.bernoulli(KEY, 0.5, images.shape[1:])
    return jnp.where(where, images, noise.normal(keys, 50).reshape(images.shape))


def _by_a_constant(keys, images):
    return jax.nn.gelu(images) * np.random.RandomState(3).rand(5, 1, 1).astype(np.float32)


def _by_numpy(keys, images):
    return images + np.random.default_rng().normal(size=images.shape).astype(np.float32)


def _by_a_key_of_its_own(keys, images):
    return images + jax.random.normal(KEY, images.shape)


@pytest.mark.parametrize(
    "process", [_vmapped, _where_a_key_of_its_own_says, _by_a_constant, lambda keys, images: images[:, ::-1]]
)
def test_what_draws_by_its_keys_or_not_at_all_is_fine(process):
    for given in (process, jax.jit(process)):
        require_addressed("it", given, KEYS[:2], IMAGES[:2])


@pytest.mark.parametrize(
    ("process", "said"), [(_by_numpy, "from NumPy"), (_by_a_key_of_its_own, "`keys` have no part")]
)
def test_noise_that_is_the_same_at_every_step_is_refused(process, said):
    for given in (process, jax.jit(process)):
        with pytest.raises(ConfigError, match=said):
            require_addressed("it", given, KEYS[:2], IMAGES[:2])


def shared_draw(keys, images):
    return images + noise.normal(keys[:1], 50).reshape(1, *images.shape[1:])


@pytest.mark.parametrize(
    ("process", "why"),
    [
        (lambda keys, images: images[::-1], "the others of its batch"),
        (lambda keys, images: images - images.mean(0), "the others of its batch"),
        (shared_draw, "the others of its batch"),
        (lambda keys, images: images + np.random.default_rng(0).normal(size=images.shape), "its place in the batch"),
    ],
    ids=["reversed", "centred", "one key for all", "a draw of the batch's shape"],
)
def test_a_corruption_that_depends_on_rows_is_known(process, why):
    assert depends_on_rows(process, KEYS[:3], jax.random.uniform(KEY, (3, 5, 5, 2))) == why


@pytest.mark.parametrize("name", ["gaussian", "masking", "salt_pepper"])
def test_corruptions_mix_no_rows(name):
    values = {"sigma": 0.3, "sigma_min": 0.1, "rate": 0.4, "rate_min": 0.1}
    process = corruption.gaussian(clip=True) if name == "gaussian" else getattr(corruption, name)
    assert not depends_on_rows(process, KEYS[:3], jax.random.uniform(KEY, (3, 5, 5, 2)), values)


def test_keys_are_split_for_draws_that_are_independent():
    keys = jax.random.split(jax.random.key(5), 4_000)
    first, second = (np.asarray(noise.uniform(of, 3)) for of in noise.split(keys, 2))
    alone = np.asarray(noise.uniform(noise.split(keys[7:9], 2)[1], 3))
    np.testing.assert_array_equal(alone, second[7:9])
    together = np.corrcoef(np.concatenate([first, second, np.asarray(noise.normal(keys, 3))], axis=1).T)
    assert np.abs(together - np.eye(9)).max() < 5 / np.sqrt(4_000)  # five standard errors of a correlation


@pytest.mark.parametrize(
    ("process", "again"),
    [
        (lambda keys, images: images + noise.normal(keys, 50).reshape(images.shape), False),
        (lambda keys, images: (noise.uniform(keys, 50) + noise.normal(keys, 50)).reshape(images.shape), True),
        (lambda keys, images: sum(noise.normal(k, 50) for k in noise.split(keys, 2)).reshape(images.shape), False),
        (lambda keys, images: jax.vmap(jax.random.uniform)(keys) + noise.uniform(keys, 1), True),
    ],
    ids=["once", "twice", "split", "in two ways"],
)
def test_two_draws_from_the_same_keys_are_known(process, again):
    for given in (process, jax.jit(process)):
        assert draws_again(given, KEYS[:2], IMAGES[:2]) == again


def test_what_has_no_number_is_no_difference():
    assert not depends_on_rows(lambda keys, images: images * jnp.nan, KEYS[:3], IMAGES[:3])
