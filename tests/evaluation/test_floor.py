"""The entropy of grey values below which no Bernoulli likelihood comes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special
from variants import experiment

import aeflax
from aeflax.config import Data, GaussianLikelihood, Train

GREY = np.random.RandomState(0).randint(0, 256, (40, 6, 5, 1), np.uint8)


def trained(values, *, likelihood=None, **data):
    base = experiment("vanilla")
    model = base.model if likelihood is None else replace(base.model, likelihood=likelihood)
    return aeflax.train(
        replace(base, data=Data(source="array", batch_size=8, **data), model=model, train=Train(steps=1)),
        values,
        report=False,
    )


def entropy(values):
    return np.mean(special.entr(values) + special.entr(1 - values))


@pytest.mark.slow
@pytest.mark.parametrize("values", [GREY, (GREY / 255).astype(np.float32)], ids=["bytes", "floats"])
def test_the_floor_is_the_mean_binary_entropy_of_each_split(values):
    run = trained(values)
    for split in ("train", "test"):
        shown = run.split(split).values[:].astype(np.float64) / (255 if values.dtype == np.uint8 else 1)
        found = run.evaluate(split)
        assert found["bce_floor"] == pytest.approx(entropy(shown), rel=1e-6)  # float32 of the scaling
        assert found["bce"] > found["bce_floor"]
        assert run.summary[split]["bce_floor"] == found["bce_floor"]
    both = run.evaluate("all")["bce_floor"]
    assert both == pytest.approx(entropy(GREY / 255), rel=1e-6)


@pytest.mark.slow
def test_a_scaling_by_feature_counts_what_the_model_sees():
    values = np.random.RandomState(1).randint(0, 200, (40, 6), np.uint8)
    run = trained(values, scale="unit")
    shown = run.inference.scaled(run.split("test").values[:])
    assert run.evaluate("test")["bce_floor"] == pytest.approx(entropy(np.clip(shown, 0, 1)), rel=1e-6)


@pytest.mark.slow
def test_it_stands_right_after_bce():
    names = list(trained(GREY).evaluate("test"))
    assert names[names.index("bce") + 1] == "bce_floor"


@pytest.mark.slow
def test_there_is_none_for_black_and_white_binarised_or_other_likelihoods():
    assert "bce_floor" not in trained((GREY > 99).astype(np.float32)).evaluate("test")
    assert "bce_floor" not in trained(GREY, binarize="dynamic").evaluate("test")
    assert "bce_floor" not in trained(GREY, likelihood=GaussianLikelihood()).evaluate("test")


def test_what_is_not_in_memory_is_not_read_once_more(tmp_path):
    np.save(tmp_path / "grey.npy", GREY)
    base = experiment("vanilla")
    source = f"npy:{tmp_path / 'grey.npy'}"
    settings = replace(base, data=Data(source=source, batch_size=8, resident=False), train=Train(steps=1))
    assert "bce_floor" not in aeflax.train(settings, report=False).evaluate("test")
