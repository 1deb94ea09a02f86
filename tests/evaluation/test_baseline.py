"""Principal components of data that are not in memory."""

from dataclasses import replace

import numpy as np
import pytest
from variants import experiment, images

import aeflax
from aeflax.data.rows import Lazy
from aeflax.data.sources import Examples
from aeflax.evaluation import baseline, components
from aeflax.evaluation.batches import targets


@pytest.mark.slow
def test_no_more_is_read_than_the_fit_takes(monkeypatch):
    run = aeflax.train(experiment("vanilla", steps=2), images(200))
    dataset, read = run._dataset(), []
    values = dataset.train.values
    features = values[0].size

    def counted(index):
        read.extend(index.tolist())
        return values[index]

    lazy = replace(dataset, train=Examples(Lazy(values.shape, values.dtype, counted)))
    assert baseline.pca(run._program, lazy) == baseline.pca(run._program, dataset)
    assert set(read) == set(range(160))
    read.clear()
    monkeypatch.setattr(baseline, "MAX_VALUES", 60 * features)
    whole = run.pca()
    dataset.computed.clear()  # a data set's components are fitted once
    lazy.computed.clear()
    thinned = baseline.pca(run._program, lazy)
    assert set(read) == set(range(0, 160, 3))
    assert thinned == baseline.pca(run._program, dataset)
    assert thinned["test"]["mse"] == pytest.approx(whole["test"]["mse"], rel=0.3)


def test_rows_that_are_all_alike_have_components_and_nothing_is_warned_of():
    found = components.components(np.ones((20, 5), np.float32), 2)
    assert np.array_equal(found.inverse_transform(found.transform(np.ones((3, 5)))), np.ones((3, 5)))


@pytest.mark.parametrize("few", [0, 1024], ids=["scikit-learn", "covariance"])
@pytest.mark.parametrize("shape", [(500, 30), (10, 30)], ids=["many", "fewer-than-features"])
def test_components_are_those_of_an_exact_decomposition(shape, few, monkeypatch):
    monkeypatch.setattr(components, "FEW", few)
    monkeypatch.setattr(components, "BLOCK", 64)
    rows = (np.random.RandomState(0).normal(size=shape) * np.arange(1, 31)).astype(np.float32)
    found = components.components(rows, 4)
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    expected = np.linalg.svd(centred, full_matrices=False)[2][:4]
    np.testing.assert_allclose(found.axes.T @ found.axes, expected.T @ expected, atol=2e-5)  # of float32's 1e-7, summed
    np.testing.assert_allclose(found.transform(rows) @ found.axes, centred @ expected.T @ expected, atol=1e-3)
    np.testing.assert_allclose(
        found.inverse_transform(found.transform(rows)) - rows, found.transform(rows) @ found.axes - centred, atol=1e-3
    )


def test_small_spreads_beside_a_large_one_are_found():
    random = np.random.RandomState(0)
    turn = np.linalg.qr(random.normal(size=(20, 20)))[0]
    rows = (random.normal(size=(60, 20)) * [1e4, 3, 3, 3, *[0.1] * 16] @ turn).astype(np.float32)
    left = np.linalg.svd(rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64), compute_uv=False)[4:]
    # What is reconstructed is rounded to float32 at 10⁴.
    assert components.components(rows, 4).error(rows).mean() == pytest.approx(np.sum(left**2) / rows.size, rel=0.2)


def test_components_point_the_same_way_whatever_the_rounding():
    rows = np.random.RandomState(0).normal(size=(200, 16)).astype(np.float32)
    axes = components.components(rows, 3).axes
    assert (axes[np.arange(3), np.abs(axes).argmax(axis=1)] > 0).all()


def test_values_whose_squares_are_beyond_float32_have_components():
    rows = (1e30 * np.random.RandomState(0).normal(size=(50, 4))).astype(np.float32)
    axes = components.components(rows, 2).axes
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-6)


def test_errors_are_averaged_over_examples():
    run = aeflax.train(experiment("vanilla", steps=2), images(60))
    from sklearn.decomposition import PCA

    train, test = (run._dataset().split(name).values.reshape(-1, 63) / np.float32(255) for name in ("train", "test"))
    model = PCA(4, random_state=0).fit(train)
    each = np.mean((model.inverse_transform(model.transform(test)) - test) ** 2, axis=1)
    found = run.pca()["test"]
    # float32 sums of 63 features
    assert found["mse"] == pytest.approx(each.mean(), rel=1e-5)
    assert found["psnr"] == pytest.approx(np.mean(-10 * np.log10(each)), rel=1e-5)


@pytest.mark.parametrize("offset", [0, 100, 10_000])
def test_a_mean_far_from_zero_costs_the_components_nothing(offset):
    """Against float64; float32 holds values near 10,000 to a thousandth, of a spread of 2."""
    random = np.random.RandomState(0)
    spread = random.normal(size=(2000, 3)) @ random.normal(size=(3, 8)) + 0.1 * random.normal(size=(2000, 8))
    rows = (spread + offset).astype(np.float32)
    found = components.components(rows, 3).error(rows).mean()
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    least = np.sum(np.linalg.svd(centred, compute_uv=False)[3:] ** 2) / rows.size  # what three directions leave
    assert found == pytest.approx(least, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("binarize", "alike"), [("dynamic", False), ("fixed", True)])
def test_pixels_drawn_anew_have_components_of_their_own(binarize, alike):
    """A fixed draw belongs to the data, a dynamic one to the seed."""
    base = experiment("vanilla", steps=1)
    base = replace(base, data=replace(base.data, binarize=binarize))
    first = aeflax.train(base, images(60))
    other = aeflax.train(replace(base, train=replace(base.train, seed=8)), images(60))
    alone, dataset = other.pca(), first._dataset()
    assert (baseline.pca(first._program, dataset) == alone) is alike
    assert baseline.pca(other._program, dataset) == alone


@pytest.mark.slow
@pytest.mark.parametrize("binarize", ["fixed", "dynamic"])
def test_every_nth_example_is_drawn_as_it_is_among_all(binarize):
    base = experiment("vanilla", steps=1)
    run = aeflax.train(replace(base, data=replace(base.data, binarize=binarize)), images(60))
    whole, some = (np.concatenate(list(targets(run._program, run._dataset(), "train", every))) for every in (1, 5))
    assert len(some) == 10
    np.testing.assert_array_equal(some, whole[::5])
