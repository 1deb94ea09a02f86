"""The n-th largest over a batch, against a sort."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflax.models.selection import largest


def select(values, share, weight=None, *, per_unit):
    """Marks and threshold, with the engine's mean: without padding."""
    weight = jnp.ones(len(values)) if weight is None else weight

    def mean(marks):
        return jnp.tensordot(weight, marks, axes=1) / weight.sum()

    over = mean if per_unit else lambda marks: mean(jnp.sum(marks, axis=-1))
    return jax.device_get(jax.jit(lambda x, share: largest(x, share, over))(values, jnp.float32(share)))


def sorted_threshold(values, count):
    """The count-th largest value, by sorting; 0 beyond the last positive one."""
    order = np.sort(values.ravel())[::-1]
    return order[count - 1] if count <= order.size else np.float32(0)


# Few values, so that ties and zeros are frequent; denormals and the largest float among them.
VALUES = st.sampled_from([0.0, 1e-45, 1e-38, 0.25, 0.5, 0.5000001, 1.0, 7.0, 3.4e38])
BATCHES = st.lists(st.lists(VALUES, min_size=5, max_size=5), min_size=7, max_size=7)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(BATCHES, st.integers(1, 40), st.integers(1, 7))
def test_the_threshold_is_the_one_that_sorting_gives(rows, kept, examples):
    """With ties, zeros, padding of the largest values, and more to keep than there are positive values."""
    values = np.array(rows, np.float32)
    weight = (np.arange(7) < examples).astype(np.float32)
    values[examples:] = 3.4e38
    marks, threshold = select(values, kept / examples, weight, per_unit=False)
    expected = sorted_threshold(values[:examples], kept)
    assert threshold == expected
    np.testing.assert_array_equal(marks, values >= expected)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(BATCHES, st.floats(0.01, 1.0), st.integers(1, 7))
def test_each_unit_keeps_its_own_share(rows, rate, examples):
    """The smallest number of examples that reaches the rate."""
    values = np.array(rows, np.float32)
    weight = (np.arange(7) < examples).astype(np.float32)
    _, threshold = select(values, rate, weight, per_unit=True)
    count = int(np.ceil(rate * examples * (1 - 1e-6)))
    np.testing.assert_array_equal(threshold, [sorted_threshold(unit, count) for unit in values[:examples].T])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("examples", "rate", "kept"), [(100, 0.05, 5), (60_000, 0.05, 3000), (3, 1 / 3, 1), (7, 1.0, 7)]
)
def test_a_share_that_is_a_whole_number_keeps_that_number(examples, rate, kept):
    values = np.random.RandomState(0).rand(examples, 2).astype(np.float32)
    marks, _ = select(values, rate, per_unit=True)
    np.testing.assert_array_equal(marks.sum(axis=0), [kept, kept])


def test_a_selection_has_no_gradient_of_its_own():
    def total(values):
        marks, threshold = largest(values, jnp.float32(2.0), lambda m: jnp.mean(jnp.sum(m, -1)))
        return jnp.sum(values * marks) + threshold

    values = jnp.array([[1.0, 4.0, 3.0], [2.0, 0.0, 5.0]])
    np.testing.assert_array_equal(jax.grad(total)(values), [[0, 1, 1], [1, 0, 1]])
