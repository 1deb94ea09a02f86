"""The five presets on MNIST, 10 epochs each, everything else at its default.

    AEFLAX_DATA_DIR=DATA python -m experiments five_presets

Expected: `vanilla` and `conv` reconstruct MNIST better than PCA with as many dimensions (.00905 at 64, see pca.py).
`vae` does not, and is not meant to: its figure is one posterior sample's, and its code carries some 39 nats, not 64
real numbers.
Protocol: the presets as they are (Adam 1e-3, batch 128), the set's own train and test split, the last epoch. On
Fashion-MNIST each has a file of its own, fashion_NAME.py.
Deviations: none; no choice was made on the test set.
Time: 2 minutes on two CPU cores, nearly all for the convolutional run.
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
    for name, preset in presets.PRESETS.items():
        experiment = replace(preset(), data=CONFIG.data, train=CONFIG.train)
        rows.append({"preset": name, "source": "mnist"} | measured(experiment, out / name, name)[1])
    return rows
