"""P10: one-class MNIST. Trained on one digit, the model is asked which of all test digits are another one.

    AEFLAX_DATA_DIR=DATA python -m experiments one_class_mnist

Expected: AUROC, mean over the ten digits, about .90 for an autoencoder's reconstruction error; Deep SVDD reaches .948
(Ruff et al. 2018, http://proceedings.mlr.press/v80/ruff18a.html).
Protocol: convolutions 8@5×5 and 4@5×5 without bias, code 32, squared error; each digit's training images (all labelled
normal), scored on the whole test set by squared error per pixel.
Deviations: strides of 2 in place of max pooling, sub-pixel convolutions in place of upsampling, ELU in place of leaky
ReLU, no batch normalisation, pixels in [0, 1] without contrast normalisation, Adam 1e-3 for 3,000 steps of 200 images
in place of 250 epochs; the dense layers around the code and the output have biases. Nothing was chosen on the test set.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aeflax import presets
from aeflax.config import Conv, Data, GaussianLikelihood, Train

BASE = presets.conv(32)
CONFIG = replace(
    BASE,
    data=Data(source="mnist", batch_size=200, classes=(0,)),
    model=replace(
        BASE.model,
        backbone=Conv(features=(8, 4), kernel=5, activation="elu", bias=False),
        likelihood=GaussianLikelihood(),
    ),
    train=Train(steps=3000),
)
DIGITS = range(10)


def measure(out: Path, digits: tuple[int, ...] = tuple(DIGITS)) -> dict[str, Any]:
    """Each digit's metrics by detector, and their means."""
    from aeflax.data.dataset import load
    from experiments.runs import measured

    test = load(Data(source="mnist")).test
    assert test.labels is not None
    rows = []
    for digit in digits:
        experiment = replace(CONFIG, data=replace(CONFIG.data, classes=(digit,)))
        run, _ = measured(experiment, out / str(digit), "conv")
        found = run.detect(np.asarray(test.values[:]), np.asarray(test.labels[:]) != digit)
        rows.append(
            {"digit": digit, "metrics": {name: dict(one.metrics or {}) for name, one in found.detectors.items()}}
        )
    names = rows[0]["metrics"]
    means = {name: float(np.mean([row["metrics"][name]["auroc"] for row in rows])) for name in names}
    return {"mean_auroc": means, "digits": rows}
