"""What a table is warned of: each mistake with its mend, and nothing where there is none."""

import shlex

import numpy as np
import pytest

from aeflax.data.doubts import doubts

NAMES = ("width", "the id", "mass")


def table(rows=60):
    return np.random.RandomState(0).normal(size=(rows, 3)).astype(np.float32)


def with_column(place, values):
    rows = table()
    rows[:, place] = values
    return rows


def named(name, values):
    """Rows whose last column has this name, as a pair with the names."""
    return with_column(2, values), ("width", "the id", name)


def wild(factor):
    """One value that lies so many times as far from the median of all others as the next."""
    rows = table()
    far = np.abs(rows[:, 2] - np.median(rows[:, 2]))
    rows[int(far.argmax()), 2] = factor * np.sort(far)[-2]
    return rows


def heavy(rows, draw):
    """Columns of a distribution with a heavy tail, a sound one."""
    return draw(np.random.RandomState(1), (rows, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (with_column(1, np.arange(60)), "the column 'the id' rises from row to row, as an id or a time does"),
        (with_column(1, np.arange(60)), "leave it out, --data.drop 'the id'"),
        (with_column(2, 7.5), "the column 'mass' holds one value in every training row"),
        (np.ones((60, 3), np.float32), "the columns 'width', 'the id', 'mass' hold one value in every training row"),
        (np.ones((60, 3), np.float32), "leave them out, --data.drop width 'the id' mass"),
        (wild(500), "in 'mass' lie 300 times as far out as nearly all others"),
        (table()[:, :1], "a single feature leaves nothing to compress"),
        (table(9), "9 training rows are few"),
    ],
    ids=["number", "number-mend", "constant", "constants", "constants-mend", "wild", "single", "few"],
)
def test_a_likely_mistake_is_told_with_its_mend(rows, said):
    assert len(found := doubts(rows, NAMES[: rows.shape[1]])) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    "rows",
    [
        table(),
        table(10),
        with_column(2, np.arange(60)[::-1]),  # falls
        with_column(1, np.arange(60) + 0.5),  # no whole numbers
        wild(100),
        heavy(100_000, lambda random, shape: random.lognormal(sigma=2, size=shape)),
        heavy(100_000, lambda random, shape: random.standard_t(2, size=shape)),
        heavy(100_000, lambda random, shape: random.pareto(1.5, size=shape)),
        with_column(0, np.exp(np.random.RandomState(1).normal(size=60))),  # lognormal
        with_column(0, [0.0] * 50 + [1e6] * 10),  # the middle half has no width
        np.arange(60).reshape(20, 3).astype(np.float32)[:, None],  # images
    ],
    ids=["normal", "ten", "falls", "between", "far", "lognormal", "student", "pareto", "few", "mostly-zero", "images"],
)
def test_nothing_is_said_of_a_sound_table(rows):
    assert doubts(rows, NAMES) == []


def test_of_columns_without_names_only_wild_values_are_told():
    assert doubts(with_column(2, 7.5), ()) == []
    (found,) = doubts(wild(500), ())
    assert "in feature 2 lie 300 times as far out" in found


@pytest.mark.parametrize("name", ["id", "txn_id", "rowId", "ts", "event_timestamp", "Time", "invoice no"])
def test_ids_and_times_are_known_by_their_names(name):
    shuffled = np.random.RandomState(0).permutation(60) * 1_000 + 1.2e9
    (found,) = doubts(*named(name, shuffled))
    assert f"the column {name!r} is called as ids and times are, with another number in nearly every row" in found
    assert found.endswith(f"leave it out, --data.drop {shlex.quote(name)}")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("site_id", np.arange(60) % 5),  # a category
        ("age", np.sort(np.random.RandomState(0).randint(20, 60, 60))),  # a sorted table
        ("response_time", np.random.RandomState(0).permutation(60)),
        ("grid", np.random.RandomState(0).permutation(60)),
        ("id", np.random.RandomState(0).rand(60)),
    ],
)
def test_other_columns_are_no_ids(name, values):
    assert doubts(*named(name, values)) == []


def test_values_that_float32_hardly_tells_apart_are_told_of():
    close = (1.7e9 + 100 * np.random.RandomState(0).normal(size=60)).astype(np.float32)
    (found,) = doubts(*named("pressure", close))
    assert "the column 'pressure' is rounded to float32, whose seven digits hardly tell the values apart" in found
    assert doubts(*named("pressure", (1e5 + 100 * np.random.RandomState(0).normal(size=60)).astype(np.float32))) == []


def test_an_id_is_not_to_be_kept_by_a_constant():
    (found,) = doubts(*named("txn_id", (4e9 + 20 * np.random.RandomState(0).permutation(60)).astype(np.float32)))
    assert "is called as ids and times are" in found
    assert doubts(np.full((60, 3), 200, np.uint8) + np.arange(60, dtype=np.uint8)[:, None] % 4, ()) == []


def test_times_that_float32_makes_equal_rise_all_the_same():
    seconds = (1.7e9 + 60 * np.arange(600)).astype(np.float32)  # which lie 128 apart at best
    rows = np.random.RandomState(0).normal(size=(600, 3)).astype(np.float32)
    rows[:, 2] = seconds
    (found,) = doubts(rows, NAMES)
    assert "the column 'mass' rises from row to row, as an id or a time does" in found


def test_one_mend_leaves_out_all_columns_beside_those_that_are_out_already():
    rows = with_column(1, np.arange(60))
    rows[:, 2] = 3
    (found,) = doubts(rows, NAMES, ("code", "unit name"))
    assert found.startswith("the column 'the id' rises from row to row, ")
    assert "; the column 'mass' holds one value" in found
    assert found.endswith("leave them out, --data.drop code 'unit name' 'the id' mass")


@pytest.mark.parametrize(("mark", "places"), [(-999, [5]), (9999, [3, 4, 8]), (-99999, range(0, 60, 3))])
def test_nines_that_stand_for_missing_values_are_told(mark, places):
    values = np.random.RandomState(3).normal(7, 2, 60)
    values[list(places)] = mark
    found = doubts(with_column(2, values), NAMES)
    times = f" ({len(places)} times)" if len(places) > 1 else ""
    looks = f"{mark} in 'mass'{times} looks like a mark of a missing value, and would be learned as a value"
    assert found == [f"{looks}; empty the cells, which --data.impute median fills"]


@pytest.mark.parametrize(
    "values",
    [np.linspace(0, 999, 60), np.r_[np.linspace(100, 400, 59), 999], np.r_[np.linspace(5, 9, 59), 99]],
    ids=["a range", "not far", "few nines"],
)
def test_nines_among_others_are_values(values):
    assert not doubts(with_column(2, np.random.RandomState(0).permutation(values)), NAMES)


BOTH = np.arange(60) % 3 == 0


@pytest.mark.parametrize(
    "name", ["fault", "is_anomaly", "Class", "failed", "y", "machine fault", "isFraud", "HasDefect"]
)
def test_zeros_and_ones_that_sound_like_labels_are_told(name):
    rows, names = named(name, BOTH)
    assert len(found := doubts(rows, names)) == 1
    assert f"the column {name!r} sounds like labels of two kinds, and would be learned" in found[0]
    assert found[0].endswith(f"--data.drop {shlex.quote(name)}")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *(("open", BOTH), ("default", BOTH), ("fault", BOTH + 0.5), ("my", BOTH)),
        *(("class_1", BOTH), ("target_temp", BOTH), ("faultCode", BOTH)),
    ],
    ids=["name", "within", "values", "letter", "one-hot", "first-word", "capital"],
)
def test_other_columns_are_no_labels(name, values):
    assert not doubts(*named(name, values))
