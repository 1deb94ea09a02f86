"""P4: a deep autoencoder of MNIST with a code of 30 numbers, three seeds.

    AEFLAX_DATA_DIR=DATA python -m experiments deep_30

Expected: 3.00 squared error per test image (Hinton & Salakhutdinov 2006, figure 2B,
https://doi.org/10.1126/science.1127647; logistic PCA 8.01, PCA 13.87); 3.00 or less passes, 2.5 beats.
Protocol: 784-1000-500-250-30 and back, a linear code. The paper pretrains layer by layer as restricted Boltzmann
machines, then trains the whole on the cross-entropy.
Deviations: no pretraining: ReLU, Adam with a cosine, batch 128, squared error behind a sigmoid, for a number of epochs
that was fixed beforehand.
Time: about twenty minutes on two CPU cores.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aeflax import presets
from aeflax.config import Data, Dense, GaussianLikelihood, Optimizer, Train
from experiments.runs import claim, swept

BASE = presets.vanilla(30)
CONFIG = replace(
    BASE,
    data=Data(source="mnist", batch_size=128),
    model=replace(BASE.model, backbone=Dense(widths=(1000, 500, 250)), likelihood=GaussianLikelihood(bounded=True)),
    optimizer=Optimizer(schedule="cosine"),
    train=Train(epochs=60),
)
PIXELS = 784
SEEDS = range(3)


def measure(out: Path) -> dict[str, Any]:
    """The squared error an image, over seeds."""
    found = swept(CONFIG, {"train.seed": SEEDS}, out, preset="vanilla")
    claims = [
        claim(
            "P4",
            "squared error a test image at 30 dimensions",
            [PIXELS * member["test"]["mse"] for member in found.members],
            published="3.00 (Hinton & Salakhutdinov 2006)",
            passes=(None, 3.0),
            beats=2.5,
        )
    ]
    return {"claims": claims, "groups": found.groups}
