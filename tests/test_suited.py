"""A posterior that would not pay is told of before training."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from variants import experiment, images

import aeflax
from aeflax.config import KL, Bernoulli, Data, GaussianLikelihood, Penalties, Train
from aeflax.errors import AeflaxWarning

DATA = images(60)


def settings(likelihood, beta=1.0):
    base = experiment("vae")
    model = replace(base.model, likelihood=likelihood, penalties=Penalties(kl=KL(beta=beta)))
    return replace(base, model=model, train=Train(steps=2))


@pytest.mark.slow
def test_a_scale_that_makes_the_code_worthless_is_told_with_its_worth():
    """Uniform bytes have the variance 1 / 12: of 63 pixels a code saves ½ · 63 / 12 = 2.6 nats, less than 4."""
    with pytest.warns(AeflaxWarning, match=r"saves 2\.[567] nats .* each of its 4 dimensions"):
        aeflax.train(settings(GaussianLikelihood()), DATA)


@pytest.mark.slow
def test_a_batch_that_is_mostly_padding_is_told_of():
    few = replace(settings(Bernoulli(), beta=0.0), data=Data(batch_size=256))
    with pytest.warns(AeflaxWarning, match=r"batch_size=256 is 5 times the 48 training images: .* padding"):
        aeflax.train(few, DATA)


@pytest.mark.slow
def test_a_sweep_says_it_once(tmp_path):
    with pytest.warns(AeflaxWarning, match="saves") as found:
        aeflax.sweep(settings(GaussianLikelihood()), {"train.seed": [0, 1, 2]}, DATA, run_dir=tmp_path, report=False)
    assert len(found) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("likelihood", "beta", "data"),
    [
        (GaussianLikelihood(scale=None), 1.0, DATA),
        (GaussianLikelihood(scale=0.5), 1.0, DATA),
        (GaussianLikelihood(), 0.5, DATA),
        (Bernoulli(), 1.0, DATA),
        (GaussianLikelihood(), 1.0, np.random.RandomState(0).normal(size=(60, 9)).astype(np.float32) * 3),
    ],
    ids=["learned", "smaller", "beta", "bernoulli", "wide-data"],
)
def test_a_code_that_pays_is_not_warned_of(likelihood, beta, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error", AeflaxWarning)
        aeflax.train(settings(likelihood, beta), data)


@pytest.mark.slow
def test_a_feature_that_outweighs_all_others_is_told_of():
    rows = np.random.RandomState(0).normal(size=(60, 9)).astype(np.float32)
    rows[:, 4] *= 1e4
    base = experiment("vanilla", steps=2)
    model = replace(base.model, likelihood=GaussianLikelihood())
    with pytest.warns(
        AeflaxWarning, match=r"the variance of feature 4 is 1e\+08 times the median .*--data.scale standard"
    ):
        aeflax.train(replace(base, model=model), rows, report=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AeflaxWarning)
        aeflax.train(replace(base, model=model, data=replace(base.data, scale="standard")), rows, report=False)


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "told"), [(12, True), (4, False)])
def test_a_feature_that_has_nearly_all_of_the_variance_is_told_of(factor, told):
    rows = np.random.RandomState(0).normal(size=(60, 9)).astype(np.float32)
    rows[:, 4] *= factor
    base = experiment("vanilla", steps=2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", AeflaxWarning)
        aeflax.train(replace(base, model=replace(base.model, likelihood=GaussianLikelihood())), rows, report=False)
    assert any("the variance of feature 4 is" in str(one.message) for one in said) == told


@pytest.mark.slow
def test_a_column_that_numbers_the_rows_is_told_of(tmp_path):
    rows = np.random.RandomState(0).normal(size=(60, 3))
    lines = [f"{100 + 2 * i},{','.join(map(str, row))}" for i, row in enumerate(rows)]
    (tmp_path / "t.csv").write_text("the id,a,b,c\n" + "\n".join(lines) + "\n")
    base = experiment("vanilla", steps=2)
    data = replace(base.data, source=f"csv:{tmp_path / 't.csv'}", scale="standard")
    base = replace(base, data=data, model=replace(base.model, likelihood=GaussianLikelihood()))
    with pytest.warns(AeflaxWarning, match=r"the column 'the id' rises from row to row.*--data.drop 'the id'$"):
        aeflax.train(base, report=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AeflaxWarning)
        aeflax.train(replace(base, data=replace(data, drop=("the id",))), report=False)
