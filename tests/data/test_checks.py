"""What examples must be: the same sentences for the whole and for a batch of it."""

import numpy as np
import pytest

from aeflax.data.checks import prepared, require_examples
from aeflax.errors import DataError


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 1)])
@pytest.mark.parametrize("dtype", ["u1", "i8", "f2", "f4", "f8", "?", ">f4"])
def test_numbers_of_rank_two_to_four_are_examples(shape, dtype):
    values = np.ones(shape, dtype)
    require_examples(values, "x")
    found = prepared(values, "x")
    assert found.dtype == (np.uint8 if dtype == "u1" else np.float32)
    assert found.shape == ((*shape, 1) if len(shape) == 3 else shape)
    assert (found == 1).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([["a"]]), r"x holds values of type <U1, not numbers; convert them first"),
        (np.ones((2, 2), complex), r"x holds values of type complex128, not numbers"),
        (np.ones(3), r"x has the shape \(3,\); expected \[N, D\], \[N, H, W\] or \[N, H, W, C\]"),
        (np.ones((1,) * 5), r"x has the shape \(1, 1, 1, 1, 1\); expected"),
        (np.ones((0, 4)), r"x is empty: its shape is \(0, 4\); at least one example is needed"),
        (np.ones((4, 0)), r"x is empty"),
    ],
)
def test_what_is_no_examples_is_said_without_reading_them(values, message):
    with pytest.raises(DataError, match=message):
        require_examples(values, "x")


def test_float32_is_copied_no_second_time():
    values = np.ones((2, 3), np.float32)
    assert np.shares_memory(prepared(values, "x"), values)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_a_value_beyond_float32_is_named_by_its_index_in_the_whole(bad):
    values = np.zeros((4, 2, 3))
    values[2, 1, 0] = values[3, 0, 0] = bad
    kind, mend = ("NaN", "remove") if np.isnan(bad) else ("infinite or beyond float32", "correct it")
    message = rf"x holds 2 values that are {kind}, the first at index \[{{}}, 1, 0\]; {mend}"
    with pytest.raises(DataError, match=message.format(2)):
        prepared(values, "x")
    with pytest.raises(DataError, match=message.format(102)):
        prepared(values, "x", index=100)
    with pytest.raises(DataError, match=message.format(7)):
        prepared(values, "x", index=np.array([1, 3, 7, 9]))
