"""Published figures on real MNIST, in short form; needs the IDX files under AEFLAX_DATA_DIR."""

import os
from dataclasses import replace

import numpy as np
import pytest

import aeflax
from aeflax import config, presets
from aeflax.data.dataset import load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("AEFLAX_DATA_DIR" not in os.environ, reason="AEFLAX_DATA_DIR is not set"),
]


def test_pca_gives_the_published_figures():
    """Test MSE per pixel, fit on 60,000; and 13.87 per image at 30 (Hinton & Salakhutdinov 2006)."""
    from sklearn.decomposition import PCA

    dataset = load(config.Data(source="mnist"))
    train, test = (
        dataset.scaling.apply(split.values.reshape(len(split.values), -1)) for split in (dataset.train, dataset.test)
    )
    assert train.shape == (60000, 784)
    model = PCA(64, random_state=0).fit(train)
    code = model.transform(test)
    published = {2: 0.05567, 16: 0.02686, 32: 0.01683, 64: 0.00905, 30: 13.87 / 784}
    for dim, expected in published.items():
        restored = code[:, :dim] @ model.components_[:dim] + model.mean_
        assert np.mean((restored - test) ** 2) == pytest.approx(expected, abs=1.3e-4)


def test_the_classic_example_is_on_its_way():
    """Three epochs of 784-64-784 at batch 256: test bce .1006 to .1019 over seeds 0 to 3 when recorded."""
    settings = replace(
        presets.vanilla(64), data=config.Data(source="mnist", batch_size=256), train=config.Train(epochs=3)
    )
    found = aeflax.train(settings).summary
    assert 0.098 < found["test"]["bce"] < 0.105


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_every_preset_learns_mnist(preset):
    settings = replace(
        presets.PRESETS[preset](),
        data=config.Data(source="mnist", limit=6000),
        train=config.Train(steps=150, log_every=30),
    )
    seen = []
    run = aeflax.train(settings, callbacks=[lambda record: seen.append(record)])
    losses = [record.metrics["loss"] for record in seen if record.kind == "train"]
    # Means over steps 1-30 and 121-150; the ratios were .46 to .54 when recorded.
    assert losses[-1] < 0.6 * losses[0]
    assert run.summary["skipped_updates"] == 0
