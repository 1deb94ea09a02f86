"""`aeflax detect`: what it writes, prints and keeps, and what it answers to mistakes."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import aeflax
from aeflax import presets
from aeflax.applications import oddities
from aeflax.config import Data, GaussianLikelihood, Train
from aeflax.data import tables

CULPRITS = [
    "feature",
    "feature_value",
    "feature_expected",
    "feature_filled",
    "feature_share",
    "feature_2",
    "feature_3",
]  # columns of scores of a table


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A vae of the digit 3, and a vanilla model of a table with a header, kept."""
    place = tmp_path_factory.mktemp("runs")
    threes = replace(presets.vae(4), data=Data(source="digits", classes=(3,)), train=Train(steps=60))
    aeflax.train(threes, run_dir=place / "threes", report=False)
    table = np.random.RandomState(0).normal(5, 2, size=(90, 3))
    rows = "\n".join(",".join(map(str, row)) + ",0" for row in table)
    (place / "table.csv").write_text(f"width,height,mass,label\n{rows}\n")
    odd = "\n".join(",".join(map(str, row)) + ",1" for row in table[:9] + 30)
    (place / "odd.csv").write_text(f"width,height,mass,label\n{rows}\n{odd}\n")
    base = presets.vanilla(1)
    model = replace(base.model, likelihood=GaussianLikelihood())
    data = Data(source=f"csv:{place / 'table.csv'}", scale="standard", validation=10)
    aeflax.train(replace(base, data=data, model=model, train=Train(steps=60)), run_dir=place / "table", report=False)
    return place


@pytest.mark.slow
def test_scores_anomalies_and_labels_are_written(run, runs):
    code, out, err = run("detect", runs / "threes", "digits", "out.npz")
    assert code == 0, err
    assert "1,797 scores in out.npz" in err
    assert re.search(r"this model .* PCA, code size .* Isolation Forest .* Local Outlier Factor", out, re.DOTALL)
    assert "test examples, which the model was not trained on" in out
    with np.load("out.npz") as found:
        assert set(found) == {"score", "anomaly", "row", "label"}
        np.testing.assert_allclose(found["score"], aeflax.load(runs / "threes").score(files_digits()), rtol=1e-4)
        assert found["anomaly"].dtype == np.bool_
        assert found["anomaly"][found["label"] != 3].mean() > found["anomaly"][found["label"] == 3].mean()


def files_digits():
    from aeflax.data.inputs import open_examples

    return np.asarray(open_examples("digits").values[:])


def test_json_is_all_of_standard_output_and_agrees_with_what_is_kept(run, runs):
    words = ("--anomalous", "1", "--quantile", "0.9", "--json")
    code, out, err = run("detect", runs / "table", runs / "odd.csv", "out.csv", *words)
    assert code == 0, err
    found = json.loads(out)
    assert found["detectors"]["aeflax"]["metrics"]["auroc"] > 0.9
    assert found["detectors"]["aeflax"]["threshold"]["contamination"] == pytest.approx(0.1)
    assert list(found["detectors"]["aeflax"]["threshold"]["held_out"]) == ["validation"]
    kept = json.loads((runs / "table" / "applications" / "separation.json").read_text())
    assert kept["detectors"] == found["detectors"]
    assert {feature["name"] for feature in kept["features"]} == {"width", "height", "mass"}
    values, labels = tables.read(Path("out.csv"), drop=tuple(CULPRITS))
    assert values.shape == (99, 3)
    assert set(tables.carried(Path("out.csv"), ["feature"])["feature"]) <= {"width", "height", "mass", ""}
    np.testing.assert_array_equal(values[:, 2], np.arange(99))
    assert labels.sum() == 9


@pytest.mark.slow
def test_examples_without_a_label_judge_nothing(run, runs):
    """Every third label is left out; the others judge as they would alone."""
    lines = (runs / "odd.csv").read_text().splitlines()[1:]
    names = {"0": "ok", "1": "faulty"}
    told = ["" if place % 3 == 0 else names[line.rpartition(",")[2]] for place, line in enumerate(lines)]
    rows = [f"{line.rpartition(',')[0]},{label}" for line, label in zip(lines, told, strict=True)]
    kept = [row for row, label in zip(rows, told, strict=True) if label]
    found = []
    for file, content in (("some.csv", rows), ("kept.csv", kept)):
        Path(file).write_text("\n".join(["width,height,mass,status", *content]) + "\n")
        words = ("detect", runs / "table", file, "out.csv", "--label", "status", "--anomalous", "faulty", "--json")
        code, out, err = run(*words)
        assert code == 0, err
        found.append(json.loads(out))
        assert (f"{len(kept)} of the examples have labels, and these judge the scores." in err) == (file == "some.csv")
    for name in ("aeflax", "pca", "isolation_forest", "local_outlier_factor"):
        some, alone = (one["detectors"][name]["metrics"] for one in found)
        assert some == pytest.approx(alone)
    for some, alone in zip(found[0]["choices"], found[1]["choices"], strict=True):
        scores, _ = tables.read(Path("out.csv"), drop=tuple(CULPRITS))
        assert some | {"flagged": 0} == alone | {"flagged": 0}  # which is a share of all, with a label or without
        assert alone["flagged"] == pytest.approx(np.mean(scores[:, 0] > alone["threshold"]))
    assert found[0]["choices"][0]["flagged"] != found[1]["choices"][0]["flagged"]
    assert (found[0]["examples"], found[0]["labelled"]) == (len(lines), len(kept))
    model, (values, _) = aeflax.load(runs / "table"), tables.read(runs / "odd.csv")
    known = np.array([None if label == "" else label == "faulty" for label in told], object)
    expected = found[1]["detectors"]["aeflax"]["metrics"]
    assert model.detect(values, known).metrics == pytest.approx(expected)


@pytest.mark.slow
def test_the_oddest_rows_of_a_table_say_what_is_odd_about_them(run, runs):
    """A row of ordinary values but for one of 60."""
    rows = np.random.RandomState(1).normal(5, 2, size=(20, 3))
    rows[7, 1] = 60
    Path("new.csv").write_text("width,height,mass\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n")
    code, out, err = run("detect", runs / "table", "new.csv", "out.csv", "--json")
    assert code == 0, err
    found = json.loads(out)["oddest"]
    assert found[0]["row"] == 7
    worst = found[0]["features"][0]
    assert (worst["name"], worst["value"]) == ("height", pytest.approx(60))
    model, mended = aeflax.load(runs / "table"), rows.copy()
    mended[7, 1] = expected = worst["expected"]
    # With it in the cell the row is less odd, and by the share that is told.
    before, after = model.score(rows)[7], model.score(mended)[7]
    assert worst["share"] == pytest.approx(1 - after / before, abs=1e-4)
    assert worst["share"] > 0.5
    assert not worst["filled"]
    told = tables.carried(
        Path("out.csv"), ["feature", "feature_value", "feature_expected", "feature_filled", "feature_share"]
    )
    assert told["feature"][7] == "height"
    assert float(told["feature_value"][7]) == pytest.approx(60)
    assert float(told["feature_expected"][7]) == pytest.approx(expected, rel=1e-5)
    assert float(told["feature_share"][7]) == pytest.approx(worst["share"], rel=1e-5)
    assert set(told["feature_filled"]) <= {"0", "false", "False", 0}
    assert re.search(r"7 .* height 60 \(", err)
    report = aeflax.load(runs / "table").report().read_text(encoding="utf-8")
    assert "height 60 (" in report
    histogram = json.loads((runs / "table" / "applications" / "anomaly.json").read_text())["histogram"]
    assert histogram["powers"]
    steps = np.diff(np.log(histogram["edges"]))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert {name: sum(shares) for name, shares in histogram["shares"].items()} == pytest.approx(
        {"training": 1, "examples": 1}
    )


@pytest.fixture
def gone(runs):
    """Takes the table's training data away."""
    yield lambda: (runs / "table.csv").rename(runs / "gone.csv")
    (runs / "gone.csv").rename(runs / "table.csv")


@pytest.mark.slow
def test_a_given_threshold_needs_no_training_data(run, runs, gone):
    """An earlier search tells it; the run is then used where its data are not."""
    code, out, err = run("detect", runs / "table", runs / "odd.csv", "first.csv", "--anomalous", "1", "--json")
    assert code == 0, err
    first = json.loads(out)
    own = first["detectors"]["aeflax"]
    gone()
    value = str(own["threshold"]["value"])
    words = (runs / "table", runs / "odd.csv", "second.csv", "--anomalous", "1")
    code, out, err = run("detect", *words)
    assert code == 5
    assert "this needs the data that" in err
    assert f"--threshold {own['threshold']['value']:.9g} as before" in err
    code, out, err = run("detect", *words, "--threshold", value, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert list(found["detectors"]) == ["aeflax"]
    assert found["detectors"]["aeflax"]["metrics"] == own["metrics"]
    assert found["detectors"]["aeflax"]["threshold"]["training"] is None
    assert found["anomalies"] == first["anomalies"]
    assert found["oddest"] == first["oddest"]
    assert Path("second.csv").read_bytes() == Path("first.csv").read_bytes()
    assert "that are normal by their labels it flags" in err
    page = aeflax.load(runs / "table").report("page").read_text()
    judged = page.partition(">Anomalies by labels</h2>")[2].partition(">Anomalies</h2>")[0]
    assert "that are normal by their labels it flags" in judged
    assert "in training" not in judged


def test_labels_that_judge_nothing_are_told_of(run, runs):
    _, out, _ = run("detect", runs / "table", runs / "odd.csv", "out.csv")
    assert "labels (0, 1) that judged nothing: say which are odd by --anomalous" in out
    _, out, _ = run("detect", runs / "table", runs / "odd.csv", "out.csv", "--anomalous", "1")
    assert "judged nothing" not in out


@pytest.mark.slow
def test_words_in_any_column_judge_the_scores(run, runs):
    lines = (
        (runs / "odd.csv").read_text().replace("label", "status").replace(",0\n", ",ok\n").replace(",1\n", ",faulty\n")
    )
    Path("words.csv").write_text(lines)
    words = ("detect", runs / "table", "words.csv", "words-out.csv", "--label", "status")
    code, out, err = run(*words, "--anomalous", "faulty", "--json")
    assert code == 0, err
    code, numbers, _ = run("detect", runs / "table", runs / "odd.csv", "out.csv", "--anomalous", "1", "--json")
    assert json.loads(out)["detectors"]["aeflax"]["metrics"] == json.loads(numbers)["detectors"]["aeflax"]["metrics"]
    with open("words-out.csv") as file:
        assert {row["label"] for row in csv.DictReader(file)} == {"ok", "faulty"}
    said = "has the label broken, which --anomalous names; there are faulty, ok"
    assert said in run(*words, "--anomalous", "broken")[2]
    assert "no column 'state', which --label names" in run(*words[:-1], "state", "--anomalous", "x")[2]
    Path("labelled.csv").write_text(lines.replace("status", "label"))  # words that nobody asks for are in no way
    assert run("detect", runs / "table", "labelled.csv", "labelled-out.csv")[0] == 0


@pytest.mark.slow
def test_a_run_of_the_rows_that_are_well_is_judged_by_the_others(run, runs):
    """The column of labels is named once, when the run is trained."""
    lines = (runs / "odd.csv").read_text().replace("label", "status").replace(",0\n", ",ok\n").replace(",1\n", ",bad\n")
    Path("words.csv").write_text(lines)
    train = ("train", "vanilla", "--data.source", "csv:words.csv", "--data.label", "status", "--data.scale", "standard")
    rest = ("--model.likelihood", "gaussian", "--train.steps", "20", "--no-report", "--run-dir", "well")
    code, out, err = run(*train, "--data.classes", "ok", *rest)
    assert code == 0, err
    assert "72 train, 18 test rows of 3 features" in err
    code, out, err = run("detect", "well", "words.csv", "scores.csv", "--json")
    assert code == 0, err
    assert set(json.loads(out)["detectors"]["aeflax"]["metrics"]) >= {"auroc", "f1"}
    with open("scores.csv") as file:
        assert [row["label"] for row in csv.DictReader(file)].count("bad") == 9
    assert run("encode", "well", "words.csv", "codes.csv")[0] == 0
    Path("plain.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines.splitlines()))
    assert run("detect", "well", "plain.csv", "scores.csv")[0] == 0
    said = "has the label good, which data.classes names; there are bad, ok"
    assert said in run(*train, "--data.classes", "good", *rest[:2])[2]
    assert "no column 'state', which data.label names" in run(*train[:5], "state")[2]
    assert "data.label is for csv:FILE and parquet:FILE" in run("train", "vanilla", "--data.label", "status")[2]


@pytest.mark.slow
def test_only_the_oddest_of_many_rows_are_explained(run, runs, monkeypatch):
    monkeypatch.setattr(oddities, "EXPLAINED", 5)
    code, _, err = run("detect", runs / "table", runs / "odd.csv", "out.csv", "--no-baselines")
    assert code == 0, err
    with open("out.csv") as file:
        rows = list(csv.DictReader(file))
    oddest = {row["row"] for row in sorted(rows, key=lambda row: -float(row["score"]))[:5]}
    assert {row["row"] for row in rows if row["feature"]} == oddest
    assert all((row["feature_expected"] in ("", "nan")) != (row["row"] in oddest) for row in rows)


@pytest.mark.slow
def test_rows_of_a_split_are_those_of_the_file(run, runs):
    """Every fifth row is held out; what was missing there is told as that, and its id goes along."""
    lines = (runs / "table.csv").read_text().splitlines()[1:]
    rows = [f"M{place},{line.rpartition(',')[0]}" for place, line in enumerate(lines)]
    rows[4] = "M4,,1000,1000"  # of the test split, and the oddest
    Path("gaps.csv").write_text("\n".join(["id,width,height,mass", *rows]) + "\n")
    train = ("train", "vanilla", "--data.source", "csv:gaps.csv", "--data.drop", "id", "--data.impute", "median")
    rest = ("--data.scale", "standard", "--model.likelihood", "gaussian", "--train.steps", "5", "--no-report")
    assert run(*train, *rest, "--run-dir", "gaps")[0] == 0
    for source in ("csv:gaps.csv", "gaps.csv"):
        code, out, err = run("detect", "gaps", source, "out.csv", "--split", "test", "--json", "--carry", "id")
        assert code == 0, err
        with open("out.csv") as file:
            found = list(csv.DictReader(file))
        assert [int(row["row"]) for row in found] == list(range(4, 90, 5))
        assert all(row["id"] == f"M{row['row']}" for row in found)
        (first, *_) = json.loads(out)["oddest"]
        assert (first["row"], first["carried"]) == (4, {"id": "M4"})
        assert [one["filled"] for one in first["features"] if one["name"] == "width"] in ([True], [])
        assert "1 of 54 values are missing and filled: 1 of width" in err or "values are missing and filled" in err


@pytest.mark.slow
def test_judging_examples_that_were_trained_on_are_told_of(run, runs):
    _, out, _ = run("detect", runs / "table", runs / "odd.csv", "out.csv", "--anomalous", "1", "--json")
    assert json.loads(out)["trained"] == 62  # of 90 normal rows, without the held-out ones and those of validation
    page = aeflax.load(runs / "table").report("page").read_text()
    assert "62 of the 99 that judge are training examples, which the model knows better than others" in page


@pytest.mark.slow
def test_a_detection_is_shown_in_one_line(runs):
    model = aeflax.load(runs / "table")
    found = model.detect(np.full((4, 3), 60.0), np.array([1, 1, 1, 0]))
    assert repr(found).startswith("Detection(4 anomalies in 4 examples, auroc 0.5")
    assert (found.threshold, found.metrics) == (found.own.threshold.value, found.own.metrics)


@pytest.mark.slow
def test_the_report_shows_it(run, runs):
    """What was searched without labels takes nothing away from what labels judged."""
    run("detect", runs / "table", runs / "odd.csv", "out.csv", "--normal", "0")
    values, _ = tables.read(runs / "odd.csv")
    np.save("x.npy", values[:7])
    run("detect", runs / "table", "x.npy", "out.csv")
    assert run("report", runs / "table")[0] == 0
    page = (runs / "table" / "report.html").read_text()
    assert ">Anomalies</h2>" in page
    assert ">Anomalies by labels</h2>" in page
    assert "AUROC" in page
    assert "height" in page
    assert "of 7 examples of x.npy score above" in page
    for named in ("anomaly", "separation"):
        assert (runs / "table" / "figures" / f"{named}_features.png").exists()


@pytest.mark.slow
def test_labels_do_not_hide_that_all_is_in_another_unit(run, runs):
    values, labels = tables.read(runs / "odd.csv")
    for factor, told in ((1.0, False), (30.0, True)):
        table = np.column_stack([values * [factor, 1, 1], labels])
        np.savetxt("unit.csv", table, delimiter=",", header="width,height,mass,label", comments="")
        code, _, err = run("detect", runs / "table", "unit.csv", "out.csv", "--no-baselines", "--anomalous", "1")
        assert (code, "unit.csv is unlike what the run was trained on" in err) == (0, told), err


def test_images_as_vectors_have_no_features_that_are_odd(run, runs):
    images = aeflax.load(runs / "threes").split("test").values[:9]
    np.save("flat.npy", images.reshape(9, -1))
    code, _, err = run("detect", runs / "threes", "flat.npy", "out.npz", "--no-baselines")
    assert code == 0, err
    with np.load("out.npz") as found:
        assert set(found) == {"score", "anomaly", "row"}


def test_unlabelled_examples_have_no_labels(run, runs):
    values, _ = tables.read(runs / "odd.csv")
    np.save("x.npy", values)
    code, out, _ = run("detect", runs / "table", "x.npy", "out.npz", "--no-baselines")
    assert (code, "AUROC" in out, "Isolation" in out) == (0, False, False)
    with np.load("out.npz") as found:
        assert set(found) == {"score", "anomaly", "row", *CULPRITS}


def test_a_run_directory_that_cannot_be_written_to_is_a_warning(run, runs, monkeypatch):
    def fail(*_):
        raise aeflax.errors.ConfigError("cannot write to applications: Permission denied; choose another place")

    monkeypatch.setattr("aeflax.applications.findings.keep", fail)
    with pytest.warns(aeflax.errors.AeflaxWarning, match="not kept for the report"):
        assert aeflax.load(runs / "table").detect(tables.read(runs / "odd.csv")[0]).scores.shape == (99,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (("table", "RUNS/odd.csv", "a.csv", "--contamination", "0"), 2, "--contamination 0 lies outside (0, 1)"),
        (("table", "RUNS/odd.csv", "a.csv", "--quantile", "1"), 2, "--quantile 1 lies outside (0, 1)"),
        (("table", "RUNS/odd.csv", "a.csv", "--quantile", ".9", "--contamination", ".1"), 2, "give one of them"),
        (("table", "RUNS/odd.csv", "a.csv", "--quantile", ".9", "--threshold", "1"), 2, "give one of them"),
        (("table", "RUNS/odd.csv", "a.csv", "--threshold", "nan"), 2, "threshold nan is no score"),
        (
            ("table", "RUNS/odd.csv", "a.csv", "--normal", "0", "--anomalous", "0"),
            2,
            "cannot be both normal and anomalous",
        ),
        (
            ("table", "RUNS/odd.csv", "a.csv", "--normal", "7"),
            2,
            "has the label 7, which --normal names; there are 0, 1",
        ),
        (("table", "RUNS/table.csv", "a.csv", "--normal", "0"), 5, "all 90 examples of RUNS/table.csv are normal"),
        (("table", "RUNS/odd.csv", "a.csv", "--kind", "elbo"), 2, "the score elbo needs a posterior"),
        (("table", "RUNS/odd.csv", "a.csv", "--samples", "0"), 2, "0 samples: take 1 to"),
        (("table", "RUNS/odd.csv", "a.png"), 2, "scores are no pictures"),
        (("table", "digits", "a.csv"), 5, "this model was trained on [3]"),
        (("table", "narrow.csv", "a.csv"), 5, "narrow.csv lacks 'mass' of the training data; add the column"),
        (("table", "missing.csv", "a.csv"), 5, "line 3, column 2 ('height') is missing"),
        (("table", "empty.csv", "a.csv"), 5, "holds no rows of numbers"),
        (("table", "plain.csv", "a.csv", "--normal", "0"), 2, "has no labels that --normal or --anomalous could name"),
        (("threes", "colour.npy", "a.csv"), 5, "examples have the shape [8, 8, 3]"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(run, runs, tmp_path, words, expected, message):
    (tmp_path / "narrow.csv").write_text("width,height\n1,2\n")
    (tmp_path / "missing.csv").write_text("width,height,mass\n1,2,3\n4,,5\n")
    (tmp_path / "empty.csv").write_text("width,height,mass\n")
    (tmp_path / "plain.csv").write_text("width,height,mass\n1,2,3\n")
    np.save(tmp_path / "colour.npy", np.zeros((4, 8, 8, 3), np.uint8))
    name, *rest = (word.replace("RUNS", str(runs)) for word in words)
    code, out, err = run("detect", runs / name, *rest)
    assert (code, out) == (expected, "")
    assert message.replace("RUNS", str(runs)) in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "a.csv").exists()


@pytest.fixture
def named(runs):
    """A table with an id and a name beside the features, separated as spreadsheets of some countries do it."""
    rows = np.random.RandomState(2).normal(5, 2, size=(6, 3)).round(2)
    lines = [f'0{i};"M;{i}";{100 - i};' + ";".join(map(str, row)).replace(".", ",") for i, row in enumerate(rows)]
    Path("named.csv").write_text("id;name;count;width;height;mass\n" + "\n".join(lines) + "\n")
    return rows


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:named.csv. the run was not trained on:aeflax.errors.AeflaxWarning")
@pytest.mark.parametrize("suffix", ["csv", "npz", "parquet"])
def test_columns_go_along_as_they_stand(run, runs, named, suffix):
    carry = ("--carry", "id", "name", "count")
    code, _, err = run("detect", runs / "table", "named.csv", f"out.{suffix}", "--kind", "reconstruction", *carry)
    assert code == 0, err
    if suffix == "csv":
        lines = Path("out.csv").read_text().splitlines()
        assert lines[0].split(",") == ["score", "anomaly", "row", *CULPRITS, "id", "name", "count"]
        assert re.search(r",2,(width|height|mass),[^,]+,[^,]+,\w+,[^,]+,\w*,\w*,02,M;2,98$", lines[3])
        return
    if suffix == "npz":
        with np.load("out.npz") as stored:
            found = dict(stored)
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        found = {name: np.array(column) for name, column in parquet.read_table("out.parquet").to_pydict().items()}
    assert found["id"].tolist() == ["00", "01", "02", "03", "04", "05"]  # no number would give the zero back
    assert found["name"].tolist() == [f"M;{i}" for i in range(6)]
    assert found["count"].dtype == np.int64
    np.testing.assert_allclose(found["score"], aeflax.load(runs / "table").score(named), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:named.csv. the run was not trained on:aeflax.errors.AeflaxWarning")
def test_text_that_separates_cells_is_quoted(run, runs, named):
    Path("named.csv").write_text(Path("named.csv").read_text().replace("M;3", 'M,"" 3'))
    for command, made in (("encode", ["code_0"]), ("reconstruct", ["width", "height", "mass"])):
        code, _, err = run(command, runs / "table", "named.csv", "out.csv", "--carry", "name")
        assert code == 0, err
        with Path("out.csv").open(newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0] == [*made, "name"]
        assert [row[-1] for row in rows[3:5]] == ["M;2", 'M," 3']


@pytest.mark.filterwarnings("ignore:named.csv. the run was not trained on:aeflax.errors.AeflaxWarning")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("named.csv", "out.npy", "--carry", "id"), 2, "out.npy holds one array and nothing beside it; end it in .csv"),
        (
            ("named.csv", "out.csv", "--carry", "ids"),
            5,
            "named.csv has no column 'ids', which --carry names; it has id",
        ),
        (("digits", "out.csv", "--carry", "id"), 2, "digits is no table, whose columns could be carried along"),
        (("digits", "out.csv", "--carry", "id", "--split", "test"), 2, "leave --split out"),
        (("plain.csv", "out.csv", "--carry", "id"), 5, "plain.csv has no header that names columns, so that --carry"),
        (("own.csv", "out.csv", "--carry", "row"), 2, "what is written has a 'row' of its own"),
    ],
)
def test_what_cannot_go_along_is_a_sentence(run, runs, named, words, code, said):
    Path("plain.csv").write_text("1,2,3\n")
    Path("own.csv").write_text(Path("named.csv").read_text().replace("id", "row", 1))
    found, _, err = run("detect", runs / "table", *words)
    assert found == code
    assert said in err
    assert not Path("out.csv").exists()
