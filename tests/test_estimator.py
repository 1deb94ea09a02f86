"""The scikit-learn estimators: scikit-learn's own checks, and what these leave open."""

import doctest
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from aeflax.data.dataset import Dataset, Scaling
from aeflax.data.sources import Examples
from aeflax.errors import DivergedError
from aeflax.estimator import AutoencoderOutlierDetector, AutoencoderTransformer, detector, fitting, transformer
from aeflax.presets import PRESETS
from aeflax.rundir.checkpoint import state_sha256
from aeflax.training.trainer import Trainer

ROOT = Path(__file__).parent.parent
X, LABELS = load_wine(return_X_y=True)  # [178, 13]
BOTH = (AutoencoderTransformer, AutoencoderOutlierDetector)
WELL = {"epochs": 300, "learning_rate": 0.01}  # a budget that trains to the end
CHECKS = 47  # of scikit-learn 1.9.1, for each of the two


def fitted(kind=AutoencoderTransformer, data=X, **arguments):
    return kind(**{"epochs": 3, "random_state": 0} | arguments).fit(data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=[pytest.mark.slow] * (name != "vanilla")) for name in PRESETS]
)
def test_all_of_scikit_learns_checks_pass_and_none_is_skipped(kind, variant):
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(ROOT),
    }
    arguments = json.dumps({"variant": variant, "epochs": 3})
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "estimator_checks.py"), kind.__name__, arguments],
        env=os.environ | cache,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"passed"}, done.stderr
    assert found["passed"] >= CHECKS


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["vanilla", "denoising", "vae"])
def test_fit_gives_the_weights_of_the_project_s_own_trainer(variant):
    model = fitted(variant=variant, batch_size=50)
    rows = ((X - model.shift_) / model.divisor_).astype(np.float32)
    identity = Scaling(np.zeros(1, np.float32), np.ones(1, np.float32))
    dataset = Dataset("wine", Examples(rows), None, Examples(rows), identity)
    trainer = Trainer(fitting.program(model.experiment_, (13,)), dataset)
    assert state_sha256(trainer.fit()) == state_sha256(model.state_)


@pytest.mark.parametrize("variant", ["vanilla", "denoising", "vae"])
def test_as_many_partial_fits_as_epochs_are_a_fit(variant):
    whole = fitted(variant=variant, batch_size=50)
    parts = AutoencoderTransformer(variant, batch_size=50, random_state=0)
    for _ in range(3):
        parts.partial_fit(X)
    assert state_sha256(parts.state_) == state_sha256(whole.state_)
    assert parts.n_passes_ == whole.n_passes_ == 3


def test_partial_fit_goes_on_after_a_fit_and_after_pickling():
    model = fitted(batch_size=50)
    model.partial_fit(X)
    again = pickle.loads(pickle.dumps(fitted(batch_size=50))).partial_fit(X)
    assert (
        state_sha256(again.state_) == state_sha256(model.state_) == state_sha256(fitted(batch_size=50, epochs=4).state_)
    )


def test_partial_fit_keeps_the_first_scaling():
    model = AutoencoderTransformer(random_state=0).partial_fit(X)
    before = model.shift_
    np.testing.assert_array_equal(model.partial_fit(X + 100).shift_, before)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOTH)
def test_fits_of_nearly_equal_size_compile_once(kind):
    """Other seeds, rates, budgets and numbers of examples are arguments of the compiled programs."""
    compiled = []
    listening = True

    def listen(name, duration, **of):
        if listening and "backend_compile" in name:
            compiled.append(of)

    model = fitted(kind, X[:100], latent_dim=3, widths=(7,))
    getattr(model, "transform" if hasattr(model, "transform") else "predict")(X)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for changed in ({"random_state": 1}, {"random_state": None}, {"learning_rate": 0.01}, {"epochs": 5}):
            model = fitted(kind, X[:90], **{"latent_dim": 3, "widths": (7,)} | changed)
            getattr(model, "transform" if hasattr(model, "transform") else "predict")(X[:33])
        assert compiled == []
        fitted(kind, X[:90], latent_dim=4, widths=(7,))  # the listener does hear
        assert compiled
    finally:
        listening = False


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["vanilla", "vae"])
def test_equal_seeds_give_equal_fits_and_none_draws_one(variant):
    def digest(seed):
        return state_sha256(fitted(variant=variant, random_state=seed).state_)

    assert digest(4) == digest(4) == digest(np.int64(4))
    assert digest(4) != digest(5)
    assert digest(None) != digest(None)
    assert digest(np.random.RandomState(1)) == digest(np.random.RandomState(1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_and_reconstructions_have_the_dtype_of_what_went_in(dtype):
    model = fitted(data=X.astype(dtype))
    codes = model.transform(X.astype(dtype))
    assert codes.dtype == model.inverse_transform(codes).dtype == dtype


def test_what_is_scored_is_the_error_of_the_reconstruction():
    model, odd = fitted(), fitted(AutoencoderOutlierDetector)
    error = ((model.inverse_transform(model.transform(X)) - X) / X.std(axis=0)) ** 2
    np.testing.assert_allclose(odd.score_samples(X), -error.mean(axis=1), rtol=1e-4)  # float32 networks
    np.testing.assert_allclose(model.score(X), -error.mean(), rtol=1e-4)
    assert odd.score_samples(X).dtype == np.float64


@pytest.mark.slow
def test_training_teaches_more_than_the_mean():
    """Which would score -1. A single layer reaches PCA's error, a hidden layer half of it."""
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    pca = PCA(3).fit(scaled)
    best = -np.mean((pca.inverse_transform(pca.transform(scaled)) - scaled) ** 2)
    assert fitted(latent_dim=3, **WELL).score(X) == pytest.approx(best, rel=0.05)
    assert fitted(latent_dim=3, widths=(32,), **WELL).score(X) > best / 1.5


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_the_contamination_is_the_share_of_outliers_in_training(share):
    model = fitted(AutoencoderOutlierDetector, contamination=share)
    assert np.mean(model.predict(X) == -1) == pytest.approx(share, abs=1 / len(X))
    np.testing.assert_array_equal(model.predict(X) == -1, model.decision_function(X) < 0)
    np.testing.assert_allclose(model.decision_function(X), model.score_samples(X) - model.offset_)


def test_what_is_far_from_the_data_is_odd():
    model = fitted(AutoencoderOutlierDetector, epochs=200)
    assert (model.predict(X + 20 * X.std(axis=0) * np.sign(np.random.RandomState(0).randn(*X.shape))) == -1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "conf"}, "variant='conf' is none of vanilla, .*; did you mean conv"),
        ({"likelihood": "normal"}, "likelihood='normal' is none of gaussian, bernoulli"),
        ({"scale": "standart"}, "scale='standart' .* did you mean standard"),
        ({"latent_dim": 0}, "latent_dim=0 lies outside"),
        ({"widths": 5}, "widths=5 is not a tuple"),
        ({"widths": (5, 0)}, r"widths=\(5, 0\) holds 0"),
        ({"variant": "conv", "widths": []}, r"widths=\(\) leaves variant='conv' no layer"),
        ({"activation": "softmax"}, "activation='softmax' is none of relu"),
        ({"code_activation": "softmax"}, "code_activation='softmax' is none of relu"),
        (
            {"code_activation": "linear", "variant": "vae"},
            "code_activation='linear': the code of variant='vae' has none",
        ),
        ({"epochs": 1.5}, "epochs=1.5 is not a whole number"),
        ({"batch_size": -1}, "batch_size=-1 lies outside"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0 lies outside"),
        ({"random_state": -1}, "random_state=-1 lies outside"),
        ({"random_state": "one"}, "'one' cannot be used to seed"),
        ({"variant": "sparse", "sparsity": -1.0}, "sparsity=-1.0 lies outside"),
        ({"variant": "denoising", "noise": -1.0}, "noise=-1.0 lies outside"),
        ({"variant": "denoising", "corruption": "masking", "noise": 1.5}, "noise=1.5 lies outside"),
        ({"variant": "vae", "beta": -1.0}, "beta=-1.0 lies outside"),
        ({"verbose": -1}, "verbose=-1"),
        ({"image_shape": (3, 5)}, r"image_shape=\(3, 5\) has 15 features, but X has 13"),
        ({"image_shape": 13}, "image_shape=13 is neither"),
        ({"likelihood": "bernoulli"}, "likelihood='bernoulli' needs data in .*scale='unit'"),
        ({"likelihood": "bernoulli", "scale": "none"}, "needs X in .* it spans"),
    ],
)
def test_a_bad_argument_is_named_in_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        fitted(**arguments)


@pytest.mark.parametrize("share", [0, 0.6, -0.1, True, "auto"])
def test_a_bad_contamination_is_named_in_fit(share):
    with pytest.raises(ValueError, match=r"contamination=.* lies outside \(0, 0.5\]"):
        fitted(AutoencoderOutlierDetector, contamination=share)


@pytest.mark.slow
def test_numbers_and_lists_of_a_parameter_search_are_taken():
    model = fitted(latent_dim=np.int64(3), widths=[np.int32(5), 4], learning_rate=np.float32(0.01), epochs=np.int64(1))
    assert model.transform(X).shape == (len(X), 3)
    assert state_sha256(model.state_) == state_sha256(
        fitted(latent_dim=3, widths=(5, 4), learning_rate=float(np.float32(0.01)), epochs=1).state_
    )


@pytest.mark.slow
@pytest.mark.parametrize("corruption", ["gaussian", "masking", "salt-pepper"])
def test_the_level_of_every_corruption_is_the_noise(corruption):
    def digest(noise):
        model = fitted(variant="denoising", corruption=corruption, noise=noise)
        return state_sha256(model.state_)

    standard = {"gaussian": 0.4, "masking": 0.5, "salt-pepper": 0.2}[corruption]
    assert digest(None) == digest(standard) != digest(0.1)


@pytest.mark.slow
def test_it_is_a_step_of_a_pipeline_and_searched():
    steps = make_pipeline(AutoencoderTransformer(random_state=0, **WELL), KNeighborsClassifier())
    search = GridSearchCV(steps, {"autoencodertransformer__latent_dim": [1, 6]}, cv=2).fit(X, LABELS)
    assert search.best_params_ == {"autoencodertransformer__latent_dim": 6}
    alone = GridSearchCV(AutoencoderTransformer(random_state=0, **WELL), {"latent_dim": [1, 6]}, cv=2).fit(X)
    assert alone.best_params_ == {"latent_dim": 6}


@pytest.mark.parametrize("kind", BOTH)
def test_a_clone_and_a_pickle_give_the_same(kind):
    model = fitted(kind)
    use = "transform" if kind is AutoencoderTransformer else "score_samples"
    expected = getattr(model, use)(X)
    np.testing.assert_array_equal(getattr(pickle.loads(pickle.dumps(model)), use)(X), expected)
    np.testing.assert_array_equal(getattr(clone(model).fit(X), use)(X), expected)


@pytest.mark.slow
def test_names_of_features_are_kept_and_codes_have_names():
    frame = pandas.DataFrame(X, columns=[f"f{i}" for i in range(13)])
    model = fitted(data=frame, latent_dim=2)
    assert list(model.feature_names_in_) == list(frame.columns)
    names = ["autoencodertransformer0", "autoencodertransformer1"]
    assert list(model.get_feature_names_out()) == names
    codes = model.set_output(transform="pandas").transform(frame)
    assert list(codes.columns) == names
    np.testing.assert_array_equal(codes.index, frame.index)
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[frame.columns[::-1]])


def test_large_offsets_cost_no_precision():
    """They are gone before float32 begins: a float32 of 1e9 has steps of 64."""
    far, near = fitted(data=X + 1e9), fitted()
    assert far.score(X + 1e9) == pytest.approx(near.score(X), rel=1e-3)


@pytest.mark.slow
def test_a_constant_feature_comes_back():
    data = np.c_[X, np.full(len(X), 0.1)]
    model = fitted(data=data, latent_dim=6, **WELL)
    back = model.inverse_transform(model.transform(data))[:, -1]
    assert model.divisor_[-1] == 1
    np.testing.assert_allclose(back, 0.1, atol=1e-4)


@pytest.mark.slow
def test_bernoulli_reconstructions_lie_in_the_range_of_the_data():
    model = fitted(likelihood="bernoulli", scale="unit", latent_dim=2, epochs=100)
    back = model.inverse_transform(model.transform(X))
    assert (back >= X.min(axis=0)).all()
    assert (back <= X.max(axis=0)).all()
    assert fitted(data=model._scaled(X), likelihood="bernoulli", scale="none").experiment_


@pytest.mark.slow  # convolutions take long to compile
def test_conv_sees_images_where_their_shape_is_given():
    digits = load_digits().data[:100]
    image = fitted(variant="conv", data=digits, image_shape=(8, 8), widths=(4,), latent_dim=3)
    signal = fitted(variant="conv", data=digits, widths=(4,), latent_dim=3)
    colours = fitted(variant="conv", data=digits, image_shape=[4, 4, 4], widths=(4,), latent_dim=3)
    shapes = [model.example_shape_ for model in (image, signal, colours)]
    assert shapes == [(8, 8, 1), (1, 64, 1), (4, 4, 4)]
    assert [len(set(model.divisor_)) for model in (image, colours)] == [1, 4]  # of each channel
    for model in (image, signal, colours):
        assert model.inverse_transform(model.transform(digits)).shape == digits.shape


def test_divergence_is_told_and_leaves_what_was_fitted():
    with pytest.raises(DivergedError, match="lower learning_rate=1e\\+30"):
        fitted(learning_rate=1e30, epochs=30)
    model = AutoencoderTransformer(random_state=0, scale="none", batch_size=16).partial_fit(X)
    before = state_sha256(model.state_)
    with pytest.raises(DivergedError):
        model.partial_fit(X * 1e20)
    with pytest.raises(ValueError, match="beyond float32"):
        model.partial_fit(X * 1e40)
    assert state_sha256(model.state_) == before
    assert model.n_passes_ == 1


def test_a_fit_that_fails_leaves_nothing_fitted():
    model = fitted()
    with pytest.raises(DivergedError):
        model.set_params(learning_rate=1e30, epochs=30).fit(X)
    with pytest.raises(NotFittedError):
        model.transform(X)
    model.set_params(learning_rate=1e-3).partial_fit(X)
    assert model.n_passes_ == 1


def test_verbose_tells_of_the_loss_and_nothing_else_is_printed(capsys):
    quiet = fitted()
    assert capsys.readouterr().out == ""
    loud = fitted(verbose=1)
    assert "step 6 of 6: loss" in capsys.readouterr().out
    assert state_sha256(loud.state_) == state_sha256(quiet.state_)


@pytest.mark.slow
@pytest.mark.parametrize("module", [transformer, detector])
def test_the_examples_of_the_docstrings_run(module):
    found = doctest.testmod(module)
    assert found.attempted > 2
    assert found.failed == 0


@pytest.mark.slow
def test_a_linear_code_spans_what_principal_components_do():
    """Of two factors that are linear in five features."""
    random = np.random.RandomState(0)
    rows = random.normal(size=(400, 2)) @ random.normal(size=(2, 5)) + 0.01 * random.normal(size=(400, 5))
    scaled = (rows - rows.mean(0)) / rows.std(0)
    linear, relu = (
        AutoencoderTransformer(latent_dim=2, code_activation=name, epochs=300, learning_rate=1e-2, random_state=0)
        for name in (None, "relu")
    )
    codes = linear.fit_transform(rows)
    error = np.mean(((linear.inverse_transform(codes) - rows) / rows.std(0)) ** 2)
    best = np.linalg.svd(scaled, compute_uv=False)[2:] ** 2
    assert error < 1.5 * best.sum() / rows.size  # half as much again: it is trained, not solved
    assert codes.min() < 0 <= relu.fit_transform(rows).min()
