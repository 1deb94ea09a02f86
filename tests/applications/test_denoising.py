"""Noise of every kind, filters and their strengths, metrics, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from variants import experiment, images

import aeflax
from aeflax.applications import denoising
from aeflax.applications.filters import FILTERS, Filter
from aeflax.config import Conv, Data, GaussianLikelihood, GaussianNoise, Masking, NoCorruption, SaltPepper
from aeflax.data.dataset import load
from aeflax.data.inputs import Inputs
from aeflax.errors import ConfigError, DataError
from aeflax.evaluation.quality import psnr, quality, window_of

SHAPES = [(1, 1, 1), (1, 6, 1), (6, 1, 2), (8, 8, 1), (9, 7, 3), (5, 4, 5)]


def smooth(shape, count=6):
    """Images of a slope, float32 in [0, 1]."""
    height, width, channels = shape
    ramp = np.add.outer(np.linspace(0, 0.4, height), np.linspace(0, 0.4, width))[..., None]
    return np.stack([np.repeat(ramp + 0.03 * i, channels, axis=-1) for i in range(count)]).astype(np.float32)


def trained(corruption, shape=(9, 7, 1), **data):
    base = experiment("denoising", steps=20, seed=0)
    model = replace(base.model, corruption=corruption)
    settings = replace(base, model=model, data=Data(batch_size=16, **data))
    return aeflax.train(settings, (255 * smooth(shape, 60) / 3).astype(np.uint8))


@pytest.fixture(scope="module")
def run():
    return trained(GaussianNoise(sigma=0.3, sigma_min=0.15))


@pytest.fixture
def quick(monkeypatch):
    """Few strengths, chosen on few images."""
    monkeypatch.setattr(denoising, "TUNED_ON", 3)
    few = {name: replace(each, strengths=each.strengths[:2]) for name, each in FILTERS.items()}
    monkeypatch.setattr(denoising, "FILTERS", few)


def judge(run, dataset=None, **options):
    return denoising.judge(run.inference, dataset or run._dataset(), **options)


def entry(values, kind, level):
    (found,) = (one for one in values["kinds"][kind] if one["level"] == level)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "corruption", [GaussianNoise(sigma=0.25), Masking(rate=0.3), SaltPepper()], ids=lambda c: c.kind
)
def test_the_trained_level_scores_as_evaluation_does(corruption, quick):
    """The same images meet the same noise, so both say the same of the model and of the noise."""
    run = trained(corruption)
    level = getattr(corruption, "sigma", None) or corruption.rate
    found = entry(judge(run)[0], corruption.kind, level)["methods"]
    metrics = run.evaluate()
    # float32 reconstructions of two programs
    assert found["model"]["psnr"]["mean"] == pytest.approx(metrics["restored_psnr"], rel=1e-5)
    assert found["noisy"]["psnr"]["mean"] == pytest.approx(metrics["corrupted_psnr"], rel=1e-5)


@pytest.mark.slow
def test_strengths_depend_on_training_images_alone(run, monkeypatch):
    monkeypatch.setattr(denoising, "TUNED_ON", 3)
    dataset = run._dataset()
    speckles = replace(dataset.test, values=images(12))
    changed, _ = judge(run, replace(dataset, test=speckles))
    values, _ = judge(run)
    of = [[one["strengths"] for levels in found["kinds"].values() for one in levels] for found in (values, changed)]
    assert of[0] == of[1]
    means = [entry(found, "gaussian", 0.1)["methods"]["median"]["psnr"]["mean"] for found in (values, changed)]
    assert abs(means[0] - means[1]) > 3, "the images are other ones"
    other = replace(dataset, train=replace(dataset.train, values=images(48)))
    assert [one["strengths"] for one in judge(run, other)[0]["kinds"]["gaussian"]] != of[0][
        : len(values["kinds"]["gaussian"])
    ]


def test_the_strength_is_the_one_with_the_best_psnr():
    shifted = Filter(lambda noisy, strength: noisy + strength, (0.0, 0.1, 0.2, 0.3))
    clean = smooth((4, 4, 1))
    assert shifted.tuned(clean - np.float32(0.19), clean) == 0.2


def test_every_kind_is_judged_at_its_levels_and_at_those_that_were_trained_on():
    found = denoising.noises(GaussianNoise(sigma=0.3, sigma_min=0.15, clip=False))
    assert [noise.level for noise in found if noise.part.kind == "gaussian"] == [0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8]
    assert [(noise.part.kind, noise.level) for noise in found if noise.trained] == [
        ("gaussian", 0.15),
        ("gaussian", 0.2),
        ("gaussian", 0.3),
    ]
    assert {noise.part.kind for noise in found} == {"gaussian", "masking", "salt-pepper"}
    assert not any(noise.part.clip for noise in found if noise.part.kind == "gaussian"), "other settings stay"
    assert [noise.level for noise in found if noise.shown] == [0.3, 0.5, 0.2]


@pytest.mark.parametrize("corruption", [NoCorruption(), Masking(rate=0.0)], ids=lambda c: c.kind)
def test_a_run_without_noise_was_trained_on_none(corruption):
    found = denoising.noises(corruption)
    assert len(found) == 15
    assert not any(noise.trained for noise in found)
    assert sum(noise.shown for noise in found) == 3


@pytest.mark.slow
def test_an_image_meets_the_same_draws_at_every_level(run):
    clean = denoising._Clean.of(run.inference, run._dataset(), "test", 10, 0)
    light, heavy = (clean.noisy(Masking(rate=rate)) == 0 for rate in (0.2, 0.6))
    assert light.mean() < heavy.mean()
    assert heavy[light].all()
    other = denoising._Clean.of(run.inference, run._dataset(), "test", 10, 1)
    assert not np.array_equal(other.noisy(Masking(rate=0.6)) == 0, heavy), "another seed draws otherwise"
    assert len({row.tobytes() for row in heavy[:, :, :, 0]}) == len(heavy), "every image has draws of its own"


@pytest.mark.slow
def test_a_binarised_run_is_judged_on_binary_images(quick):
    _, arrays = judge(trained(GaussianNoise(), binarize="fixed"))
    assert set(np.unique(arrays["clean"])) == {0.0, 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 7, 3), (5, 4, 2)], ids=str)
def test_images_of_any_shape_are_judged(shape, quick):
    values, arrays = judge(trained(NoCorruption(), shape), examples=5)
    assert {name: part.shape for name, part in arrays.items()} == dict.fromkeys(
        ("clean", "noisy", "model", "filter"), (3, 2, *shape)
    )
    assert values["examples"] <= 5
    assert [len(levels) for levels in values["kinds"].values()] == [5, 5, 5]
    for levels in values["kinds"].values():
        for one in levels:
            means = {name: metrics["psnr"]["mean"] for name, metrics in one["methods"].items()}
            assert one["best"] == max(FILTERS, key=lambda name, means=means: means[name])
            assert one["gain"]["mean"] == pytest.approx(means["model"] - means[one["best"]])
            assert all(metrics["ssim"]["mean"] <= 1 + 1e-6 for metrics in one["methods"].values())


@pytest.mark.slow
def test_convolutions_are_judged(quick):
    base = experiment("conv", steps=10)
    run = aeflax.train(replace(base, model=replace(base.model, backbone=Conv(features=(3,)))), images(60))
    told = []
    values, _ = judge(run, examples=4, watch=told.append)
    assert values["corruption"] == "none"
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_filters_take_images_of_any_shape(shape, name):
    each = FILTERS[name]
    noisy = np.clip(smooth(shape) + 0.2 * np.random.RandomState(0).randn(6, *shape), 0, 1).astype(np.float32)
    for strength in (each.strengths[0], each.strengths[-1]):
        made = each(noisy, strength)
        assert made.shape == noisy.shape
        assert made.dtype == np.float32
        assert made.min() >= 0
        assert made.max() <= 1
        alone = np.concatenate([each(image[None], strength) for image in noisy])
        np.testing.assert_array_equal(made, alone, err_msg="an image is filtered by itself")
    flat = np.full((2, *shape), 0.5, np.float32)
    np.testing.assert_allclose(each(flat, each.strengths[1]), flat, atol=1e-6)  # sums of float32 weights


@pytest.mark.parametrize("name", ["median", "gaussian", "total_variation"])
def test_these_filters_mix_no_channels(name):
    each, colour = FILTERS[name], np.random.RandomState(0).rand(2, 9, 7, 3).astype(np.float32)
    parts = [each(colour[..., channel : channel + 1], each.strengths[-1]) for channel in range(3)]
    np.testing.assert_array_equal(each(colour, each.strengths[-1]), np.concatenate(parts, axis=-1))


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_restores_a_smooth_image(name):
    clean = smooth((16, 16, 1))
    noisy = np.clip(clean + 0.1 * np.random.RandomState(0).randn(*clean.shape), 0, 1).astype(np.float32)
    each = FILTERS[name]
    made = each(noisy, each.tuned(noisy, clean))
    assert psnr(made, clean).mean() > psnr(noisy, clean).mean() + 2


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_metrics_fit_images_of_any_size(shape):
    clean = smooth(shape)
    same, off = quality(clean, clean), quality(clean + np.float32(0.1), clean)
    np.testing.assert_allclose(same["psnr"], 100)
    np.testing.assert_allclose(same["ssim"], 1)
    np.testing.assert_allclose(off["psnr"], 20, atol=1e-4)  # an error of 0.1 everywhere, in float32
    assert (off["ssim"] < 1).all()
    window = window_of(shape)
    assert window % 2 == 1
    assert min(*shape[:2], 7) - 1 <= window <= min(*shape[:2], 7)


def test_structural_similarity_is_scikit_images():
    """Its estimate of a window's variance differs by the factor 49 / 48."""
    from skimage.metrics import structural_similarity

    first, second = images(2, (12, 11, 3)).astype(np.float32) / 255
    usual = structural_similarity(first, second, data_range=1.0, channel_axis=-1)
    assert quality(first[None], second[None])["ssim"][0] == pytest.approx(usual, abs=0.01)


def test_examples_are_compared_with_what_they_should_be(run):
    clean = smooth((9, 7, 1), 5)
    noisy = np.clip(clean + 0.2 * np.random.RandomState(0).randn(*clean.shape), 0, 1).astype(np.float32)
    found = denoising.compare(run.inference, Inputs("noisy", noisy), Inputs("clean", clean))
    for name, made in (("before", noisy), ("after", run.reconstruct(noisy))):
        for metric, values in quality(made, clean).items():
            assert found[name][metric]["mean"] == pytest.approx(values.mean())
        assert found[name]["mse"]["mean"] == pytest.approx(np.mean((made - clean) ** 2))
        assert found[name]["psnr"]["low"] < found[name]["psnr"]["mean"] < found[name]["psnr"]["high"]


@pytest.mark.slow
@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "beyond [0, 1]"])
def test_what_has_no_noise_levels_is_not_judged_and_yet_compared(vectors):
    base = experiment("vanilla", steps=5)
    values = np.random.RandomState(0).normal(size=(40, 6) if vectors else (40, 4, 4, 1)).astype(np.float32)
    run = aeflax.train(replace(base, model=replace(base.model, likelihood=GaussianLikelihood())), values)
    message = r"vectors of 6 values; compare" if vectors else r"lie outside of it; train with --data.scale unit"
    with pytest.raises(ConfigError, match=message):
        judge(run)
    found = denoising.compare(run.inference, Inputs("noisy", values + 1), Inputs("clean", values))
    assert set(found["before"]) == {"mse"}
    assert found["before"]["mse"]["mean"] == pytest.approx(1, abs=1e-5)


def test_mistakes_are_told(run):
    with pytest.raises(ConfigError, match="0 examples are too few"):
        judge(run, examples=0)
    clean = Inputs("clean.npy", images(4))
    with pytest.raises(DataError, match=r"clean.npy holds 4 examples of the shape \[9, 7, 1\] and noisy.npy 3"):
        denoising.require_pairs(Inputs("noisy.npy", images(3)), clean)
    with pytest.raises(DataError, match=r"noisy\.npy is empty"):
        denoising.require_pairs(Inputs("noisy.npy", images(0)), Inputs("clean.npy", images(0)))


def test_judged_images_are_spread_over_the_split():
    run = trained(NoCorruption())
    dataset = load(run.experiment.data, images(60))
    clean = denoising._Clean.of(run.inference, dataset, "test", 5, 0).images
    np.testing.assert_allclose(clean, dataset.test.values[::3] / np.float32(255), rtol=1e-6)
