"""The section on generation: words, table and figures, of images and of vectors, with a prior and without."""

import numpy as np
import pytest

from aeflax.applications.findings import Findings
from aeflax.report import canvas
from aeflax.report.generation import section, sentences

FLAGGED = {"examples": 1000, "share": 0.02, "low": 0.012, "high": 0.031}
SAMPLES = {
    "training_examples": 1438,
    "test_examples": 359,
    "near": 0.0051,
    "far": 0.04,
    "median": {"samples": 0.02, "test": 0.0173},
    "below": {"samples": FLAGGED, "test": {**FLAGGED, "examples": 359}},
    "beyond": FLAGGED,
    "own": {"examples": 158, "share": 0.81, "low": 0.75, "high": 0.86},
    "expected": 0.8,
    "nearer": False,
    "favours": False,
    "memorises": False,
    "tellable": True,
    "histogram": {"edges": [0, 0.01, 0.02], "shares": {"samples": [0.5, 0.5], "test": [0.4, 0.6]}},
}


def found(shape=(6, 5, 1), *, prior=True, code=4, **samples):
    random = np.random.RandomState(0)
    measure = "kl" if prior else "variance"
    values = {
        "unit_range": len(shape) == 3,
        "prior": prior,
        "measure": measure,
        "traversal": [{"dimension": i, measure: 1.5 / (i + 1), "low": -3.0, "high": 3.0} for i in range(code)],
    }
    arrays = {
        "traversal": random.rand(1, code, 9, *shape),
        "interpolations": random.rand(1, 3, 2, 9, *shape),
    }
    if prior:
        values |= {"seed": 0, "temperature": 0.7, "samples": SAMPLES | samples, "temperatures": [0.5, 1.0]}
        arrays |= {
            "samples": random.rand(1, 2, 8, *shape),
            "nearest": random.rand(1, 2, 8, *shape),
            "distance": random.rand(1, 2, 8) / 100,
            "temperatures": random.rand(1, 2, 8, *shape),
        }
        if code == 2:
            values["grid_sigmas"] = [-1.0, 0.0, 1.0]
            arrays["grid"] = random.rand(1, 3, 3, *shape)
    return Findings("ab", values, arrays)


@pytest.mark.slow
@pytest.mark.parametrize("code", [1, 2, 4])
@pytest.mark.parametrize("prior", [True, False])
@pytest.mark.parametrize("shape", [(6, 5, 1), (6, 5, 3), (1, 1, 1), (4,)], ids=str)
def test_every_kind_of_model_has_its_figures(shape, prior, code):
    made = section(found(shape, prior=prior, code=code))
    expected = {"interpolations", "traversal"}
    expected |= {"samples", "distances", "temperature"} if prior else set()
    expected |= {"grid"} if prior and code == 2 else set()
    assert {name.removeprefix("generation_") for name in made.figures} == expected
    for name, (figure, caption) in made.figures.items():
        assert caption.endswith(".")
        assert canvas.INK not in canvas.svg(figure, name), "figures take the page's colour"


@pytest.mark.slow
def test_rows_of_a_traversal_name_their_dimension_and_its_kl():
    drawn = canvas.svg(section(found()).figures["generation_traversal"][0], "traversal")
    for word in (">0: 1.5<", ">3: 0.38<", "dimension: KL, nats", "−3.0"):
        assert word in drawn
    (table,) = section(found()).tables
    assert table.columns == ["dimension", "KL, nats", "from", "to"]
    assert table.rows[1] == ["1", "0.75", "-3", "3"]
    assert section(found(prior=False)).tables[0].columns[1] == "variance"


@pytest.mark.parametrize(
    ("nearer", "favours", "said"),
    [
        (False, False, "So nothing says that it memorises."),
        (True, False, "training examples are not seen to be favoured"),
        (False, True, "the model knows these better than others"),
        (True, True, "So it memorises: its samples are nearer to training examples than unseen examples are"),
    ],
)
def test_the_verdict_says_whether_it_memorises(nearer, favours, said):
    made = found(nearer=nearer, favours=favours, memorises=nearer and favours)
    assert said in sentences(made.values)[-1]


def test_a_test_without_power_acquits_nobody():
    made = found(nearer=True, favours=False, memorises=False, tellable=False)
    assert "cannot be told" in sentences(made.values)[-1]


def test_the_words_give_the_statistics_with_their_intervals():
    text = " ".join(sentences(found().values))
    assert "1,000 samples from the prior (seed 0, temperature 0.7) and 359 test examples" in text
    assert "2.0% (95 % interval 1.2% to 3.1%) of the samples are nearer than 0.0051" in text
    assert "158 different nearest ones" in text
    assert "80.0% are so by chance" in text


def test_without_a_prior_nothing_is_said_to_be_drawn():
    (sentence,) = sentences(found(prior=False).values)
    assert "has no prior" in sentence


def test_distances_are_shown_in_a_unit_that_keeps_them_short():
    made = found()
    made.arrays["distance"][:] = 0.0123
    drawn = canvas.svg(section(made).figures["generation_samples"][0], "samples")
    assert ">1.2<" in drawn
    assert "in 10⁻²" in drawn


def test_exact_copies_are_drawn():
    made = found()
    made.arrays["distance"][:] = 0
    assert "squared error per feature<" in canvas.svg(section(made).figures["generation_samples"][0], "samples")
