"""Missing values: read from tables, filled from the training split, wherever a run is used."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import aeflax
from aeflax import presets
from aeflax.applications import oddities
from aeflax.config import Data, GaussianLikelihood, Train
from aeflax.data import missing, tables
from aeflax.data.dataset import load
from aeflax.data.inputs import open_examples
from aeflax.errors import AeflaxWarning, ConfigError, DataError

SETTINGS = Data(source="array", holdout=0.25, impute="mean")


@pytest.fixture
def rows():
    values = np.arange(40.0).reshape(10, 4) ** 1.5
    values[[0, 3, 8], 1] = np.nan
    values[4, 2] = np.nan
    return values


@pytest.mark.parametrize("impute", ["mean", "median"])
def test_what_is_missing_becomes_the_middle_of_the_training_split_alone(rows, impute):
    held = [3, 7]
    train = np.delete(rows, held, axis=0)
    middle = {"mean": np.nanmean, "median": np.nanmedian}[impute](train, axis=0).astype(np.float32)
    found = load(replace(SETTINGS, impute=impute), rows)
    assert np.array_equal(found.fill, middle)
    for split, whole in ((found.train, train), (found.test, rows[held])):
        expected = np.where(np.isnan(whole), middle, whole.astype(np.float32))
        assert np.array_equal(split.values, expected)
        assert split.values.dtype == np.float32


@pytest.mark.parametrize("impute", ["mean", "median"])
def test_features_are_filled_few_at_once_as_all_together(rows, impute, monkeypatch):
    whole = load(replace(SETTINGS, impute=impute), rows).fill
    monkeypatch.setattr(missing, "BLOCK_VALUES", 17)  # two features of eight rows
    assert np.array_equal(load(replace(SETTINGS, impute=impute), rows).fill, whole)


def test_a_withheld_validation_split_is_filled_and_teaches_nothing(rows):
    found = load(replace(SETTINGS, validation=2), rows)
    train = np.delete(rows, [3, 7], axis=0)[:6]
    assert np.array_equal(found.fill, np.nanmean(train, axis=0).astype(np.float32))
    assert found.validation.values[0, 1] == found.fill[1]


def test_the_scaling_is_fitted_to_what_was_filled(rows):
    found = load(replace(SETTINGS, scale="standard"), rows)
    scaled = found.scaling.apply(found.train.values)
    assert np.allclose(scaled.mean(axis=0), 0, atol=1e-6)  # float32 of eight rows
    assert np.allclose(scaled.std(axis=0), 1, atol=1e-6)


def test_how_much_is_missing_and_where_is_told(rows):
    values = np.ones((50, 5), np.float32)
    assert missing.summary(values, None) is None
    values[:7, 2], values[:9, 0], values[3, 1], values[5:7, 4] = (np.nan,) * 4
    told = "19 of 250 values are missing and filled: 9 of feature 0, 7 of feature 2, 2 of feature 4, ..."
    assert missing.summary(values, None) == told
    values[:, 1] = 1
    names = ("a", "b", "c", "d", "e")
    assert missing.summary(values, names) == "18 of 250 values are missing and filled: 9 of a, 7 of c, 2 of e"
    empty = np.array([[1, np.nan], [2, np.nan]])
    assert (
        missing.summary(empty, ("a", "b"))
        == "2 of 4 values are missing and filled: 2 of b; nothing at all is known of b"
    )
    assert missing.summary(np.ones((4, 2), np.uint8), None) is None
    assert "; in training " in str(load(SETTINGS, rows))


def test_cells_of_a_table_may_be_missing_in_any_of_the_usual_ways(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('a,b,label\n1,,0\nNA,2,1\n?,nan,0\n"N/A",3,1\n')
    values, labels = tables.read(path, missing=True)
    nan = np.nan
    assert np.array_equal(values, [[1, nan], [nan, 2], [nan, nan], [nan, 3]], equal_nan=True)
    assert labels.tolist() == [0, 1, 0, 1]
    with pytest.raises(DataError, match=r"line 2, column 2 \('b'\) is missing.*--data.impute"):
        tables.read(path)


def test_a_first_line_with_a_missing_value_is_no_header(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("1,NA\n2,3\n")
    assert tables.read(path, missing=True)[0].shape == (2, 2)
    assert tables.columns(path) is None


def test_what_says_something_else_is_no_missing_value(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,unknown\n")
    with pytest.raises(DataError, match="'unknown', not a number"):
        tables.read(path, missing=True)


def short():
    """A few steps on standardised features, their gaps filled."""
    base = presets.vanilla(2)
    return replace(
        base,
        data=replace(SETTINGS, scale="standard"),
        model=replace(base.model, likelihood=GaussianLikelihood()),
        train=Train(steps=3),
    )


@pytest.fixture
def run(rows, tmp_path):
    return aeflax.train(short(), rows, run_dir=tmp_path / "run", report=False)


@pytest.mark.slow
def test_a_kept_run_fills_the_same_in_new_examples(run, rows, tmp_path):
    again = aeflax.load(run.path, data=rows)
    new = rows + 1
    whole = np.where(np.isnan(new), run._domain.fill, new)
    for one in (run, again):
        assert np.array_equal(one.encode(new), run.encode(whole))
        assert np.array_equal(one.score(new), run.score(whole))
        plain = {"kind": "reconstruction", "baselines": False}  # a standardized score leaves out what was filled
        assert np.array_equal(one.detect(new, **plain).scores, run.detect(whole, **plain).scores)
    path = tmp_path / "new.csv"
    np.savetxt(path, new, delimiter=",", header="a,b,c,d", comments="", fmt="%.17g")
    path.write_text(path.read_text().replace("nan", ""))
    inputs = open_examples(str(path), how=run.experiment.data, fill=again._domain.fill)
    assert np.array_equal(inputs.at(slice(None)), whole.astype(np.float32))


@pytest.mark.slow
def test_a_data_frame_s_missing_values_are_told_from_measured_ones(rows, tmp_path):
    """The oddest row is odd in a cell that was empty: what is told of it was never measured."""
    frame = pd.DataFrame(np.concatenate([rows, rows + 0.5]), columns=["a", "b", "c", "d"])
    run = aeflax.train(short(), frame, report=False)
    found = run.detect(frame, kind="reconstruction", baselines=False)
    told = {(one["row"], of["name"]): of["filled"] for one in found.oddest for of in one["features"]}
    assert told
    assert all(filled == np.isnan(frame[name][row]) for (row, name), filled in told.items())
    frame.loc[::2, "b"] = np.nan  # which is to blame in this model
    found = run.detect(frame, kind="reconstruction", baselines=False)
    explained = oddities.explain(run.inference, run._given.inputs(frame), found, run._known())
    for row, names, filled in zip(explained.index, explained.names, explained.filled, strict=True):
        np.testing.assert_array_equal(filled, np.isnan(frame.iloc[row][list(names)]))
    assert len(explained.index) == 16
    with pytest.warns(AeflaxWarning, match="nothing at all is known of c: what stands for missing values takes its"):
        run.score(frame.assign(c=np.nan))


def test_a_run_that_imputed_still_refuses_what_is_not_finite_and_what_does_not_fit(run, rows):
    rows[0, 0] = np.inf
    with pytest.raises(DataError, match="infinite"):
        run.encode(rows)
    with pytest.raises(DataError, match=r"the shape \(3,\), the run has 4 features"):
        run.encode(np.full((2, 3), np.nan))


def test_a_manifest_whose_fill_does_not_fit_is_damaged(run, rows):
    path = run.path / "experiment.json"
    found = json.loads(path.read_text())
    found["inputs"]["fill"] = [1.0]
    found.pop("sha256")
    from aeflax.storage.document import write_json

    write_json(path, found)
    with pytest.raises(ConfigError, match="what fills missing values does not fit the shape"):
        aeflax.load(run.path, data=rows)


def test_what_cannot_be_filled_is_refused_in_one_sentence(rows, tmp_path):
    with pytest.raises(ConfigError, match=r"the bytes of the array have none; leave it out"):
        load(SETTINGS, np.zeros((10, 4), np.uint8))
    rows[:, 2] = np.nan
    with pytest.raises(DataError, match="feature 2 has no value in the training split; drop it"):
        load(SETTINGS, rows)
    named = pd.DataFrame(rows, columns=["a", "b", "the third", *map(str, range(3, rows.shape[1]))])
    with pytest.raises(
        DataError, match=r"column 'the third' has no value in the training split; .*--data.drop 'the third'"
    ):
        load(SETTINGS, named)
    np.save(tmp_path / "rows.npy", rows.astype(np.float32))
    lazy = replace(SETTINGS, source=f"npy:{tmp_path / 'rows.npy'}", resident=False)
    with pytest.raises(ConfigError, match="needs the examples in memory"):
        load(lazy)


def test_infinite_values_are_no_missing_ones(rows):
    rows[5, 0] = np.inf
    with pytest.raises(DataError, match="infinite"):
        load(SETTINGS, rows)


@pytest.mark.slow
def test_what_was_filled_is_no_evidence(tmp_path):
    """Neither for a row nor of what is usual: by its definition, in NumPy."""
    random = np.random.RandomState(0)
    level = random.normal(size=400)
    whole = np.stack([level, level + 0.1 * random.normal(size=400), level**2, random.normal(size=400)], axis=1)
    gaps = whole.astype(np.float32)
    gaps[random.rand(*gaps.shape) < 0.2] = np.nan
    settings = short()
    settings = replace(settings, train=replace(settings.train, steps=200))
    run = aeflax.train(settings, gaps, run_dir=tmp_path / "run", report=False)
    found = run.detect(gaps, baselines=False)
    held = gaps[run.split("test").index[:]]
    with np.load(tmp_path / "run" / "examples.npz") as kept:
        assert np.array_equal(kept["missing"], np.isnan(held))
    divisor, errors = run.inference.domain.scaling.divisor, {}
    for name, rows in (("test", held), ("all", gaps)):
        there = ~np.isnan(rows)
        errors[name] = there, np.where(there, ((run.reconstruct(rows) - rows) / divisor).astype(float) ** 2, 0)
    there, known = errors["test"]
    counts = there.sum(axis=0)
    kept = counts - counts // 100
    sums = np.array([np.sort(known[there[:, f], f])[: kept[f]].sum() for f in range(4)])
    usual = (sums + 10 * np.exp(np.log(sums / kept).mean())) / (kept + 10)
    there, every = errors["all"]
    expected = np.sum(every / usual, axis=1) / np.maximum(1, there.sum(axis=1))
    np.testing.assert_allclose(found.scores, expected, rtol=1e-4, atol=1e-9)  # float32 rows, scaled there and back
    again = aeflax.load(tmp_path / "run").detect(gaps, threshold=1.0)
    np.testing.assert_array_equal(again.scores, found.scores)
    with pytest.warns(AeflaxWarning, match="nothing at all is known"):
        assert run.detect(np.full((2, 4), np.nan, np.float32), threshold=1.0).scores.tolist() == [0, 0]
