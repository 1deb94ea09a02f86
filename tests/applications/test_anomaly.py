"""Scores, thresholds and verdicts, and what is refused."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import roc_auc_score
from variants import experiment, images

import aeflax
from aeflax import presets
from aeflax.applications import anomaly, detectors, oddities, residuals, separation, threshold
from aeflax.applications.anomaly import Options
from aeflax.applications.inference import Inference
from aeflax.applications.threshold import Flagged
from aeflax.config import Data, GaussianLikelihood, Train
from aeflax.data.inputs import Inputs
from aeflax.engine.placement import choose
from aeflax.errors import ConfigError, DataError

RANDOM = np.random.RandomState(0)
NORMAL = RANDOM.normal(size=(120, 6)).astype(np.float32) @ RANDOM.normal(size=(6, 6)).astype(np.float32)
ODD = NORMAL[:20] + 15
SEARCHED = np.concatenate([NORMAL[:60], ODD])
KNOWN = np.arange(80) >= 60


@pytest.fixture(scope="module")
def tables():
    """A vae of vectors."""
    base = presets.vae(2)
    model = replace(base.model, likelihood=GaussianLikelihood())
    data = Data(scale="standard", batch_size=32)
    return aeflax.train(replace(base, model=model, data=data, train=Train(steps=1500)), NORMAL)


@pytest.fixture(scope="module")
def vae():
    return aeflax.train(experiment("vae", steps=40), images(55))


def bounds(run, values, samples):
    return tuple(map(np.concatenate, zip(*run.inference.bounds([values], samples), strict=True)))


@pytest.mark.slow
def test_the_importance_weighted_bound_is_tighter_with_more_samples(vae):
    """Burda et al. 2016, theorem 1: in expectation it falls with every sample; with one it is the ELBO."""
    elbo, one = bounds(vae, images(55), 1)
    more, (_, most) = bounds(vae, images(55), 16)[1], bounds(vae, images(55), 256)
    assert most.mean() < more.mean() < one.mean()
    assert most.mean() < bounds(vae, images(55), 256)[0].mean()
    assert abs(elbo.mean() - one.mean()) < 0.1 * elbo.mean()  # the KL in closed form and as one draw


@pytest.mark.slow
def test_the_importance_weighted_bound_reaches_the_likelihood_of_a_linear_gaussian_model(tables):
    """Its log p(x) is a Gaussian's of covariance W Wᵀ + scale²; the encoder may be whatever it is."""
    base = tables.inference.scaled_decode(np.zeros((1, 2), np.float32))
    slope = tables.inference.scaled_decode(np.eye(2, dtype=np.float32)) - base
    codes = np.random.RandomState(1).normal(size=(4, 2)).astype(np.float32)
    np.testing.assert_allclose(tables.inference.scaled_decode(codes), base + codes @ slope, atol=1e-5)
    covariance = slope.T @ slope + np.eye(6)
    rows = tables.inference.scaled(NORMAL) - base
    distance = np.einsum("ni,ij,nj->n", rows, np.linalg.inv(covariance), rows)
    exact = 0.5 * (distance + np.linalg.slogdet(covariance)[1] + 6 * np.log(2 * np.pi))
    np.testing.assert_allclose(bounds(tables, NORMAL, 2000)[1], exact, atol=0.1)


def test_an_examples_draws_depend_on_its_place_alone(vae, monkeypatch):
    values = images(55)
    whole = bounds(vae, values, 4)
    again = tuple(map(np.concatenate, zip(*vae.inference.bounds([values[:20], values[20:]], 4), strict=True)))
    np.testing.assert_array_equal(whole, again)
    monkeypatch.setattr("aeflax.evaluation.batches.MAX_BATCH", 1)  # batches of 16
    np.testing.assert_allclose(bounds(vae, values, 4), whole, rtol=1e-5)
    other = bounds(vae, np.roll(values, 1, axis=0), 4)
    assert not np.allclose(np.roll(other, -1, axis=1), whole, rtol=1e-7)


@pytest.mark.slow
def test_no_two_examples_share_their_draws(vae):
    alike = np.repeat(images(1), 40, axis=0)
    assert all(len(np.unique(found)) > 35 for found in bounds(vae, alike, 1))


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["pmap", "mesh"])
def test_devices_change_no_bound(vae, placement):
    chosen = choose(placement)
    state = jax.device_put(jax.device_get(vae.state), chosen.sharding())
    parted = Inference(vae._program.on(chosen), state, vae.inference.domain)
    found = tuple(map(np.concatenate, zip(*parted.bounds([images(55)], 4), strict=True)))
    np.testing.assert_allclose(found, bounds(vae, images(55), 4), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["reconstruction", "elbo", "likelihood"])
def test_anomalies_are_found_by_every_score(tables, kind):
    found = tables.detect(SEARCHED, KNOWN, kind=kind, samples=8)
    assert found.own.metrics["auroc"] > 0.99
    assert found.own.metrics["auroc"] == roc_auc_score(KNOWN, found.scores)
    assert found.anomalies[KNOWN].all()
    assert found.anomalies.shape == found.scores.shape == (80,)
    assert set(found.baselines) == {"pca", "isolation_forest", "local_outlier_factor"}
    assert all(judged.metrics["auroc"] > 0.9 for judged in found.baselines.values())


def test_reconstruction_scores_are_the_runs_own(tables):
    found = tables.detect(SEARCHED, kind="reconstruction", baselines=False)
    np.testing.assert_array_equal(found.scores, tables.score(SEARCHED))


def test_standardized_scores_are_errors_beside_what_is_usual(tables):
    """By their definition, in NumPy; the default of vectors."""
    found = tables.detect(SEARCHED, baselines=False)
    assert found.options.kind == "standardized"
    divisor = tables.inference.domain.scaling.divisor
    test = tables.split("test").values
    well, odd = (((tables.reconstruct(rows) - rows) / divisor).astype(float) ** 2 for rows in (test, SEARCHED))
    mean = np.sort(well, axis=0)[: len(well) - len(well) // 100].mean(axis=0)
    kept = len(well) - len(well) // 100
    usual = (kept * mean + residuals.PRIOR * np.exp(np.log(mean).mean())) / (kept + residuals.PRIOR)
    # float32 rows, scaled there and back
    np.testing.assert_allclose(found.scores, np.mean(odd / usual, axis=1), rtol=1e-4)
    np.testing.assert_allclose(found.weights, 1 / usual, rtol=1e-4)


def test_what_is_usual_of_a_feature_that_never_errs_is_not_nothing():
    errors = np.stack([np.full(1000, 4.0), np.zeros(1000), np.full(1000, 1.0)], axis=1)
    assert residuals.usual(errors)[0] == pytest.approx(4, rel=0.01)
    assert 0 < residuals.usual(errors)[1] < 0.01  # of ten that err as the geometric mean does
    assert (residuals.usual(np.zeros((5, 3))) > 0).all()
    few = residuals.usual(np.array([[8.0, 2.0]]))
    np.testing.assert_allclose(few, [(8 + 40) / 11, (2 + 40) / 11])


def test_a_few_faults_and_many_noisy_features_do_not_change_what_is_usual():
    random = np.random.RandomState(0)
    scales = np.array([1, 1, 1, 0.01, 0.01, 0.01])
    errors = (random.normal(size=(1000, 6)) * scales) ** 2
    errors[:8, 4] = 100
    np.testing.assert_allclose(
        residuals.usual(errors), scales**2, rtol=1.3
    )  # trimmed of a hundredth, shrunk by ten of .01


def test_noise_in_one_feature_hides_no_fault_of_another():
    """Two sensors that are one number, and a third that is noise: the first errs by ten of its own deviations."""
    random = np.random.RandomState(3)
    level = random.normal(size=600)
    rows = np.stack([level, level + 0.02 * random.normal(size=600), random.normal(size=600)], axis=1)
    base = presets.vanilla(1)
    data = Data(scale="standard", batch_size=64)
    run = aeflax.train(
        replace(base, model=replace(base.model, likelihood=GaussianLikelihood()), data=data, train=Train(steps=4000)),
        rows.astype(np.float32),
    )
    odd = rows[:100].copy()
    odd[:, 0] += 0.5
    searched, known = np.concatenate([rows[100:200], odd]).astype(np.float32), np.arange(200) >= 100
    plain, found = (run.detect(searched, known, kind=kind, baselines=False) for kind in ("reconstruction", None))
    assert plain.metrics["auroc"] < 0.7
    assert found.metrics["auroc"] > 0.95
    named = found.culprits["feature"][known]
    assert np.isin(named, ["feature 0", "feature 1"]).mean() > 0.95  # either would explain it
    assert found.culprits["feature_share"][known].min() > 0
    assert {one["feature"] for one in found.blamed[:2]} == {"feature 0", "feature 1"}
    assert sum(one["rows"] for one in found.blamed) == found.anomalies.sum()


def test_the_threshold_flags_the_share_that_was_asked_for():
    scores = np.random.RandomState(0).permutation(1000).astype(float)
    chosen = threshold.choose(scores, 0.05)
    assert chosen.flags(scores).sum() == 50
    assert chosen.training.share == 0.05
    assert chosen.training.low < 0.05 < chosen.training.high
    assert threshold.choose(np.arange(5.0), 0.01).value == 4  # too few to flag one
    assert threshold.choose(np.zeros(9), 0.5).training.share == 0  # ties


def test_the_interval_of_a_share_is_wilsons():
    """Newcombe 1998, table I: 81 of 263 and 0 of 20."""
    flagged = Flagged.of(np.arange(263) < 81)
    np.testing.assert_allclose((flagged.low, flagged.high), (0.2553, 0.3662), atol=5e-5)
    nothing = Flagged.of(np.zeros(20, bool))
    np.testing.assert_allclose((nothing.low, nothing.high), (0.0, 0.1611), atol=5e-5)


def test_what_the_model_never_saw_says_how_often_the_threshold_errs(tables):
    held_out = tables.detect(SEARCHED, baselines=False).own.threshold.held_out
    assert held_out["test"].examples == len(tables.split("test"))


def test_pca_is_left_out_where_it_would_not_compress(tables):
    rows = NORMAL[:2]
    assert detectors.fit(tables.inference, rows) == []
    assert [found.name for found in detectors.fit(tables.inference, NORMAL[:, :2])] == [
        "isolation_forest",
        "local_outlier_factor",
    ]


def test_scores_beyond_float32_are_the_oddest(tables):
    values = np.concatenate([SEARCHED, np.full((1, 6), 3e38, np.float32)])
    found = tables.detect(values, np.append(KNOWN, True))
    for judged in found.detectors.values():
        assert np.isfinite(judged.scores).all()
        assert judged.scores[80] == judged.scores.max()


def test_the_oddest_examples_are_kept_with_where_they_err(tables):
    inputs = Inputs("table", SEARCHED, columns=("a", "b", "c", "d", "e", "f"))
    dataset = tables._dataset()
    known = tables._known
    found = anomaly.detect(tables.inference, dataset, known, inputs, KNOWN, Options(kind="reconstruction"))
    explained = oddities.explain(tables.inference, inputs, found, known())
    values, arrays = oddities.findings(tables.inference, dataset, inputs, found, explained)
    assert arrays["index"][0] == found.scores.argmax()
    np.testing.assert_allclose(arrays["error"].mean(axis=1), arrays["score"], rtol=1e-4)
    assert {feature["name"] for feature in values["features"]} == set("abcdef")
    assert values["features"][0]["oddest"] > values["features"][0]["training"]
    for shares in values["histogram"]["shares"].values():
        np.testing.assert_allclose(sum(shares), 1.0)


def test_labels_say_which_examples_are_anomalous():
    labels = np.array([3, 3, 7, 1])
    np.testing.assert_array_equal(separation.by_label(labels, (3,), (), "x"), [False, False, True, True])
    np.testing.assert_array_equal(separation.by_label(labels, (), (7,), "x"), [False, False, True, False])
    words = np.array(["True", "False", "true"])
    np.testing.assert_array_equal(separation.by_label(words, (), (1,), "x"), [True, False, True])
    with pytest.raises(ConfigError, match=r"no example of x has the label 9, which --normal names; there are 1, 3, 7"):
        separation.by_label(labels, (9,), (), "x")
    with pytest.raises(DataError, match="all 4 examples of x are normal by their labels"):
        separation.by_label(labels, (1, 3, 7), (), "x")
    np.testing.assert_array_equal(separation.by_label(np.array([1.0, np.nan, 3.0]), (1,), (), "x"), [0, np.nan, 1])
    some = np.array(["ok", "odd", "new", ""])
    np.testing.assert_array_equal(separation.by_label(some, ("ok",), ("odd",), "x"), [0, 1, np.nan, np.nan])
    np.testing.assert_array_equal(separation.by_label(np.array(["ok", "", "bad"]), (), ("bad",), "x"), [0, np.nan, 1])


def by_hand(scores, known, threshold):
    flagged = scores > threshold
    hits = np.sum(flagged & known)
    return {
        "flagged": np.mean(flagged),
        "false_positive_rate": np.sum(flagged & ~known) / max(1, np.sum(~known)),
        "precision": hits / flagged.sum(),
        "recall": hits / known.sum(),
        "f1": 2 * hits / (flagged.sum() + known.sum()),
    }


SCORES = arrays.arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e3, 1e3) | st.integers(0, 4).map(float))


@given(scores=SCORES, data=st.data())
def test_other_thresholds_find_what_they_say(scores, data):
    """Against every threshold that tells the scores apart, ties among them."""
    known = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)).filter(any)))
    found = separation.choices(scores, known)
    for one in found:
        for name, value in by_hand(scores, known, float(str(one["threshold"]))).items():
            assert one[name] == pytest.approx(value, rel=1e-12), name  # the same fractions
    every = [by_hand(scores, known, below) for below in np.append(np.unique(scores)[:-1], -np.inf)]
    assert [one["best"] for one in found].count(True) == 1
    assert next(one["f1"] for one in found if one["best"]) == pytest.approx(max(one["f1"] for one in every))
    assert found == sorted(found, key=lambda one: -one["threshold"])
    for recall in separation.RECALLS:
        fewest = min(one["flagged"] for one in every if one["recall"] >= recall)
        assert any(one["flagged"] == pytest.approx(fewest) for one in found), recall


def test_a_threshold_is_told_in_few_digits_and_apart_from_the_scores():
    known, close = np.array([True, False, False]), np.array([0.5, 0.1234567, 0.12345669])
    assert [one["threshold"] for one in separation.choices(close, known)] == [0.312]
    assert separation.choices(close[:1], known[:1])[0]["threshold"] == 0.495  # a hundredth below
    assert separation.choices(close[1:], known[:2])[0]["threshold"] == 0.123456695


def test_other_thresholds_are_part_of_what_is_found(tables):
    found = tables.detect(SEARCHED, KNOWN, baselines=False)
    best = next(one for one in found.choices if one["best"])
    assert np.sum(found.scores > best["threshold"]) == round(best["flagged"] * len(SEARCHED))
    assert not tables.detect(SEARCHED, baselines=False).choices
    false = found.false_positives
    assert (false.examples, false.share) == (60, np.mean(found.anomalies[:60]))


@pytest.mark.parametrize(
    ("values", "labels", "options", "message"),
    [
        (SEARCHED[:, :5], None, {}, r"examples have the shape \[5\]; this model was trained on \[6\]"),
        (SEARCHED[:0], None, {}, "the array is empty"),
        (SEARCHED, KNOWN[:5], {}, r"labels have the shape \[5\]; 80 examples need \[80\]"),
        (SEARCHED, np.arange(80), {}, "labels must be 1 where an example is anomalous"),
        (SEARCHED, np.ones(80), {}, "all 80 examples of the array are anomalous by their labels"),
        (SEARCHED, None, {"contamination": 0.0}, r"contamination 0 lies outside \(0, 1\)"),
        (SEARCHED, None, {"contamination": float("nan")}, "contamination nan"),
        (SEARCHED, None, {"samples": 0}, "0 samples: take 1 to"),
        (
            SEARCHED,
            None,
            {"kind": "density"},
            "kind 'density' is no score; choose reconstruction, standardized, elbo, likelihood",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(tables, values, labels, options, message):
    with pytest.raises((ConfigError, DataError), match=message):
        tables.detect(values, labels, **options)


def test_images_of_another_channel_count_are_refused(vae):
    with pytest.raises(DataError, match=r"examples have the shape \[9, 7, 3\]"):
        vae.detect(images(4, (9, 7, 3)))


@pytest.mark.parametrize("kind", ["elbo", "likelihood"])
def test_only_a_posterior_has_bounds(kind):
    run = aeflax.train(experiment("vanilla", steps=2), images(55))
    with pytest.raises(ConfigError, match=f"the score {kind} needs a posterior, as the preset vae has"):
        run.detect(images(4), kind=kind)
