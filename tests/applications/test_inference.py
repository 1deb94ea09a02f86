"""A trained model as functions of arrays: units, batches, devices, and what is refused."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from jax._src import monitoring
from variants import BATCH, BY_VARIANT, SHAPE, experiment, images

import aeflax
from aeflax import presets
from aeflax.applications import transforms
from aeflax.applications.functions import functions
from aeflax.applications.inference import Inference
from aeflax.config import Data, Deterministic, GaussianLikelihood, Train
from aeflax.engine.keys import Keys, Stream, root_key
from aeflax.engine.placement import choose
from aeflax.errors import ConfigError, DataError

ARRAY = images(55)
FEATURES = 9 * 7


def trained(variant, data=ARRAY, **changes):
    return aeflax.train(replace(experiment(variant, steps=6), **changes), data)


def outputs(run, values):
    """The model's own outputs, in one batch, with a posterior's mean."""
    program = run._program
    apply = jax.jit(program.built.parts.apply, static_argnums=(3, 5))
    return apply(run.state.params, run.state.model, values, None, program.hyper, None)


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_codes_and_reconstructions_are_the_models_own(variant):
    """Within float32 rounding: another batch size may sum a product in another order."""
    run = trained(variant)
    scaled = ARRAY.astype(np.float32) / 255
    own = outputs(run, scaled)
    np.testing.assert_allclose(run.encode(ARRAY), own.latent.code, rtol=1e-5, atol=1e-5)
    expected = np.asarray(run._program.built.likelihood.mean(own.logits), np.float64)
    np.testing.assert_allclose(run.reconstruct(ARRAY), 255 * expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(
        run.score(ARRAY), ((expected - scaled) ** 2).reshape(55, -1).mean(axis=1), rtol=1e-4, atol=1e-7
    )
    np.testing.assert_allclose(run.decode(run.encode(ARRAY)), run.reconstruct(ARRAY), rtol=1e-4, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_batches_and_devices_change_nothing(variant, monkeypatch):
    run = trained(variant)
    whole = run.encode(ARRAY)
    monkeypatch.setattr("aeflax.evaluation.batches.MAX_BATCH", 1)
    program = replace(run._program, experiment=replace(run.experiment, data=Data(batch_size=7)))
    for placement in (choose("jit"), choose("pmap")):
        parted = Inference(
            program.on(placement),
            jax.device_put(jax.device_get(run.state), placement.sharding()),
            run.inference.domain,
        )
        assert parted.size == {1: 7, 4: 8}[placement.shards]
        found = np.concatenate(list(parted.encode([ARRAY[:20], ARRAY[20:]])))
        np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-5)


def test_values_come_out_in_the_units_they_went_in():
    run = trained("vanilla")
    as_floats = ARRAY.astype(np.float32) / 255
    np.testing.assert_array_equal(run.encode(as_floats), run.encode(ARRAY))
    np.testing.assert_allclose(255 * run.reconstruct(as_floats), run.reconstruct(ARRAY), rtol=1e-6)
    assert run.reconstruct(ARRAY[..., 0]).shape == (55, 9, 7)
    assert run.reconstruct(ARRAY.reshape(55, -1)).shape == (55, 63)
    np.testing.assert_array_equal(run.reconstruct(ARRAY.reshape(55, -1)), run.reconstruct(ARRAY).reshape(55, -1))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the variance of feature 0 is:aeflax.errors.AeflaxWarning")  # where it is "none"
@pytest.mark.parametrize("scale", ["standard", "unit", "none"])
def test_the_scaling_is_inverted(scale):
    """A code as large as the data, trained long, gives the data back: in its own units, far from [0, 1]."""
    table = np.random.RandomState(0).normal([100, -5, 0], [20, 1, 0.1], size=(80, 3)).astype(np.float32)
    base = experiment("vanilla", steps=4000)
    model = replace(
        base.model, latent_dim=3, likelihood=GaussianLikelihood(), bottleneck=Deterministic(activation="linear")
    )
    run = aeflax.train(replace(base, model=model, data=Data(scale=scale, batch_size=16)), table)
    if scale == "none":  # the features differ by orders: only the largest is learnt so soon
        np.testing.assert_allclose(run.reconstruct(table)[:, 0], table[:, 0], rtol=0.05)
    else:
        np.testing.assert_allclose(run.reconstruct(table), table, rtol=0.05, atol=0.05)
    low, high = table.min(axis=0), table.max(axis=0)
    decoded = run.decode(run.encode(table[:5]))
    assert (decoded[:, 0] > low[0] - 5).all()
    assert (decoded[:, 0] < high[0] + 5).all()


def test_examples_flow_through_one_batch_at_a_time():
    run = trained("vanilla")
    taken = []

    def batches():
        for start in range(0, 50, 10):
            taken.append(start)
            yield ARRAY[start : start + 10]

    codes = run.inference.encode(batches())
    assert taken == []
    next(codes)
    assert taken == [0, 10]  # the next one computes while this one is fetched


def test_no_examples_give_no_codes():
    run = trained("vae")
    assert run.encode(ARRAY[:0]).shape == (0, 4)
    assert run.reconstruct(ARRAY[:0]).shape == (0, *SHAPE)
    assert run.score(ARRAY[:0]).shape == (0,)
    assert run.sample(0).shape == (0, *SHAPE)


def test_samples_are_decoded_from_the_prior():
    run = trained("vae")
    drawn = run.sample(40)
    assert drawn.shape == (40, *SHAPE)
    assert drawn.dtype == np.float32
    assert (drawn >= 0).all()
    assert (drawn <= 255).all()
    np.testing.assert_allclose(run.sample(7), drawn[:7], rtol=1e-5)  # a longer draw begins alike
    assert not np.allclose(run.sample(7, seed=1), drawn[:7])
    codes = run.inference.prior(0, 4000)
    np.testing.assert_array_equal(run.inference.prior(70, 90), codes[70:90])
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.08)  # 5 standard errors of 4,000 draws
    np.testing.assert_allclose(codes.std(axis=0), 1, atol=0.06)


def test_any_number_of_samples_is_drawn_a_batch_at_a_time(monkeypatch):
    run = trained("vae")
    monkeypatch.setattr("aeflax.evaluation.batches.MAX_BATCH", 1)
    drawn, real = [], Inference.prior
    monkeypatch.setattr(Inference, "prior", lambda *a, **k: drawn.append(len(codes := real(*a, **k))) or codes)
    parts = [part["sample"] for part in transforms.samples(run.inference, 40, seed=3, picture=False)]
    assert drawn == [16, 16, 8]
    np.testing.assert_allclose(np.concatenate(parts), run.sample(40, seed=3), rtol=1e-5)


def test_the_prior_draws_what_nothing_else_does():
    """Codes of the run's own seed are not the noise that its posteriors met."""
    codes = trained("vae").inference.prior(0, 8, seed=3)
    noises = Keys(root_key(3), 0, jax.numpy.arange(8))
    for stream in (Stream.LATENT, Stream.CORRUPTION, Stream.BINARIZE):
        again = jax.vmap(lambda key: jax.random.normal(key, (4,)))(noises.of(stream))
        assert not np.isin(codes, again).any()
    folded = jax.random.fold_in(root_key(3), Stream.LATENT)
    again = jax.random.normal(jax.random.fold_in(folded, 0), (4,))
    assert not np.isin(codes, again).any()


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["vanilla", "sparse", "denoising"])
def test_only_a_posterior_has_a_prior(variant):
    with pytest.raises(ConfigError, match="sample needs a model with a prior, as the preset vae has"):
        trained(variant).sample(3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.zeros((3, 9, 8, 1), np.uint8),
            r"examples have the shape \[9, 8, 1\]; this model was trained on \[9, 7, 1\]",
        ),
        (np.zeros((9, 7), np.uint8), r"examples have the shape \[7\]"),
        (np.full((3, *SHAPE), 255.0), r"pass uint8 values, or floats in \[0, 1\]: divide by 255, or round to uint8"),
        (
            np.full((3, *SHAPE), -0.1),
            r"reach from -0.1 to -0.1 once scaled.* in \[0, 1\]; pass floats .* clip what lies beyond",
        ),
        (np.full((3, *SHAPE), np.nan), "values that are NaN, the first"),
        (np.full((3, *SHAPE), np.inf), "infinite or beyond float32, the first at index .*; correct it"),
        (np.full((3, *SHAPE), "x"), "not numbers"),
        (np.zeros(3), r"expected \[N, D\]"),
    ],
)
def test_unfit_examples_are_refused_with_what_is_wrong(values, message):
    run = trained("vanilla")
    for function in (run.encode, run.reconstruct, run.score):
        with pytest.raises(DataError, match=message):
            function(values)


def test_bytes_beyond_those_of_the_run_are_told_its_range_not_to_become_bytes():
    run = aeflax.train(replace(presets.vanilla(4), train=Train(steps=2)))  # digits, from 0 to 16
    with pytest.raises(DataError, match=r"pass uint8 values from 0 to 16, as it was trained on, or floats in \[0, 1\]"):
        run.encode(np.full((2, 8, 8, 1), 255, np.uint8))


def test_codes_of_another_size_are_refused():
    with pytest.raises(DataError, match=r"codes have the shape \[2, 5\]; this model decodes \[N, 4\]"):
        trained("vanilla").decode(np.zeros((2, 5)))


def test_a_scaling_fitted_on_the_training_data_takes_values_beyond_them():
    """What lies outside the training range is what an anomaly looks like."""
    scaled = replace(experiment("vanilla", steps=3), data=Data(scale="unit", batch_size=BATCH))
    run = aeflax.train(scaled, ARRAY // 2)
    inside, outside = run.score(ARRAY // 2).mean(), run.score(ARRAY).mean()
    assert outside > inside


@pytest.mark.slow
def test_an_anomaly_beyond_the_range_of_the_training_data_is_scored():
    """Floats have one meaning only, so there is nothing to refuse; a Bernoulli likelihood has no such values."""
    table = np.random.RandomState(0).rand(60, 5).astype(np.float32)
    base = experiment("vanilla", steps=6)
    gaussian = replace(base, model=replace(base.model, likelihood=GaussianLikelihood()))
    run = aeflax.train(gaussian, table)
    assert run.score(table + 3).min() > run.score(table).max()
    with pytest.raises(DataError, match=r"trained on data in \[0, 1\]; pass the units of its source"):
        aeflax.train(base, table).score(table + 3)


def test_batches_of_any_length_share_one_program():
    run = trained("vanilla")
    run.encode(ARRAY[:3])
    compiled = []

    def count(event, *_, **__):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    monitoring.register_event_duration_secs_listener(count)
    try:
        for length in (4, 5, 17, 55):
            run.encode(ARRAY[:length])
            run.reconstruct(ARRAY[:length])
            run.reconstruct(ARRAY[: length - 1])
    finally:
        monitoring.unregister_event_duration_listener(count)
    assert len(compiled) <= 1  # of the reconstructions


def test_equal_models_share_compiled_functions():
    runs = [trained("vanilla"), aeflax.train(experiment("vanilla", steps=3, seed=8), ARRAY)]
    assert runs[0].inference._functions is runs[1].inference._functions
    assert functions.cache_info().hits >= 1
