"""Three tables that scikit-learn ships, as one-class problems: rows of a class that was not trained on.

    python -m experiments one_class_tables

Expected: no published figure; the baselines, on the same rows, are what the model is held against.
Protocol: half of the normal rows train, the other half and all other classes are searched; features standardised on the
training rows; five seeds draw halves and weights. Normal are: benign tumours (breast cancer, 30 features), the second
cultivar (wine, 13), the digit 3 (digits, 64 pixels as a table). The preset `vanilla` with a Gaussian likelihood and
hidden layers of 32, code of a quarter of the features, 1,000 steps of at most 64 rows, default settings otherwise;
nothing was chosen on the searched rows.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aeflax import presets
from aeflax.config import Data, Dense, GaussianLikelihood, Train

BASE = presets.vanilla()
CONFIG = replace(
    BASE,
    data=Data(source="array", batch_size=64, scale="standard", holdout=0.1),
    model=replace(BASE.model, backbone=Dense(widths=(32,)), likelihood=GaussianLikelihood()),
    train=Train(steps=1000),
)
NORMAL = {"breast_cancer": 1, "wine": 1, "digits": 3}
SEEDS = range(5)


def measure(out: Path) -> list[dict[str, Any]]:
    """One row a table: AUROC and AUPRC by detector, mean and interval over seeds."""
    from sklearn import datasets

    import aeflax
    from aeflax.evaluation.intervals import share

    rows = []
    for name, normal in NORMAL.items():
        values, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
        found: dict[str, dict[str, list[float]]] = {}
        for seed in SEEDS:
            own = np.random.default_rng(seed).permutation(np.flatnonzero(labels == normal))
            train, held = own[: len(own) // 2], own[len(own) // 2 :]
            searched = np.concatenate([held, np.flatnonzero(labels != normal)])
            experiment = replace(CONFIG, train=replace(CONFIG.train, seed=seed))
            run = aeflax.train(experiment, values[train].astype(np.float32), report=False)
            detection = run.detect(values[searched].astype(np.float32), labels[searched] != normal)
            for detector, judged in detection.detectors.items():
                for metric in ("auroc", "auprc"):
                    found.setdefault(detector, {}).setdefault(metric, []).append((judged.metrics or {})[metric])
        metrics = {detector: {k: share(v) for k, v in of.items()} for detector, of in found.items()}
        rows.append({"table": name, "normal": normal, "rows": len(values), "features": values.shape[1], **metrics})
    return rows
