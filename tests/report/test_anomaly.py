"""The section on anomalies: words, table and figures, of images and of vectors, with labels and without."""

import numpy as np
import pytest

from aeflax.applications.findings import Findings
from aeflax.report import canvas
from aeflax.report.anomaly import section

THRESHOLD = {
    "value": 0.0512,
    "contamination": 0.05,
    "training": {"examples": 147, "share": 0.0476, "low": 0.0233, "high": 0.095},
    "held_out": {"test": {"examples": 36, "share": 0.0278, "low": 0.0049, "high": 0.1417}},
}
METRICS = {"auroc": 0.98641, "auprc": 0.9, "precision": 0.8, "recall": 0.7, "f1": 0.75}


def found(shape, *, labelled=True):
    random = np.random.RandomState(0)
    verdict = {"threshold": THRESHOLD, "flagged": 0.1, "metrics": METRICS if labelled else None}
    values = {
        "source": "x<b>.csv",
        "kind": "reconstruction",
        "samples": 32,
        "examples": 40,
        "anomalies": 4,
        "anomalous": 5 if labelled else None,
        "fitted": 147,
        "detectors": dict.fromkeys(("aeflax", "pca", "isolation_forest", "local_outlier_factor"), verdict),
        "histogram": {
            "edges": [0, 0.1, 0.2],
            "shares": {
                name: [0.5, 0.5] for name in ("training", *(("normal", "anomalous") if labelled else ("examples",)))
            },
        },
        "unit_range": False,
    }
    if labelled:
        curve = {"false_positive_rate": [0, 0.5, 1], "true_positive_rate": [0, 0.9, 1]}
        choice = {
            "threshold": 0.123456789,
            "flagged": 0.1,
            "false_positive_rate": 0.02,
            "precision": 0.5,
            "recall": 0.8,
            "f1": 0.6,
            "best": True,
        }
        values["choices"] = [choice, choice | {"best": False}]
        values["roc"] = dict.fromkeys(values["detectors"], curve)
    if len(shape) == 1:
        values["features"] = [{"name": "a $ name & more", "oddest": 3.0, "training": 0.0}]
    arrays = {name: random.rand(5, *shape).astype(np.float32) for name in ("example", "reconstruction", "error")}
    return Findings("ab", values, {**arrays, "index": np.arange(5), "score": random.rand(5)})


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("shape", [(6, 5, 1), (6, 5, 3), (1, 1, 1), (4,)], ids=str)
def test_every_kind_of_data_has_its_figures(shape, labelled):
    made = section(found(shape, labelled=labelled))
    named = "separation" if labelled else "anomaly"
    expected = {f"{named}_scores", f"{named}_features" if len(shape) == 1 else f"{named}_oddest"}
    assert set(made.figures) == (expected | {"separation_roc"} if labelled else expected)
    for name, (figure, caption) in made.figures.items():
        assert caption.endswith(".")
        assert canvas.INK not in canvas.svg(figure, name), "figures take the page's colour"


def test_the_words_say_how_many_false_alarms_to_expect():
    text = " ".join(section(found((4,))).sentences)
    assert "4 of 40 examples of x<b>.csv score above the threshold 0.0512" in text
    assert "false-positive rate to expect" in text
    assert "Of 36 test examples" in text


def test_the_table_compares_with_the_baselines():
    table = section(found((4,))).tables[0]
    assert [row[0] for row in table.rows][:2] == ["this model", "PCA, code size"]
    assert table.rows[0][3] == "0.9864"
    assert section(found((4,), labelled=False)).tables[0].columns == ["detector", "threshold", "flagged"]


def test_a_model_that_knows_its_training_examples_better_is_said_to():
    made = found((4,))
    assert "That is more" not in " ".join(section(made).sentences)
    held_out = {"test": {"examples": 36, "share": 0.2, "low": 0.1, "high": 0.36}}
    own = made.values["detectors"]["aeflax"]
    made.values["detectors"]["aeflax"] = {**own, "threshold": {**THRESHOLD, "held_out": held_out}}
    assert "That is more: the model knows its training examples better" in " ".join(section(made).sentences)


def test_a_logarithmic_axis_has_plain_numbers():
    made = found((4,))
    made.values["features"] = [{"name": "a", "oddest": 300.0, "training": 0.01}]
    drawn = canvas.svg(section(made).figures["separation_features"][0], "features")
    assert "mathdefault" not in drawn
    assert ">100</text>" in drawn


def test_other_thresholds_are_a_table_of_their_own_where_labels_are_known():
    _, other = section(found((4,))).tables
    assert [row[0] for row in other.rows] == ["0.123456789, the highest F1", "0.123456789"]
    assert other.rows[0][1:] == ["10.00%", "2.00%", "0.5000", "0.8000", "0.6000"]
    assert "judged too kindly" in other.caption
    assert len(section(found((4,), labelled=False)).tables) == 1
