"""P1: principal components of MNIST, the linear autoencoder that every other one is held against.

    AEFLAX_DATA_DIR=DATA python -m experiments pca

Expected: test MSE per pixel .05567, .02686, .01683 and .00905 at 2, 16, 32 and 64 dimensions; and 13.87 squared error
an image at 30 dimensions, as Hinton & Salakhutdinov 2006 (https://doi.org/10.1126/science.1127647) report it for PCA.
Protocol: fitted on the 60,000 training images, scored on the 10,000 test images, pixels divided by 255.
Deviations: none. It is a control: it proves the data, the scaling and the metric, and trains nothing.
Time: 4 s on two CPU cores.
"""

from dataclasses import replace
from pathlib import Path

from aeflax import presets
from aeflax.config import Data
from aeflax.config.defaults import resolve
from aeflax.data.dataset import load
from aeflax.evaluation.baseline import pca
from aeflax.program import prepare

CONFIG = replace(presets.vanilla(), data=Data(source="mnist"))
DIMENSIONS = (2, 16, 30, 32, 64)
PIXELS = 784


def measure(out: Path) -> dict[str, float]:
    """Test error at each code size."""
    dataset = load(CONFIG.data)
    figures = {}
    for dim in DIMENSIONS:
        model = replace(CONFIG, model=replace(CONFIG.model, latent_dim=dim))
        program = prepare(resolve(model, dataset.shape, len(dataset.train.values)), dataset.shape)
        figures[f"mse_{dim}"] = pca(program, dataset)["test"]["mse"]
    return figures | {"squared_error_per_image_30": PIXELS * figures["mse_30"]}
