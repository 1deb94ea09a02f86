"""The one order of examples."""

import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflax.data.order import order_sha256, permutation

LARGEST_SEED = 2**32 - 1


@settings(deadline=None)
@given(st.integers(0, LARGEST_SEED), st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_an_order_visits_each_example_once(seed, epoch, examples):
    order = permutation(seed, epoch, examples)
    assert order.dtype == np.int32
    assert sorted(order.tolist()) == list(range(examples))


@settings(deadline=None)
@given(st.integers(0, LARGEST_SEED), st.integers(0, 2**32 - 1), st.integers(1, 3000))
def test_an_order_is_numpys_own_permutation_in_a_quarter_of_its_memory(seed, epoch, examples):
    state = np.random.RandomState(np.array([seed, 0, epoch], np.uint32))
    assert permutation(seed, epoch, examples).tolist() == state.permutation(examples).tolist()


def test_making_an_order_takes_little_more_than_the_order():
    tracemalloc.start()
    try:
        order = permutation(0, 0, 10**6)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.1 * order.nbytes


def test_an_order_is_the_same_at_every_call():
    assert permutation(3, 5, 1000).tolist() == permutation(3, 5, 1000).tolist()


def test_asking_for_an_order_leaves_the_global_random_state_alone():
    np.random.seed(0)  # noqa: NPY002 - the global state is the point
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    permutation(1, 2, 100)
    assert np.random.rand() == expected  # noqa: NPY002


def test_every_epoch_has_its_own_order():
    orders = {tuple(permutation(0, epoch, 100)) for epoch in range(50)}
    assert len(orders) == 50


def test_every_seed_has_its_own_order_up_to_the_largest():
    seeds = [0, 1, 2, 2**16, 2**31, LARGEST_SEED - 1, LARGEST_SEED]
    orders = {tuple(permutation(seed, 0, 100)) for seed in seeds}
    assert len(orders) == len(seeds)


def test_the_epoch_is_not_just_added_to_the_seed():
    assert permutation(0, 1, 100).tolist() != permutation(1, 0, 100).tolist()


# NumPy 2.4's RandomState([seed, 0, epoch]).permutation(8); NEP 19 freezes its stream.
@pytest.mark.parametrize(
    ("seed", "golden"),
    [
        (0, [2, 6, 0, 4, 1, 3, 5, 7]),
        (1, [6, 2, 3, 7, 1, 4, 5, 0]),
        (LARGEST_SEED, [1, 7, 5, 0, 3, 4, 6, 2]),
    ],
)
def test_the_first_order_of_a_seed_never_changes(seed, golden):
    assert permutation(seed, 0, 8).tolist() == golden


@pytest.mark.parametrize(
    ("seed", "epoch", "examples"), [(0, 1, 10), (1, 1, 100), (7, 2**32 - 1, 9), (LARGEST_SEED, 3, 50)]
)
def test_an_order_is_a_fisher_yates_shuffle_by_the_mersenne_twister(seed, epoch, examples):
    # The standard library seeds the same generator with the 32-bit words of an integer, so it is an independent source.
    twister = random.Random(seed | epoch << 64)
    expected = list(range(examples))
    for last in range(examples - 1, 0, -1):
        other = last + 1
        while other > last:  # a draw of as many bits as `last` has, until it is small enough
            other = twister.getrandbits(32) & (1 << last.bit_length()) - 1
        expected[last], expected[other] = expected[other], expected[last]
    assert permutation(seed, epoch, examples).tolist() == expected


def test_the_digest_of_an_order_is_that_of_this_function_in_every_version():
    """RandomState's stream never changes (NEP 19): another digest is another order, and no run could be resumed."""
    assert order_sha256(0, 10) == "ef06b7ac33a214cd1d407fdd0204be775893c516e55c61640d45ecac2dae94e9"
    assert len({order_sha256(0, 10), order_sha256(1, 10), order_sha256(0, 11), order_sha256(0, 4096)}) == 4
    assert order_sha256(0, 4096) == order_sha256(0, 10**9)
