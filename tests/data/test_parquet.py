"""Tables in Parquet files: read as the same table in a CSV file is, and refused with the column and the mend."""

import math
from dataclasses import replace

import numpy as np
import pytest

import aeflax
from aeflax.config import Data, GaussianLikelihood, Train
from aeflax.data import tables
from aeflax.data.inputs import open_examples
from aeflax.errors import ConfigError, DataError
from aeflax.presets import vanilla

pyarrow = pytest.importorskip("pyarrow")
COLUMNS = {
    "id": ["a", "b", "c"],
    "width": [1.5, 2.0, 3.0],
    "count": [7, 8, 9],
    "odd": [True, False, True],
    "label": [0, 1, 1],
}


@pytest.fixture
def store(tmp_path):
    """Writes columns to a file and returns its path."""

    def write(columns=None, name="t.parquet", **more):
        from pyarrow import parquet

        path = tmp_path / name
        parquet.write_table(pyarrow.table({**(COLUMNS if columns is None else columns), **more}), path)
        return path

    return write


@pytest.mark.parametrize("name", ["t.parquet", "table"])  # told by its content
def test_numbers_of_all_kinds_are_features(store, name):
    values, labels = tables.read(store(name=name), drop=("id",))
    assert values.tolist() == [[1.5, 7, 1], [2, 8, 0], [3, 9, 1]]
    assert values.dtype == np.float64
    assert labels.tolist() == [0, 1, 1]
    assert labels.dtype == np.int64
    assert tables.columns(store(name=name)) == tuple(COLUMNS)


def test_columns_are_taken_by_name_and_carried_as_they_stand(store):
    path = store()
    assert tables.read(path, take=("count", "width"))[0].tolist() == [[7, 1.5], [8, 2], [9, 3]]
    found = tables.carried(path, ("id", "count", "width"))
    assert {name: column.tolist() for name, column in found.items()} == {
        "id": ["a", "b", "c"],
        "count": [7, 8, 9],
        "width": ["1.5", "2.0", "3.0"],
    }


def test_missing_values_are_nan_where_they_may_be(store):
    path = store({"a": [1.0, None, math.nan], "b": [1, 2, None]})
    values, labels = tables.read(path, missing=True)
    assert np.isnan(values).tolist() == [[False, False], [True, False], [True, True]]
    assert labels is None
    with pytest.raises(DataError, match=r"row 1, counted from 0, column 'a' is missing; fill it in.*\(3 are\)"):
        tables.read(path)


def test_labels_may_be_words_and_missing(store):
    path = store(COLUMNS | {"state": ["ok", None, "bad"]})
    values, labels = tables.read(path, drop=("id", "label"), label="state")
    assert values.shape[0] == 3
    assert labels.tolist() == ["ok", "", "bad"]
    assert tables.labels(path, "state").tolist() == ["ok", "", "bad"]
    assert tables.labels(path, "label").tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("columns", "drop", "said"),
    [
        (COLUMNS, (), "the column 'id' holds string, not numbers; .* or train with --data.drop id"),
        (COLUMNS | {"when": ["x", "y", "z"]}, (), r"the columns 'id', 'when' hold .* --data.drop id when"),
        ({"a": pyarrow.array([], pyarrow.float64())}, (), "holds no rows of numbers"),
        ({"a": [1.0]}, ("a",), "holds no rows of numbers"),
    ],
)
def test_what_is_no_number_is_named(store, columns, drop, said):
    with pytest.raises(DataError, match=said):
        tables.read(store(columns), drop=drop)


def test_a_damaged_file_is_a_sentence(store):
    path = store()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"is no sound Parquet file .*; fetch or write it again"):
        tables.read(path)


def test_columns_of_one_name_are_refused(tmp_path):
    from pyarrow import parquet

    table = pyarrow.Table.from_arrays([pyarrow.array([1.0]), pyarrow.array([2.0])], names=["a", "a"])
    parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"has several columns .a.; give each a name of its own"):
        tables.read(tmp_path / "t.parquet")


def test_what_reads_it_is_an_extra(store, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"not installed; pip install 'aeflax\[parquet\]'"):
        tables.read(store_of(monkeypatch, store))


def store_of(monkeypatch, store):
    """A file that was written while the library was there."""
    with monkeypatch.context() as before:
        before.delitem(__import__("sys").modules, "pyarrow")
        return store()


@pytest.mark.slow
def test_a_run_is_the_same_from_either_format(store, tmp_path):
    rows = np.random.RandomState(0).normal(5, 2, (60, 3)).round(3)
    names = ("a", "b", "c")
    store(dict(zip(names, rows.T, strict=True)), id=[f"row {i}" for i in range(60)])
    lines = [",".join([*map(str, row), f"row {i}"]) for i, row in enumerate(rows)]
    (tmp_path / "t.csv").write_text("a,b,c,id\n" + "\n".join(lines) + "\n")
    base = vanilla(2)
    digests = []
    for kind in ("csv", "parquet"):
        data = Data(source=f"{kind}:{tmp_path / 't'}.{kind}", drop=("id",), scale="standard")
        model = replace(base.model, likelihood=GaussianLikelihood())
        run = aeflax.train(replace(base, data=data, model=model, train=Train(steps=5)), run_dir=tmp_path / kind)
        digests.append(run.summary["state_sha256"])
    assert digests[0] == digests[1]
    found = [open_examples(str(tmp_path / f"t.{kind}"), how=Data(drop=("id",))) for kind in ("csv", "parquet")]
    np.testing.assert_array_equal(found[0].values, found[1].values)
    assert found[0].columns == found[1].columns == names
