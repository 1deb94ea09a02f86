"""P9: the importance-weighted bound of log p(x) on dynamically binarised MNIST, with the schedule cut short.

    AEFLAX_DATA_DIR=DATA python -m experiments importance_bound

Expected: at full length the negative log-likelihood, bounded with 5,000 samples, is 86.76 nats for a VAE and 85.54 for
a model trained with five samples (Burda et al. 2016, https://arxiv.org/abs/1509.00519). Cut short the figures lie above
these; the bound must lie below the negative ELBO, and five samples must not be worse than one.
Protocol: 784-200-200-50 and back, tanh, batch 20, Adam with eps 1e-4, pixels drawn anew at every visit; stage i = 0, 1,
... lasts 3^i epochs at 1e-3 · 10^(-i/7).
Deviations: three of the eight stages, 13 of 3,280 epochs (`STAGES` 8 is the whole); bounds from 500 samples an image,
which are a little looser than those from 5,000 (`SAMPLES`). Test pixels are drawn once. Nothing was chosen on the test
set.
Time: half an hour on two CPU cores; with 5,000 samples an hour and more.
"""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aeflax import presets
from aeflax.config import Data, Dense, Optimizer, Train
from aeflax.data.dataset import load
from aeflax.evaluation.batches import targets
from experiments.runs import claim, swept

STAGES = 3
EPOCH = 3_000  # steps: 60,000 images in batches of 20
LENGTHS = [3**stage for stage in range(STAGES)]
BASE = presets.vae(50)
CONFIG = replace(
    BASE,
    data=Data(source="mnist", batch_size=20, binarize="dynamic"),
    model=replace(BASE.model, backbone=Dense(widths=(200, 200), activation="tanh")),
    optimizer=Optimizer(
        eps=1e-4,
        schedule="piecewise",
        factor=10 ** (-1 / 7),
        boundaries=tuple(EPOCH * epochs for epochs in itertools.accumulate(LENGTHS[:-1])),
    ),
    train=Train(epochs=sum(LENGTHS)),
)
SEEDS = range(3)
TRAINED_WITH = {1: 86.76, 5: 85.54}  # samples: the published figure
SAMPLES = 500


def measure(out: Path) -> dict[str, Any]:
    """Both bounds for models trained with one and with five samples, over seeds."""
    grid = {"model.bottleneck.samples": list(TRAINED_WITH), "train.seed": SEEDS}
    found = swept(CONFIG, grid, out, preset="vae")
    dataset = load(CONFIG.data)
    rows = []
    for member in found.members:
        inference = found.load(member["index"]).inference
        parts = zip(*inference.scaled_bounds(targets(inference.program, dataset, "test"), SAMPLES), strict=True)
        elbo, weighted = (np.concatenate(part).astype(np.float64) for part in parts)
        errors = {n: float(weighted[:n].std(ddof=1) / np.sqrt(n)) for n in (100, 1_000, 10_000)}
        rows.append(
            {
                "samples": member["settings"]["model.bottleneck.samples"],
                "negative_elbo": float(elbo.mean()),
                "negative_log_likelihood": float(weighted.mean()),
                "standard_error": errors,
            }
        )
    means = {
        samples: float(np.mean([row["negative_log_likelihood"] for row in rows if row["samples"] == samples]))
        for samples in TRAINED_WITH
    }
    elbo = float(np.mean([row["negative_elbo"] for row in rows if row["samples"] == 1]))
    limits = {1: elbo, 5: means[1]}
    claims = [
        claim(
            "P9",
            f"−log p(x) in nats, trained with {samples} sample{'s' * (samples > 1)}, {sum(LENGTHS)} of 3,280 epochs",
            [row["negative_log_likelihood"] for row in rows if row["samples"] == samples],
            published=f"{published} at full length (Burda et al. 2016)",
            passes=(None, limits[samples]),
            beats=published,
        )
        for samples, published in TRAINED_WITH.items()
    ]
    return {"claims": claims, "models": rows, "groups": found.groups}
