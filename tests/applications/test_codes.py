"""How good codes are: as a reduction of dimension, as features; what the command says and what a report shows."""

import json
from dataclasses import replace

import numpy as np
import pytest

import aeflax
from aeflax import presets
from aeflax.applications import labels, probes
from aeflax.applications.codes import _neighbourhoods
from aeflax.applications.spaces import NAMES
from aeflax.cli import main
from aeflax.config import Data, GaussianLikelihood, Train
from aeflax.data.dataset import load
from aeflax.errors import AeflaxWarning, ConfigError, DataError


def digits(code=4, *, steps=30, path=None, **data):
    settings = replace(presets.vanilla(code), data=Data(source="digits", **data), train=Train(steps=steps))
    return aeflax.train(settings, run_dir=path, report=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return digits(path=tmp_path_factory.mktemp("codes") / "run", limit=300, validation=40)


def classes_of(train, held):
    names = np.unique(train)
    return labels.Classes(names, np.searchsorted(names, train), np.searchsorted(names, held))


def neighbourhood_cost(far, near, k):
    """Trustworthiness by its definition (Venna & Kaski 2001, eq. 1), example by example."""
    count, cost = len(far), 0.0
    for i in range(count):
        ranks = np.argsort(np.argsort(((far - far[i]) ** 2).sum(axis=1)))  # 0 is the example itself
        close = [j for j in np.argsort(((near - near[i]) ** 2).sum(axis=1)) if j != i][:k]
        cost += sum(ranks[j] - k for j in close if ranks[j] > k)
    return 1 - cost * 2 / (count * k * (2 * count - 3 * k - 1))


@pytest.mark.slow
def test_components_without_compression_are_perfect():
    """A rotation: nothing is lost, every distance is as it was."""
    random = np.random.RandomState(0)
    table = random.normal(size=(120, 5)).astype(np.float32)
    settings = replace(presets.vanilla(8), train=Train(steps=5))
    settings = replace(settings, model=replace(settings.model, likelihood=GaussianLikelihood()))
    found = aeflax.train(settings, table).judge.codes()
    assert set(found) == {"codes"}  # there are no labels
    pca = found["codes"]["spaces"]["pca"]
    assert found["codes"]["components"] == 5
    np.testing.assert_allclose([pca[name] for name in ("mse", "explained_variance")], [0, 1], atol=1e-6)
    assert (pca["trustworthiness"], pca["continuity"]) == (1, 1)
    assert set(found["codes"]["spaces"]["inputs"]) == set()


def test_neighbourhoods_are_those_of_the_paper():
    inputs = np.random.RandomState(0).normal(size=(60, 8))
    codes = inputs[:, :2] + 0.5 * inputs[:, 2:4]
    found = _neighbourhoods({"inputs": inputs, "codes": codes}, "codes", np.arange(60))
    np.testing.assert_allclose(found["trustworthiness"], neighbourhood_cost(inputs, codes, 5), rtol=1e-6)
    np.testing.assert_allclose(found["continuity"], neighbourhood_cost(codes, inputs, 5), rtol=1e-6)
    assert abs(found["trustworthiness"] - found["continuity"]) > 0.01
    assert _neighbourhoods({"inputs": inputs, "codes": codes}, "codes", np.arange(10)) == {}  # too few


@pytest.mark.slow
def test_errors_are_those_of_evaluation(run):
    found = run.judge.codes(label_counts=())["codes"]["spaces"]
    np.testing.assert_allclose(found["codes"]["mse"], run.evaluate()["mse"], rtol=1e-5)
    np.testing.assert_allclose(found["pca"]["mse"], run.pca()["test"]["mse"], rtol=1e-4)
    variance = (run.split("test").values[:].reshape(359, -1) / 16).var(axis=0).mean()
    np.testing.assert_allclose(1 - found["codes"]["explained_variance"], found["codes"]["mse"] / variance, rtol=1e-4)


@pytest.mark.slow
def test_without_labels_nothing_is_said_of_classes():
    bare = aeflax.train(replace(presets.vanilla(4), train=Train(steps=5)), run_images())
    assert set(bare.judge.codes()) == {"codes"}
    assert "silhouette" not in bare.judge.codes()["codes"]["spaces"]["codes"]
    with pytest.raises(DataError, match="has no labels"):
        bare.judge.codes(label_counts=(2,))
    with pytest.raises(DataError, match="has no labels"):
        bare.judge.finetuning((2,))


def run_images():
    return np.random.RandomState(0).randint(0, 256, (60, 4, 4, 1)).astype(np.uint8)


def test_labels_that_are_no_classes_are_refused():
    dataset = load(Data(source="digits", limit=20))
    for odd, message in ((np.linspace(0, 1, 20), "quantities such as"), (np.ones(20, int), "two classes or more")):
        train = replace(dataset.train, labels=odd)
        with pytest.raises(DataError, match=message):
            labels.classes_of(dataset, train, train)


def test_a_label_that_training_lacks_is_never_right():
    dataset = load(Data(source="digits", limit=20))
    known, other = (replace(dataset.train, labels=np.array(words)) for words in ([1, 3] * 10, [3, 2, 0, 9, 1] * 4))
    np.testing.assert_array_equal(labels.classes_of(dataset, known, other).held[:5], [1, -1, -1, -1, 0])


def test_draws_have_as_many_of_each_class_and_begin_alike():
    random = np.random.RandomState(0)
    classes = classes_of(random.randint(0, 4, 200), np.arange(4))
    few, more, other = (labels.draw(classes, *of) for of in ((3, 0), (7, 0), (3, 1)))
    np.testing.assert_array_equal(np.bincount(classes.train[more]), [7] * 4)
    np.testing.assert_array_equal(few, more[:12])
    assert len(set(more)) == 28
    assert set(few) != set(other)


def test_a_probe_holds_out_some_of_every_class():
    known = np.array([0, 1] * 10)
    np.testing.assert_array_equal(probes._rank(known), np.repeat(np.arange(10), 2))


@pytest.mark.slow
def test_probes_find_what_is_there_and_nothing_else():
    random = np.random.RandomState(0)
    train, held = (np.repeat(np.arange(3), count) for count in (100, 60))
    shown, noise = ({}, {})
    for target, known in ((0, train), (1, held)):
        drawn = random.normal(size=(len(known), 3)).astype(np.float32)
        shown[target] = dict.fromkeys(NAMES, 10 * np.eye(3, dtype=np.float32)[known] + drawn)
        noise[target] = dict.fromkeys(NAMES, drawn)
    classes = classes_of(train, held)
    for of, low, high in ((shown, 1, 1), (noise, 0.2, 0.47)):
        found = probes.transfer(of[0], of[1], classes, [1, 20, "all"], 3)
        assert [entry["labels"] for entry in found["counts"]] == [3, 60, 300]
        assert [entry["seeds"] for entry in found["counts"]] == [3, 3, 1]
        for entry in found["counts"]:
            for method in ("probe",) if entry["per_class"] == 1 else ("probe", "knn"):
                assert low <= entry["spaces"]["codes"][method]["mean"] <= high, (entry, method)


@pytest.mark.slow
def test_equal_seeds_give_equal_figures(run):
    assert run.judge.codes(label_counts=(5,), seeds=2) == run.judge.codes(label_counts=(5,), seeds=2)


@pytest.mark.slow
def test_by_default_as_many_labels_as_there_are(run):
    found = run.judge.codes(seeds=2)["transfer"]
    assert [entry["per_class"] for entry in found["counts"]] == [10, "all"]
    assert found["counts"][1]["labels"] == 260


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_counts": (0,)}, "0 labels per class are too few"),
        ({"label_counts": (10, 5000)}, "5000 labels per class are more than there are: class"),
        ({"seeds": 0}, "0 seeds"),
        ({"split": "none"}, "has no split"),
    ],
)
def test_what_cannot_be_is_refused(run, options, message):
    with pytest.raises(ConfigError, match=message):
        run.judge.codes(**options)


@pytest.mark.slow
def test_the_command_tells_keeps_and_shows(run, capsys):
    assert main(["codes", str(run.path), "--seeds", "2", "--split", "validation", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["codes"]["split"] == "validation"
    assert found["codes"]["examples"]["judged"] == 40
    assert {"transfer", "step"} <= set(found)
    assert "trustworthiness" in err
    kept = json.loads((run.path / "applications" / "transfer.json").read_text())
    assert kept["counts"] == found["transfer"]["counts"]
    page = aeflax.load(run.path).report().read_text()
    assert "Codes as a reduction of dimension" in page
    assert "5 nearest, accuracy" in page
    assert (run.path / "figures" / "transfer.png").exists()


def test_mistakes_on_the_command_line_get_one_sentence(run, capsys):
    for words, code in ((["--label-counts", "9999"], 2), (["--seeds", "0"], 2)):
        assert main(["codes", str(run.path), *words]) == code
        out, err = capsys.readouterr()
        assert not out
        assert err.count("\n") == 1


def test_a_run_that_cannot_be_written_to_is_judged_all_the_same(run, monkeypatch):
    def refuse(*_):
        raise ConfigError("cannot write there")

    monkeypatch.setattr("aeflax.applications.findings.keep", refuse)
    with pytest.warns(AeflaxWarning, match="not kept for the report: cannot write there"):
        assert "codes" in run.judge.codes(label_counts=())
