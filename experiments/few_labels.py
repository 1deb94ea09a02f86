"""What codes are worth: beside PCA at the same size, as features with few labels, as a beginning for a classifier.

    AEFLAX_DATA_DIR=DATA python -m experiments few_labels

Protocol: the preset `vanilla` (64 numbers) as it is, trained 10 epochs on all training images without labels; then
`aeflax codes` at 10, 100, 1000 and all labels per class, and `aeflax finetune` at 10, 100 and 1000, 1000 steps each; 5
draws of the labelled images; accuracy on the 10,000 test images.
Deviations: none; no choice was made on the test set.
Time: about 7 minutes a data set on two CPU cores that others used too.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aeflax import presets
from aeflax.config import Data, Train

CONFIG = replace(presets.vanilla(), data=Data(source="mnist"), train=Train(epochs=10))
LABELS = (10, 100, 1000)


def measure(out: Path) -> list[dict[str, Any]]:
    """One row a data set."""
    from experiments.runs import measured  # not above: `aeflax train` reads CONFIG, and knows no package of this name

    rows = []
    for source in ("mnist", "fashion_mnist"):
        experiment = replace(CONFIG, data=replace(CONFIG.data, source=source))
        run, figures = measured(experiment, out / source, "vanilla")
        found = run.judge.codes() | {"finetune": run.judge.finetuning(LABELS)}
        rows.append({"source": source, "test": figures["test"], "state_sha256": figures["state_sha256"], **found})
    return rows
