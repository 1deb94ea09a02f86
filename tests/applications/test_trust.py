"""Whether a model copies, overfits, or is given what it does not know."""

from dataclasses import replace

import numpy as np
import pytest
from variants import VARIANTS, experiment

import aeflax
from aeflax import presets
from aeflax.applications import trust
from aeflax.applications.findings import Findings
from aeflax.config import Data, Deterministic, GaussianLikelihood, Train
from aeflax.data.inputs import Inputs
from aeflax.report.trust import section, sentences

GREY = np.random.RandomState(5).randint(0, 256, (20, 9, 7), np.uint8)
DIGITS = {"train": {"mse": 0.01}, "test": {"mse": 0.011}}


@pytest.fixture(scope="module")
def digits():
    return aeflax.train(replace(presets.vanilla(16), data=Data(), train=Train(steps=1500)), report=False)


def linear(latent_dim, values, steps):
    base = presets.vanilla(latent_dim)
    model = replace(base.model, likelihood=GaussianLikelihood(), bottleneck=Deterministic(activation="linear"))
    data = Data(source="array", scale="standard", batch_size=32)
    settings = replace(base, data=data, model=model, train=Train(steps=steps))
    return aeflax.train(settings, values, report=False)


@pytest.mark.slow
def test_a_model_that_compresses_is_no_copy(digits):
    found = trust.judge(digits.inference, digits.split("test").values, DIGITS)
    shares = {name: of["unexplained"] for name, of in found["inputs"].items()}
    assert found["learnt"]
    assert not found["copies"]
    assert shares["data"] < 0.5 < shares["shuffled"]
    mse = np.mean(digits.score(digits.split("test").values))
    assert found["inputs"]["data"]["mse"] == pytest.approx(mse, rel=1e-5)  # 359 examples: all are looked at


@pytest.mark.slow
def test_a_code_as_wide_as_its_input_is_found_to_copy():
    random = np.random.RandomState(0)
    values = random.randn(400, 12) @ (np.eye(12) + 0.3 * random.randn(12, 12))
    wide = linear(12, values.astype(np.float32), 3000)
    found = trust.judge(wide.inference, wide.split("test").values, {})
    assert found["copies"]
    assert found["inputs"]["noise"]["unexplained"] < 0.1
    narrow = linear(3, values.astype(np.float32), 3000)
    found = trust.judge(narrow.inference, narrow.split("test").values, {})
    assert not found["copies"]
    assert found["inputs"]["shuffled"]["unexplained"] > 0.4  # 9 of 12 directions are gone


def test_shuffled_examples_have_the_data_s_features_and_noise_its_range(digits, monkeypatch):
    seen = []
    own = digits.inference.scaled_reconstruct
    monkeypatch.setattr(digits.inference, "scaled_reconstruct", lambda images: seen.append(images) or own(images))
    trust.judge(digits.inference, digits.split("test").values, DIGITS)
    data, shuffled, noise = (rows.reshape(len(rows), -1) for rows in seen)
    assert np.array_equal(np.sort(shuffled, axis=0), np.sort(data, axis=0))
    assert not np.array_equal(shuffled, data)
    assert abs(noise.mean() - 0.5) < 0.01  # 23,000 values of deviation .29
    assert noise.min() >= 0
    assert noise.max() <= 1


@pytest.mark.slow
def test_the_gap_is_the_test_error_over_the_training_error(digits):
    values = digits.split("test").values
    assert trust.judge(digits.inference, values, DIGITS)["gap"] == pytest.approx(1.1)
    assert not trust.judge(digits.inference, values, DIGITS)["overfits"]
    assert trust.judge(digits.inference, values, {**DIGITS, "test": {"mse": 0.02}})["overfits"]
    assert trust.judge(digits.inference, values, {})["gap"] is None


def test_a_few_odd_examples_are_no_overfitting(digits, monkeypatch):
    """Three of 359 that err fifty times as much double the mean; the standard error tells."""
    values = digits.split("test").values
    own = digits.inference.scaled_reconstruct
    odd = np.ones((len(values), 1, 1, 1), np.float32)
    odd[[5, 50, 200]] = 100.0**0.5
    monkeypatch.setattr(
        digits.inference, "scaled_reconstruct", lambda images: images + (own(images) - images) * odd[: len(images)]
    )
    found = trust.judge(digits.inference, values, {"train": {"mse": 0.010}, "test": {"mse": 0.015}})
    assert found["gap"] == pytest.approx(1.5)
    assert not found["overfits"]


def test_other_inputs_are_called_unlike_and_own_ones_are_not(digits):
    known = digits.split("test").values
    for name in ("train", "test"):
        assert trust.unfamiliar(digits.inference, known, Inputs("own", digits.split(name).values)) is None
    noise = np.random.RandomState(0).randint(0, 17, (50, 8, 8, 1), np.uint8)
    said = trust.unfamiliar(digits.inference, known, Inputs("noise.npy", noise))
    assert said is not None
    assert said.startswith("noise.npy is unlike what the run was trained on: 100% of its examples")


def test_a_tenth_of_odd_examples_is_borne(digits):
    known = digits.split("test").values
    noise = np.random.RandomState(0).randint(0, 17, (8, 8, 8, 1), np.uint8)
    mixed = np.concatenate([noise, known[:92]])
    assert trust.unfamiliar(digits.inference, known, Inputs("mixed", mixed)) is None


@pytest.mark.slow
def test_a_model_of_corrupted_examples_is_not_asked():
    run = aeflax.train(replace(experiment("denoising"), train=Train(steps=2)), GREY, report=False)
    noise = np.full((5, 9, 7), 255, np.uint8)
    assert trust.unfamiliar(run.inference, np.zeros((9, 9, 7), np.uint8), Inputs("noise", noise)) is None


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_judged_and_has_a_section(variant):
    values = np.random.RandomState(0).randint(0, 256, (40, 9, 7), np.uint8)
    run = aeflax.train(replace(experiment(variant), train=Train(steps=2)), values, report=False)
    found = trust.judge(run.inference, run.split("test").values, run.summary)
    assert np.isfinite([of["mse"] for of in found["inputs"].values()]).all()
    made = section(Findings("0", found))
    assert len(made.tables[0].rows) == 3
    assert len(sentences(found)) == 3


def test_of_examples_that_are_all_alike_nothing_is_told():
    run = aeflax.train(replace(experiment("vanilla"), train=Train(steps=2)), GREY, report=False)
    found = trust.judge(run.inference, np.zeros((9, 9, 7), np.uint8), {})
    assert found["inputs"]["data"]["unexplained"] is None
    assert (found["copies"], found["learnt"]) == (None, None)
    (told,) = sentences(found)
    assert told.startswith("The test examples are all alike")
    assert section(Findings("0", found)).tables[0].rows[0][2] == "–"


def test_one_odd_example_of_nine_is_no_alarm_and_none_is_no_example(digits):
    known = digits.split("test").values
    noise = np.random.RandomState(0).randint(0, 17, (1, 8, 8, 1), np.uint8)
    assert trust.unfamiliar(digits.inference, known, Inputs("nine", np.concatenate([noise, known[:8]]))) is None
    assert trust.unfamiliar(digits.inference, known, Inputs("none", known[:0])) is None
