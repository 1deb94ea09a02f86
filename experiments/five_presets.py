"""The five presets on MNIST and Fashion-MNIST, 10 epochs each, everything else at its default.

    AEFLAX_DATA_DIR=DATA python -m experiments five_presets

Expected: `vanilla` and `conv` reconstruct MNIST better than PCA with as many dimensions (.00905 at 64, see pca.py).
`vae` does not, and is not meant to: its figure is one posterior sample's, and its code carries some 39 nats, not 64
real numbers.
Protocol: the presets as they are (Adam 1e-3, batch 128), the sets' own train and test splits, the last epoch.
Deviations: none; no choice was made on the test set.
Time: 5 minutes on two CPU cores, 3 of them for the two convolutional runs.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aeflax import presets
from aeflax.config import Data, Train

CONFIG = replace(presets.vanilla(), data=Data(source="mnist"), train=Train(epochs=10))


def measure(out: Path) -> list[dict[str, Any]]:
    """One row a run."""
    from experiments.runs import measured  # not above: `aeflax train` reads CONFIG, and knows no package of this name

    rows = []
    for source in ("mnist", "fashion_mnist"):
        for name, preset in presets.PRESETS.items():
            experiment = replace(preset(), data=replace(CONFIG.data, source=source), train=CONFIG.train)
            run, figures = measured(experiment, out / f"{name}-{source}", name)
            rows.append({"preset": name, "source": source, "code": run.experiment.model.latent_dim} | figures)
    return rows
