"""Rows in memory or not, and lazy views of them."""

import functools
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeflax.data import rows
from aeflax.data.rows import Between, Lazy, Listed, Spaced, blocks, joined, take

VALUES = np.arange(60, dtype=np.float32).reshape(20, 3)


def lazy(values=VALUES, costly=False):
    return Lazy(values.shape, values.dtype, functools.partial(np.take, values, axis=0), costly)


def test_lazy_rows_are_taken_as_those_of_an_array_are():
    found = lazy()
    assert (len(found), found.shape, found.dtype, found.nbytes) == (20, (20, 3), np.float32, 240)
    for index in (slice(None), slice(3, 9), slice(18, 100), slice(None, None, 7), slice(5, 5), slice(None, None, -1)):
        np.testing.assert_array_equal(found[index], VALUES[index])
    for index in ([3, 1, 3], [-1, 0, -20], np.array([19], np.uint8), np.zeros(0, np.int32)):
        np.testing.assert_array_equal(found[np.asarray(index)], VALUES[np.asarray(index)])


@pytest.mark.parametrize("index", [20, -21])
def test_an_index_beyond_the_rows_is_an_error(index):
    with pytest.raises(IndexError, match="beyond the 20 rows"):
        lazy()[np.array([index])]


@pytest.mark.parametrize("index", [3, [[1]], [True] * 20, [1.0]], ids=str)
def test_what_is_neither_a_slice_nor_integers_takes_no_rows(index):
    with pytest.raises(TypeError, match="rows are taken by a slice or by integers"):
        lazy()[index]


@st.composite
def views(draw, most):
    """One way to take some of so many rows."""
    kind = draw(st.sampled_from(["spaced", "between", "listed"]))
    if kind == "listed":
        return Listed(np.array(draw(st.lists(st.integers(0, most - 1), min_size=1, max_size=30)), np.int32))
    if kind == "between" and most > 1:
        every = draw(st.integers(2, most))
        return Between(every, most - most // every)
    start, step = draw(st.integers(0, most - 1)), draw(st.integers(1, 5))
    return Spaced(start, draw(st.integers(1, -(-(most - start) // step))), step)


@given(st.data())
def test_views_of_views_hold_the_rows_that_arrays_would(data):
    array, found = VALUES, lazy()
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(views(len(array)))
        array, found = take(array, where), take(found, where)
        assert isinstance(array, np.ndarray)
        assert isinstance(found, Lazy)
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(found[:], array)
    index = np.array(data.draw(st.lists(st.integers(-len(array), len(array) - 1), max_size=10)), np.int32)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found))[index], array[index])


@pytest.mark.parametrize("every", [2, 3, 5, 20])
def test_every_kth_row_and_the_rest_are_all_rows_once(every):
    held = 20 // every
    rest, part = take(lazy(), Between(every, 20 - held)), take(lazy(), Spaced(every - 1, held, every))
    assert part[:][:, 0].tolist() == VALUES[every - 1 :: every, 0].tolist()
    assert sorted([*rest[:][:, 0], *part[:][:, 0]]) == VALUES[:, 0].tolist()


def test_a_view_reads_no_more_than_its_rows():
    asked = []
    values = Lazy(VALUES.shape, VALUES.dtype, lambda index: asked.extend(index.tolist()) or VALUES[index])
    found = take(take(values, Between(5, 16)), Spaced(2, 10))
    assert asked == []
    found[np.array([0, 3])]
    assert asked == [2, 6]  # positions 2 and 5 among 0 1 2 3 5 6 ...


def test_views_hold_no_list_of_their_rows():
    whole = Lazy((10**9, 784), np.dtype(np.uint8), functools.partial(np.full, fill_value=1))
    found = take(take(whole, Between(5, 800_000_000)), Spaced(0, 799_990_000))
    assert len(pickle.dumps(found)) < 1000


def test_a_view_of_an_array_does_not_keep_the_rest_of_it():
    assert take(VALUES, Spaced(0, 10)).base is not None  # a run of it costs nothing
    assert take(VALUES, Spaced(4, 4, 5)).base is None
    assert take(VALUES, Between(5, 16)).base is None


@pytest.mark.parametrize("kinds", [(lazy, lazy), (lazy, np.array), (np.array, lazy), (np.array, np.array)])
def test_joined_rows_come_one_after_the_other(kinds):
    first, second = kinds[0](VALUES[:7]), kinds[1](VALUES[7:])
    found = joined(first, second)
    assert found.shape == (20, 3)
    np.testing.assert_array_equal(found[:], VALUES)
    np.testing.assert_array_equal(found[np.array([8, 0, 6, 7])], VALUES[[8, 0, 6, 7]])


def test_joined_rows_have_the_type_that_arrays_would():
    found = joined(lazy(VALUES.astype(np.uint8)), lazy())
    assert found.dtype == found[:].dtype == np.float32


def test_decoding_stays_costly_through_views():
    for found in (take(lazy(costly=True), Spaced(0, 3)), joined(lazy(), lazy(costly=True))):
        assert rows.is_costly(found)
    assert not rows.is_costly(take(lazy(), Spaced(0, 3)))
    assert not rows.is_costly(VALUES)


def test_blocks_hold_every_row_once_and_are_bounded(monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_VALUES", 10)
    for values in (VALUES, lazy()):
        found = list(blocks(values))
        assert [first for first, _ in found] == list(range(0, 20, 3))
        assert max(block.size for _, block in found) <= 10
        np.testing.assert_array_equal(np.concatenate([block for _, block in found]), VALUES)


def test_importing_rows_imports_nothing_heavy():
    program = (
        "import sys, aeflax.data.rows, aeflax.data.reading, aeflax.data.sources; "
        "print([name for name in ('jax', 'tensorflow_datasets', 'grain', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
