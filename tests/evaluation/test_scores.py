"""Metrics over a whole split against float64 NumPy."""

import importlib
from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy import special
from variants import BY_VARIANT, NO_NUMBERS, experiment, images

import aeflax
from aeflax import presets
from aeflax.config import GaussianLikelihood, Train
from aeflax.config.defaults import resolve
from aeflax.engine.placement import choose
from aeflax.engine.state import Source
from aeflax.evaluation import scores as scores_module
from aeflax.evaluation.components import Components
from aeflax.evaluation.scores import evaluate
from aeflax.outputs import Context
from aeflax.program import prepare

BATCHES = importlib.import_module("aeflax.evaluation.batches")
ARRAY = images(60)
TEST = ARRAY[4::5].reshape(12, -1) / 255.0


def trained(variant, **model):
    base = experiment(variant, steps=6)
    return aeflax.train(replace(base, model=replace(base.model, **model)), ARRAY)


def scores(run, split="test", *, batch_size=None, placement=None):
    program = run._program
    if batch_size is not None:
        data = replace(program.experiment.data, batch_size=batch_size)
        program = replace(program, experiment=replace(program.experiment, data=data))
    if placement is not None:
        program = program.on(placement)
    return evaluate(program, run.state, run._dataset(), split)


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_the_batch_size_and_the_devices_do_not_matter(variant, monkeypatch):
    """Exact: each example's own float32 value, averaged in float64; a matrix product may round by its size."""
    run = trained(variant)
    whole = scores(run)
    monkeypatch.setattr(BATCHES, "MAX_BATCH", 1)
    for options in ({"batch_size": 5}, {"batch_size": 1}, {"batch_size": 7, "placement": choose("pmap")}):
        if "placement" in options:
            run.state = jax.device_put(jax.device_get(run.state), options["placement"].sharding())
        parted = scores(run, **options)
        assert parted.keys() == whole.keys()
        for name, value in whole.items():
            assert parted[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


def test_bernoulli_metrics_equal_numpy():
    run = trained("vanilla")
    logits = (
        np.asarray(
            run._program.built.parts.apply(
                run.state.params, {}, TEST.reshape(-1, 9, 7, 1).astype(np.float32), None, NO_NUMBERS, None
            ).logits
        )
        .reshape(12, -1)
        .astype(np.float64)
    )
    bce = -(TEST * special.log_expit(logits) + (1 - TEST) * special.log_expit(-logits))
    error = ((special.expit(logits) - TEST) ** 2).mean(axis=1)
    found = run.evaluate("test")
    assert set(found) == {"bce", "bce_floor", "mse", "psnr", "reconstruction_nats"}
    assert found["bce"] == pytest.approx(bce.mean(), rel=1e-5)
    assert found["reconstruction_nats"] == pytest.approx(bce.sum(axis=1).mean(), rel=1e-5)
    assert found["mse"] == pytest.approx(error.mean(), rel=1e-5)
    assert found["psnr"] == pytest.approx((-10 * np.log10(error)).mean(), rel=1e-5)


def test_gaussian_likelihood_has_no_bce_and_its_output_is_the_mean():
    run = trained("vanilla", likelihood=GaussianLikelihood(scale=0.5))
    found = run.evaluate("test")
    assert "bce" not in found
    squares = found["mse"] * 63
    expected = squares / (2 * 0.5**2) + 63 * (np.log(0.5) + 0.5 * np.log(2 * np.pi))
    assert found["reconstruction_nats"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_elbo_is_a_sample_with_beta_one_whatever_was_trained():
    run = trained("free-bits")  # beta .5, warm-up, free bits
    found = run.evaluate("test")
    assert found["elbo"] == pytest.approx(-(found["reconstruction_nats"] + found["kl"]), rel=1e-6)
    params, built = run.state.params, run._program.built
    latent = built.parts.apply(params, {}, TEST.reshape(-1, 9, 7, 1).astype(np.float32), None, NO_NUMBERS, None).latent
    mean, log_var = np.asarray(latent.mean, np.float64), np.asarray(latent.log_var, np.float64)
    kl = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).sum(axis=1).mean()
    assert found["kl"] == pytest.approx(kl, rel=1e-5)
    assert run.evaluate("test") == found  # the sample is drawn from the run's own keys


@pytest.mark.slow
def test_sparse_metrics_count_units():
    run = trained("top-k")
    found = run.evaluate("test")
    code = np.asarray(
        run._program.built.module.apply(
            {"params": run.state.params},
            TEST.reshape(-1, 9, 7, 1).astype(np.float32),
            Context(values={"k": np.float32(2)}),
            method="encode",
        )
    )
    assert found["l0"] == pytest.approx((code > 0).sum(axis=1).mean())
    assert found["l0"] <= 2
    assert found["mean_activation"] == pytest.approx(code.mean(), rel=1e-5)
    assert found["dead_fraction"] == pytest.approx((code.max(axis=0) == 0).mean())


def test_denoising_is_scored_clean_and_corrupted_against_the_clean_input():
    run = trained("denoising")
    found = run.evaluate("test")
    assert {"restored_bce", "restored_mse", "restored_psnr", "corrupted_psnr"} < set(found)
    assert found["restored_mse"] > found["mse"]
    # sigma .4 clipped to [0, 1] on uniform pixels: E[min(noise, room)²], integrated numerically, is about .083.
    levels, noise = np.meshgrid((np.arange(256)) / 255, np.random.RandomState(0).randn(4000) * 0.4)
    expected = np.mean((np.clip(levels + noise, 0, 1) - levels) ** 2)
    assert found["corrupted_psnr"] == pytest.approx(-10 * np.log10(expected), abs=0.5)


def test_all_joins_the_splits():
    run = trained("vanilla")
    parts = {name: run.evaluate(name)["mse"] for name in ("train", "test", "all")}
    assert parts["all"] == pytest.approx((48 * parts["train"] + 12 * parts["test"]) / 60, rel=1e-6)


@pytest.mark.slow
def test_fixed_binarisation_is_the_same_for_a_split_alone_and_for_all():
    base = experiment("vanilla", steps=3)
    run = aeflax.train(replace(base, data=replace(base.data, binarize="fixed")), ARRAY)
    parts = {name: run.evaluate(name)["bce"] for name in ("train", "test", "all")}
    assert parts["all"] == pytest.approx((48 * parts["train"] + 12 * parts["test"]) / 60, rel=1e-6)
    again = run.pca()["test"]["mse"]
    assert again == run.summary["pca"]["test"]["mse"]


def test_large_examples_are_scored_in_batches_that_training_is_known_to_hold(monkeypatch):
    run = trained("vanilla")
    sizes = []
    real = scores_module.batches

    def seen(*words):
        for source, example in real(*words):
            sizes.append(len(example))
            yield source, example

    monkeypatch.setattr(scores_module, "batches", seen)
    monkeypatch.setattr(BATCHES, "BATCH_VALUES", 2 * 63)
    small = run.evaluate("test")
    monkeypatch.setattr(BATCHES, "BATCH_VALUES", 2**20)
    assert run.evaluate("test") == pytest.approx(small, rel=1e-5)
    assert sizes == [16, 1024]  # the training batch; the cap


def test_maps_of_convolutions_count_as_they_are():
    program = prepare(resolve(presets.conv(), (28, 28, 1), 100), (28, 28, 1))
    assert program.built.widest == 14 * 14 * 32
    assert BATCHES.batch_examples(program) == BATCHES.BATCH_VALUES // program.built.widest == 167


def test_a_batch_is_no_larger_than_a_piece_of_the_step_where_more_may_not_fit(monkeypatch):
    monkeypatch.setattr(BATCHES, "BATCH_VALUES", 1)
    for accumulate, size in ((1, 16), (2, 8), (4, 4)):
        base = experiment("vanilla")
        settings = replace(base, train=replace(base.train, accumulate=accumulate))
        shape = (6, 5, 1)
        assert BATCHES.batch_examples(prepare(resolve(settings, shape, 64), shape)) == size


@pytest.mark.slow
def test_splits_of_any_size_share_one_program():
    sizes = {"train": 48, "test": 12}
    base = experiment("vanilla", steps=3)
    run = aeflax.train(replace(base, model=replace(base.model, latent_dim=3)), ARRAY)
    scorer = scores_module._scorer(run._program.built, run._program.placement, True)
    before = scorer._cache_size()
    for split in sizes:
        run.evaluate(split)
    assert scorer._cache_size() == before == 1


def test_the_baseline_is_scored_batch_by_batch(monkeypatch):
    run, taken = trained("vanilla"), []
    whole = run.pca()
    run._dataset().computed.clear()  # a data set's components are fitted once
    error = Components.error
    monkeypatch.setattr(Components, "error", lambda model, rows: taken.append(len(rows)) or error(model, rows))
    monkeypatch.setattr(BATCHES, "BATCH_VALUES", 1)
    data = replace(run.experiment.data, batch_size=5)
    run._program = replace(run._program, experiment=replace(run.experiment, data=data))
    parted = run.pca()
    assert taken == [5, 5, 2]
    assert parted["test"] == pytest.approx(whole["test"], rel=1e-5)


@pytest.mark.slow
def test_psnr_is_left_out_for_data_beyond_the_unit_range():
    array = np.random.RandomState(0).randn(40, 6).astype(np.float32)
    base = experiment("vanilla", steps=3)
    run = aeflax.train(replace(base, model=replace(base.model, likelihood=GaussianLikelihood())), array)
    assert set(run.evaluate("test")) == {"mse", "reconstruction_nats"}
    assert set(run.summary["pca"]["test"]) == {"mse"}


@pytest.mark.slow
def test_pca_equals_the_truncated_svd_and_is_exact_at_full_size():
    run = trained("vanilla")
    baseline = run.pca()
    train = np.delete(ARRAY, np.s_[4::5], axis=0).reshape(48, -1) / 255.0
    centre = train.mean(axis=0)
    _, _, axes = np.linalg.svd(train - centre, full_matrices=False)
    residual = (TEST - centre) - (TEST - centre) @ axes[:4].T @ axes[:4]
    assert baseline["dim"] == 4
    assert baseline["compresses"]
    assert baseline["test"]["mse"] == pytest.approx((residual**2).mean(), rel=1e-4)
    assert baseline["variance"] == pytest.approx(((TEST - centre) ** 2).mean(), rel=1e-4)

    square = np.random.RandomState(0).rand(60, 3).astype(np.float32)
    full = aeflax.train(replace(experiment("vanilla", steps=3)), square).pca()
    assert full["dim"] == 3
    assert not full["compresses"]
    assert full["test"]["mse"] < 1e-10


def test_averaged_parameters_are_the_ones_scored():
    from aeflax.config import Optimizer

    run = aeflax.train(experiment("vanilla", steps=6, optimizer=Optimizer(ema=0.9, learning_rate=0.05)), ARRAY)
    averaged = run.evaluate("test")
    run.state = run.state.replace(params=run.state.ema, ema=None)
    assert run.evaluate("test") == averaged


@pytest.mark.slow
def test_a_mesh_scores_as_much_on_each_device_as_pmap_does():
    """Kernels travel, so that no device sees the maps of the whole batch."""
    sizes = []
    for name in ("pmap", "mesh"):
        settings = replace(presets.conv(16), train=Train(placement=name, steps=1))
        backbone = replace(settings.model.backbone, features=(64, 128, 256))
        settings = replace(settings, model=replace(settings.model, backbone=backbone))
        program = prepare(resolve(settings, (32, 32, 3), 1000), (32, 32, 3))
        scorer = scores_module._scorer(program.built, program.placement, True)
        rows, example = program.placement.shard((np.zeros((256, 3072), np.uint8), np.arange(256, dtype=np.int32)))
        source = Source(rows, *program.placement.replicate((np.zeros(1, np.float32), np.ones(1, np.float32))))
        lean = program.template().replace(opt_state=None)
        compiled = scorer.lower(lean, source, example, np.int32(0), program.key, program.hyper).compile()
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
    assert sizes[1] < 1.5 * sizes[0]
