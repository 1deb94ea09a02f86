"""The panel of a posterior against closed forms: linear-Gaussian models, Gaussian channels, hand-made encoders."""

import math
from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.stats import norm
from variants import experiment, images

import aeflax
from aeflax import presets
from aeflax.applications import posterior
from aeflax.applications.findings import Findings
from aeflax.applications.inference import Inference
from aeflax.config import KL, Data, Dense, GaussianLikelihood, Optimizer, Penalties, Train
from aeflax.errors import ConfigError, DataError
from aeflax.report.posterior import remedies, section, sentences

RANDOM = np.random.default_rng(0)
FEATURES, UNITS, SCALE = 5, 2, 0.7
WEIGHTS, BIAS = RANDOM.standard_normal((UNITS, FEATURES)), RANDOM.standard_normal(FEATURES)
COVARIANCE = WEIGHTS.T @ WEIGHTS + SCALE**2 * np.eye(FEATURES)


def drawn(count, seed):
    """Examples of the linear-Gaussian model x = z W + b + .7 ε."""
    random = np.random.default_rng(seed)
    codes, noise = random.standard_normal((count, UNITS)), random.standard_normal((count, FEATURES))
    return (codes @ WEIGHTS + BIAS + SCALE * noise).astype(np.float32)


def exact(values):
    """Its log-likelihood: N(x | b, WᵀW + .49 I)."""
    apart = values - BIAS
    quadratic = np.sum(apart @ np.linalg.inv(COVARIANCE) * apart, axis=1)
    return -0.5 * (quadratic + np.linalg.slogdet(COVARIANCE)[1] + FEATURES * math.log(2 * math.pi))


@pytest.fixture(scope="module")
def linear():
    """The model itself, with the exact posterior's mean and 1.3 times its standard deviations."""
    base = presets.vae(UNITS)
    model = replace(base.model, likelihood=GaussianLikelihood(scale=SCALE))
    settings = replace(base, model=model, data=Data(source="array"), train=Train(steps=1))
    run = aeflax.train(settings, drawn(5000, seed=1), report=False)
    precision = np.eye(UNITS) + WEIGHTS @ WEIGHTS.T / SCALE**2
    gain = WEIGHTS.T @ np.linalg.inv(precision) / SCALE**2
    log_var = np.log(1.3**2 / np.diag(precision))
    kernel = np.concatenate([gain, np.zeros((FEATURES, UNITS))], axis=1)
    bias = np.concatenate([-BIAS @ gain, 10 * np.arctanh(log_var / 10)])  # the bottleneck bounds it by 10 tanh(· / 10)
    params = {
        "bottleneck": {"posterior": {"kernel": kernel, "bias": bias}},
        "decoder": {"output": {"kernel": WEIGHTS, "bias": BIAS}},
    }
    params = jax.tree.map(lambda leaf, own: np.asarray(leaf, own.dtype), params, run.state.params)
    return run, Inference(run._program, run.state.replace(params=params), run.inference.domain)


@pytest.mark.slow
def test_the_importance_weighted_bound_is_the_exact_likelihood_of_a_linear_gaussian_model(linear):
    """Of each example the error falls as 1 / √samples: a factor 4 from 16 to 256, here within a fifth."""
    _, inference = linear
    values = drawn(2000, seed=2)
    truth, errors = exact(values), []
    for samples in (16, 256):
        elbo, weighed = map(np.concatenate, zip(*inference.scaled_bounds([values], samples), strict=True))
        assert np.mean(-elbo) < np.mean(-weighed)
        errors.append(np.sqrt(np.mean((-weighed - truth) ** 2)))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)
    assert errors[1] < 0.05


@pytest.mark.slow
def test_its_mean_lies_within_its_standard_error_of_the_expected_likelihood_and_that_falls_with_examples(linear):
    """E log p(x) is the negative entropy. Three standard errors hold 99.7 %; the bias at 256 samples is .001."""
    run, inference = linear
    entropy = 0.5 * (FEATURES * (1 + math.log(2 * math.pi)) + np.linalg.slogdet(COVARIANCE)[1])
    found = []
    for count in (250, 4000):
        test = replace(run._dataset().test, values=drawn(count, seed=3))
        values, _ = posterior.judge(inference, replace(run._dataset(), test=test), samples=256)
        found.append(values["log_likelihood"])
        assert abs(found[-1]["mean"] + entropy) < 3 * found[-1]["standard_error"]
        assert values["elbo"]["mean"] < found[-1]["mean"]
    # A factor 4; the deviation of 250 draws is itself known to 5 %.
    assert found[0]["standard_error"] / found[1]["standard_error"] == pytest.approx(4, rel=0.15)


def channel(count, signal, noise, units=2):
    """Posterior means N(0, signal²), each with the deviation `noise`."""
    mean = signal * np.random.default_rng(4).standard_normal((count, units))
    found = posterior.densities(mean, np.full_like(mean, 2 * math.log(noise)), np.random.default_rng(5))
    kl = 0.5 * (noise**2 + mean**2 - 1 - 2 * math.log(noise)).sum(axis=1).mean()
    return posterior.information(found, kl), kl


@pytest.mark.slow
@pytest.mark.parametrize(("signal", "noise"), [(0.1, 1.0), (0.8, 0.6), (1.5, 0.3)])
def test_the_mutual_information_of_a_gaussian_channel_is_known(signal, noise):
    """½ log(1 + signal² / noise²) a dimension; so is KL(N(0, signal² + noise²) || N(0, 1)).

    Both within 3 standard errors; at 4,000 examples the two bounds are .04 apart or less.
    """
    found, _ = channel(4000, signal, noise)
    truth, whole = math.log(1 + (signal / noise) ** 2), signal**2 + noise**2
    told, aggregated = found["mutual_information"], found["aggregated_kl"]
    assert abs(told["mean"] - truth) < 3 * told["standard_error"]
    assert abs(aggregated["mean"] - (whole - 1 - math.log(whole))) < 3 * aggregated["standard_error"]
    assert 0 <= told["upper"] - told["mean"] < 0.04
    assert not found["saturated"]


def test_its_standard_error_is_the_spread_over_data_sets():
    """Of 200 channels of 300 examples; their standard deviation is known to 5 %, the estimate leaves out ties."""
    found, errors = [], []
    for seed in range(200):
        random = np.random.default_rng(seed)
        mean = random.standard_normal((300, 1))
        told = posterior.information(posterior.densities(mean, np.full_like(mean, -1.0), random), 9.0)
        found.append(told["mutual_information"]["mean"])
        errors.append(told["mutual_information"]["standard_error"])
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.2)


@pytest.mark.slow
def test_the_parts_of_the_kl_add_up_to_it():
    found, kl = channel(4000, 1.5, 0.3)
    told, aggregated = found["mutual_information"], found["aggregated_kl"]
    # One draw an example stands in for the closed form: 4,000 leave a standard error of about .02.
    assert told["mean"] + aggregated["mean"] == pytest.approx(kl, abs=0.06)
    assert told["upper"] + aggregated["lower"] == pytest.approx(told["mean"] + aggregated["mean"])


def test_examples_that_are_all_told_apart_give_the_logarithm_of_their_number():
    found, kl = channel(500, 100.0, 1e-3)
    assert found["mutual_information"]["mean"] == pytest.approx(math.log(500), abs=1e-9)
    assert found["mutual_information"]["upper"] == kl
    assert found["saturated"]


def test_posteriors_that_are_all_alike_tell_nothing():
    found, _ = channel(500, 0.0, 1.0)
    assert found["mutual_information"]["mean"] == pytest.approx(0, abs=1e-12)
    assert found["aggregated_kl"]["mean"] == pytest.approx(0, abs=1e-12)


def test_densities_are_those_of_the_gaussians():
    mean, log_var = np.random.default_rng(6).standard_normal((2, 5, 3))
    found = posterior.densities(mean, log_var, np.random.default_rng(7))
    deviation = np.exp(0.5 * log_var)
    codes = mean + deviation * np.random.default_rng(7).standard_normal((5, 3))
    constant = 1.5 * math.log(2 * math.pi)
    each = np.exp(norm.logpdf(codes[:, None], mean, deviation).sum(axis=2) + constant)
    np.testing.assert_allclose(found.own, np.log(np.diag(each)), rtol=1e-9)
    np.testing.assert_allclose(found.whole, np.log(each.mean(axis=1)), rtol=1e-9)
    np.testing.assert_allclose(found.others, np.log((each.sum(axis=1) - np.diag(each)) / 4), rtol=1e-9)
    np.testing.assert_allclose(found.prior, norm.logpdf(codes).sum(axis=1) + constant, rtol=1e-9)


def test_densities_do_not_depend_on_the_blocks(monkeypatch):
    mean, log_var = np.random.default_rng(6).standard_normal((2, 50, 3))
    whole = posterior.densities(mean, log_var, np.random.default_rng(7))
    monkeypatch.setattr(posterior, "_BLOCK", 7 * 50)
    parted = posterior.densities(mean, log_var, np.random.default_rng(7))
    for name in ("own", "others", "whole", "prior"):
        np.testing.assert_allclose(getattr(parted, name), getattr(whole, name), rtol=1e-12)


def hardly_trained(count):
    """A vae of standard normal vectors with a Gaussian likelihood, after one step."""
    values = np.random.default_rng(8).standard_normal((count, 4)).astype(np.float32)
    base = presets.vae(4)
    model = replace(base.model, likelihood=GaussianLikelihood())
    run = aeflax.train(replace(base, model=model, data=Data(source="array"), train=Train(steps=1)), values)
    return run, values


def layer(kernel, bias):
    return {"kernel": np.float32(kernel), "bias": np.float32(bias)}


def hand_made(run, kernel, bias, **others):
    params = jax.device_get(run.state.params) | {"bottleneck": {"posterior": layer(kernel, bias)}} | others
    return Inference(run._program, run.state.replace(params=params), run.inference.domain)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:at model.likelihood.scale")  # its encoder is not a trained one
def test_active_units_of_a_hand_made_encoder():
    """Means 2 x₀, .2 x₁ (variance .04), .05 x₂ (.0025) and the constant 3; all deviations 1 but the first's, e^-1."""
    run, _ = hardly_trained(4000)
    kernel = np.concatenate([np.diag([2, 0.2, 0.05, 0]), np.zeros((4, 4))], axis=1)
    log_var = 10 * np.arctanh(-0.2)
    inference = hand_made(run, kernel, [0, 0, 0, 3, log_var, 0, 0, 0])
    found, arrays = posterior.judge(inference, run._dataset(), samples=1)
    assert found["active"] == 2
    assert found["collapse"] == "none"
    test = run.split("test").values[:].astype(np.float64)
    np.testing.assert_allclose(arrays["mean_variance"], (test * [2, 0.2, 0.05, 0]).var(axis=0), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(
        arrays["mean"], [2, 0.2, 0.05, 1] * test.mean(axis=0) * [1, 1, 1, 0] + [0, 0, 0, 3], atol=1e-5
    )
    variance = arrays["mean_variance"] + np.exp([-2, 0, 0, 0])
    np.testing.assert_allclose(arrays["deviation"], np.sqrt(variance), rtol=1e-5)
    assert arrays["kl"][3] == pytest.approx(4.5)  # a constant code costs, and tells nothing
    np.testing.assert_allclose(found["kl"]["mean"], arrays["kl"].sum())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:at model.likelihood.scale")  # its encoder is not a trained one
def test_many_draws_add_no_error():
    """Where every draw is alike, as of a decoder that looks at no code, the bounds are those of one draw."""
    run, values = hardly_trained(40)
    blind = {"output": layer(np.zeros((4, 4)), np.full(4, 30.0))}
    inference = hand_made(run, np.zeros((4, 8)), np.zeros(8), decoder=blind)
    one, many = (next(iter(inference.bounds([values[:2]], count))) for count in (1, 20_000))
    for few, more in zip(one, many, strict=True):  # some 1,800 nats; plain sums drift by more
        np.testing.assert_allclose(more, few, rtol=1e-6)


@pytest.mark.parametrize(
    ("active", "kl", "said"), [(0, 4.0, "all"), (3, 0.09, "all"), (3, 5.0, "most"), (4, 5.0, "none"), (8, 0.11, "none")]
)
def test_a_collapse_is_told_by_active_units_and_the_kl(active, kl, said):
    assert posterior.collapse(active, 8, kl) == said


@pytest.mark.slow
def test_binarized_examples_are_judged_as_the_model_is_scored():
    base = experiment("vae", steps=6)
    run = aeflax.train(replace(base, data=replace(base.data, binarize="fixed")), images(55), report=False)
    found = run.evaluate("test")
    values, _ = posterior.judge(run.inference, run._dataset(), samples=400)
    assert values["kl"]["mean"] == pytest.approx(found["kl"], rel=1e-5)
    # One draw an example against 400.
    assert values["elbo"]["mean"] == pytest.approx(found["elbo"], rel=0.02)


def test_large_splits_are_thinned(monkeypatch):
    run = aeflax.train(experiment("vae", steps=2), images(55), report=False)
    monkeypatch.setattr(posterior, "MAX_EXAMPLES", 20)
    assert posterior.judge(run.inference, run._dataset(), "train", samples=1)[0]["examples"] == 15  # every third of 44


def test_what_cannot_be_judged_is_refused():
    run = aeflax.train(experiment("vae", steps=2), images(55), report=False)
    dataset = run._dataset()
    with pytest.raises(ConfigError, match="samples 0 is too few"):
        posterior.judge(run.inference, dataset, samples=0)
    with pytest.raises(ConfigError, match="no split 'validation'"):
        posterior.judge(run.inference, dataset, "validation")
    with pytest.raises(DataError, match="the split test has a single example"):
        posterior.judge(run.inference, replace(dataset, test=replace(dataset.test, values=images(1), labels=None)))
    broken = jax.tree.map(lambda leaf: leaf * np.float32("nan"), run.state.params)
    diverged = Inference(run._program, run.state.replace(params=broken), run.inference.domain)
    with pytest.raises(DataError, match="the model has diverged"):
        posterior.judge(diverged, dataset)


WIDE = Dense(widths=(256, 128, 64))
ELBO = KL()
STEEP = Optimizer(learning_rate=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "mends"),
    [
        (
            {"kl": KL(beta=50.0)},
            {
                "kl.beta smaller than 50": {"kl": KL(beta=1.0)},
                "kl.free-bits": {"kl": KL(beta=50.0, free_bits=0.25)},
            },
        ),
        (
            {"backbone": WIDE},
            {
                "kl.warmup-steps": {"kl": KL(warmup_steps=1000), "backbone": WIDE},
                "learning-rate": {"backbone": WIDE, "optimizer": Optimizer(learning_rate=1e-3)},
            },
        ),
        (
            {"likelihood": GaussianLikelihood(scale=1.0)},
            {"likelihood.scale smaller than 1,": {"likelihood": GaussianLikelihood(scale=None)}},
        ),
    ],
    ids=["beta", "deep", "scale"],
)
@pytest.mark.filterwarnings("ignore:at model.likelihood.scale")  # which warns of this collapse before training
def test_a_collapse_is_diagnosed_and_what_the_diagnosis_names_repairs_it(fault, mends):
    """A huge beta, deep layers at ten times the learning rate, and a decoder taken to be as noisy as the data."""

    def judged(kl=ELBO, optimizer=STEEP, **changes):
        base = presets.vae(8)
        model = replace(base.model, penalties=Penalties(kl=kl), **changes)
        settings = replace(base, data=Data(), model=model, optimizer=optimizer, train=Train(steps=1500))
        run = aeflax.train(settings, report=False)
        return posterior.judge(run.inference, run._dataset(), samples=8)[0]

    collapsed = judged(**fault)
    assert collapsed["collapse"] == "all"
    assert "The posterior has collapsed to the prior" in sentences(collapsed)[-1]
    for named, mend in mends.items():
        assert any(named in remedy for remedy in remedies(collapsed)), named
        assert named in sentences(collapsed)[-1]
        repaired = judged(**mend)
        assert repaired["collapse"] != "all", named
        assert repaired["mutual_information"]["mean"] > 0.4 + collapsed["mutual_information"]["mean"], named
        assert repaired["log_likelihood"]["mean"] > collapsed["log_likelihood"]["mean"] + 0.5, named


def test_what_was_tried_is_not_named_again():
    tried = {"beta": 1.0, "warmup_steps": 100, "free_bits": 0.1, "scale": None}
    assert remedies(tried) == ["a lower --optimizer.learning-rate"]
    assert "warm-up" not in " ".join(remedies(tried | {"beta": 2.0, "warmup_steps": 0}))  # which ends at that beta


def test_the_section_shows_the_panel(linear):
    run, inference = linear
    values, arrays = posterior.judge(inference, run._dataset(), samples=4)
    made = section(Findings("0", values, arrays))
    assert set(made.figures) == {"posterior_kl", "posterior_aggregated"}
    assert made.tables[0].rows[1][1] == f"{values['mutual_information']['mean']:.5g}"
    assert len(made.sentences) == 2
    assert "2 dimensions 2 are active on 1,000 test examples" in made.sentences[0]
