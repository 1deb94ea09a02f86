"""What a run makes of records that another hand wrote."""

import math
import types
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from variants import experiment, images

import aeflax
from aeflax import presets
from aeflax.config import Data, GaussianLikelihood, Train
from aeflax.data.dataset import load
from aeflax.errors import AeflaxWarning, ConfigError, DataError, UnavailableError
from aeflax.report.sound import numbers as _numbers
from aeflax.report.sound import sound as _sound
from aeflax.trained import Run


def test_of_a_metrics_log_only_the_numbers_of_a_split_are_taken():
    records = [
        {"step": 1, "split": "train", "loss": 0.5, "words": "a", "big": 10**400, "flag": True},
        {"step": 2, "split": "train", "loss": math.nan},
        {"step": 3, "loss": 0.5},
        {"step": 4, "split": ["train"], "loss": 0.5},
        {"step": 10**30, "split": "train", "loss": 0.5},
    ]
    found = _numbers(records)
    assert [record["step"] for record in found] == [1, 2]
    assert found[0] == {"step": 1, "split": "train", "loss": 0.5}
    history = Run.history.fget(types.SimpleNamespace(_records=found))
    assert {name: values.dtype.kind for name, values in history["train"].items()} == {"step": "i", "loss": "f"}


def test_of_a_summary_a_report_takes_what_is_of_the_kind_that_training_writes():
    sound = {
        "status": "done",
        "step": 3,
        "seconds": 1.5,
        "test": {"mse": 0.5},
        "state_sha256": "a",
        "best": {"step": 2, "monitor": "mse", "value": 0.1},
        "pca": {"dim": 2, "compresses": True, "test": {"mse": 1.0}},
    }
    assert _sound(sound) == sound
    assert list(_sound(sound)) == list(sound)
    for odd in ("text", None, [1], {"a": {}}, 10**400, True):
        made_up = sound | {"seconds": odd, "best": odd, "pca": odd, "test": {"mse": odd, "bce": 0.5}}
        found = _sound(made_up)
        assert "seconds" not in found
        assert "best" not in found
        assert found["test"] == {"bce": 0.5}


READINGS = {
    "id": [f"no {i}" for i in range(40)],
    "mass": np.random.RandomState(0).normal(size=40),
    "count": np.arange(40)[::-1] % 7,
    "wet": np.arange(40) % 3 == 0,
    "height": [None if i % 9 == 0 else 0.5 * i for i in range(40)],
    "turns": [None if i % 8 == 0 else i % 5 for i in range(40)],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pandas", "polars", "nullable"])
def test_a_data_frame_of_mixed_columns_is_numbers(kind, tmp_path):
    frames = pytest.importorskip("polars" if kind == "polars" else "pandas")
    frame = frames.DataFrame(READINGS)
    if kind == "nullable":
        frame = frame.astype({"turns": "Int64", "wet": "boolean", "height": "Float64"})
    base = presets.vanilla(2)
    data = Data(batch_size=16, drop=("id",), impute="median", scale="standard")
    model = replace(base.model, likelihood=GaussianLikelihood())
    settings = replace(base, data=data, model=model, train=Train(steps=3))
    run = aeflax.train(settings, frame, run_dir=tmp_path / "run", report=False)
    assert run.columns == ("mass", "count", "wet", "height", "turns")
    plain = np.array([[np.nan if v is None else float(v) for v in READINGS[name]] for name in run.columns]).T
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that what was dropped is left out is no news
        np.testing.assert_array_equal(run.score(frame), run.score(plain))
    assert aeflax.load(tmp_path / "run", frame).evaluate("test") == run.evaluate("test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {},
            r"no numbers in the columns 'id', 'name'; convert them, or train with config.Data\(drop=\('id', 'name'\)\)",
        ),
        ({"drop": ("id",)}, r"no numbers in the column 'name'; convert it"),
        ({"drop": ("ids",)}, r"the data frame has no column 'ids', which data.drop names; it has id, name, mass"),
    ],
)
def test_columns_of_a_frame_that_are_no_features_are_named(change, message):
    frame = pd.DataFrame({"id": ["x"] * 40, "name": ["y"] * 40, "mass": np.ones(40)})
    with pytest.raises((DataError, ConfigError), match=message):
        aeflax.train(replace(presets.vanilla(2), data=Data(**change)), frame)


@pytest.mark.slow
def test_a_frame_s_label_is_a_label_as_in_a_file(tmp_path):
    frame = pd.DataFrame({"a": np.linspace(0, 1, 40), "label": [0, 1] * 20, "b": [0.2, 0.8] * 20})
    frame.to_csv(tmp_path / "t.csv", index=False)
    settings = replace(presets.vanilla(2), data=Data(batch_size=16))
    held, filed = load(settings.data, frame), load(Data(source=f"csv:{tmp_path / 't.csv'}"))
    assert held.columns == filed.columns == ("a", "b")
    np.testing.assert_array_equal(held.test.labels, filed.test.labels)
    assert held.test.labels.dtype == np.int64
    run = aeflax.train(settings, frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(run.score(frame), run.score(frame[["a", "b"]]))
    words = frame.assign(label=["ok", None] * 20)
    assert load(settings.data, words).train.labels[:2].tolist() == ["ok", ""]
    rows = frame.assign(label=[np.ones(2)] * 40)  # which no file holds
    assert load(settings.data, rows).train.labels[0] == "[1. 1.]"
    with pytest.raises(DataError, match="no numbers in the column 'label'; convert it"):
        load(replace(settings.data, label="b"), rows)
    assert load(Data(label="state"), words.rename(columns={"label": "state"})).columns == ("a", "b")
    with pytest.raises(
        ConfigError, match=r"the data frame has no column .state., which data.label names; it has a, label"
    ):
        load(Data(label="state"), frame)
    assert load(Data(drop=("label",)), frame.assign(label="word")).train.labels is None
    with pytest.raises(DataError, match="the data frame has several columns 'a'; give each a name of its own"):
        load(settings.data, frame.set_axis(["a", "label", "a"], axis=1))
    with pytest.raises(DataError, match="the data frame has no column that is a feature"):
        load(settings.data, frame[["label"]])


@pytest.mark.slow
def test_a_frame_s_labels_judge_a_run_of_one_class():
    """As a file's do; where the run was trained on all, they say nothing."""
    random = np.random.RandomState(0)
    frame = pd.DataFrame(random.normal(size=(60, 3)), columns=["a", "b", "c"]).assign(status="ok")
    odd = pd.DataFrame(random.normal(9, 1, size=(6, 3)), columns=["a", "b", "c"]).assign(status="bad")
    both = pd.concat([frame, odd], ignore_index=True)
    base = replace(presets.vanilla(2), train=Train(steps=20))
    model = replace(base.model, likelihood=GaussianLikelihood())
    data = Data(label="status", classes=("ok",), batch_size=16)
    run = aeflax.train(replace(base, model=model, data=data), both)
    found = run.detect(both, baselines=False)
    assert found.metrics["auroc"] > 0.9
    assert found.metrics == run.detect(both, both.status == "bad", baselines=False).metrics
    with pytest.warns(AeflaxWarning, match="the labels of the data frame judge nothing: none of them, or all, are ok"):
        assert run.detect(frame, baselines=False).metrics is None
    every = aeflax.train(replace(base, model=model, data=replace(data, classes=())), both)
    assert every.detect(both, baselines=False).metrics is None


def test_an_array_has_no_columns_to_drop():
    with pytest.raises(ConfigError, match=r"data.drop names 'id', and an array has no columns; leave it out"):
        aeflax.train(replace(presets.vanilla(2), data=Data(drop=("id",))), np.ones((40, 3)))


def test_the_index_that_pandas_writes_has_the_name_that_its_file_has(tmp_path):
    frame = pd.DataFrame(np.random.RandomState(0).rand(40, 3), columns=list("abc"))
    frame.to_csv(tmp_path / "t.csv")
    data = Data(source=f"csv:{tmp_path / 't.csv'}", drop=("",), batch_size=16)
    run = aeflax.train(replace(presets.vanilla(2), data=data, train=Train(steps=3)))
    np.testing.assert_allclose(run.score(pd.read_csv(tmp_path / "t.csv")), run.score(frame), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_data_frame_s_columns_are_found_by_their_names(kind, tmp_path):
    frames = pytest.importorskip(kind)
    frame = frames.DataFrame(dict(zip("abc", np.random.RandomState(0).rand(3, 40), strict=True)))
    settings = replace(presets.vanilla(2), data=Data(batch_size=16), train=Train(steps=3))
    aeflax.train(settings, frame, run_dir=tmp_path / "run", report=False)
    run = aeflax.load(tmp_path / "run", frame)
    scores = run.score(np.asarray(frame))
    turned = frame[["c", "a", "b"]]
    np.testing.assert_array_equal(run.score(turned), scores)
    np.testing.assert_array_equal(run.encode(turned), run.encode(frame))
    np.testing.assert_array_equal(run.reconstruct(turned), run.reconstruct(frame))
    np.testing.assert_array_equal(run.detect(turned, kind="reconstruction", baselines=False).scores, scores)
    more = frames.DataFrame({"id": ["x"] * 40, **{name: np.asarray(frame[name]) for name in "cba"}})
    with pytest.warns(AeflaxWarning, match="the data frame: the run was not trained on 'id', and leaves it out"):
        np.testing.assert_array_equal(run.score(more), scores)
    with pytest.raises(DataError, match="the data frame lacks 'b' of the training data; add the column"):
        run.score(frame[["a", "c"]])
    assert run.detect(frame, baselines=False).anomalies.shape == (40,)


def test_a_frame_s_names_are_those_of_the_features_that_are_odd(tmp_path):
    frame = pd.DataFrame(np.random.RandomState(0).rand(40, 3), columns=["width", "height", "mass"])
    settings = replace(presets.vanilla(2), data=Data(batch_size=16), train=Train(steps=3))
    run = aeflax.train(settings, frame, run_dir=tmp_path / "run", report=False)
    found = run.detect(frame, baselines=False)
    assert [one["row"] for one in found.oddest] == np.argsort(-found.scores)[:16].tolist()
    odd = np.asarray(frame)[found.oddest[0]["row"]]
    errors = (run.reconstruct(frame)[found.oddest[0]["row"]] - odd) ** 2
    assert found.oddest[0]["features"][0]["name"] == frame.columns[errors.argmax()]
    assert found.oddest[0]["features"][0]["value"] == pytest.approx(odd[errors.argmax()])
    told = (tmp_path / "run" / "applications" / "anomaly.json").read_text()
    assert all(f'"{name}"' in told for name in frame.columns)


def test_relative_data_are_told_where_they_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("new.npy", images(60))
    base = experiment("vanilla", steps=2)
    aeflax.train(replace(base, data=replace(base.data, source="npy:new.npy")), run_dir="run", report=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = aeflax.load(tmp_path / "run")
    assert run.encode(images(3)).shape == (3, 4)
    with pytest.raises(UnavailableError, match=rf"new\.npy: No such file.*looked for from {tmp_path / 'elsewhere'}"):
        run.evaluate("test")
