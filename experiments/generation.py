"""What a vae draws: whether its samples are copies of training images, and which dimensions of its code it uses.

    AEFLAX_DATA_DIR=DATA python -m experiments generation

Protocol: the preset `vae` with a code of 20 and a hidden layer of 400 units, 20 epochs on all training images; 1,000
samples from the prior and 1,000 test images are compared with every training image by squared error per pixel
(`aeflax.applications.neighbours`). As a control, the same network with a code of 2 learns 100 images for 5,000 steps,
and is expected to memorise: a test that never says so would say nothing.
Deviations: none. The control's code of 2 was chosen by looking: with 20, its samples are blends of the 100 images and
hardly ever one of them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aeflax import presets
from aeflax.config import Data, Dense, Train

BASE = presets.vae(20)
CONFIG = replace(
    BASE,
    data=Data(source="mnist"),
    model=replace(BASE.model, backbone=Dense(widths=(400,))),
    train=Train(epochs=20),
)
CONTROL = replace(
    CONFIG,
    data=replace(CONFIG.data, limit=100, batch_size=100),
    model=replace(CONFIG.model, latent_dim=2),
    train=Train(steps=5000),
)
SOURCES = ("mnist", "fashion_mnist")


def measure(out: Path, sources: tuple[str, ...] = SOURCES) -> list[dict[str, Any]]:
    """One row a data set and number of training images."""
    from experiments.runs import measured  # not above: `aeflax train` reads CONFIG, and knows no package of this name

    rows = []
    for source in sources:
        for name, base in (("all", CONFIG), ("control", CONTROL)):
            experiment = replace(base, data=replace(base.data, source=source))
            run, figures = measured(experiment, out / f"{source}-{name}", "vae")
            found = run.judge.generation()
            samples = {key: value for key, value in found["samples"].items() if key != "histogram"}
            rows.append(
                {
                    "source": source,
                    "training": name,
                    "train": run.evaluate("train"),
                    "test": figures["test"],
                    "state_sha256": figures["state_sha256"],
                    "samples": samples,
                    "kl": sorted(found["sizes"], reverse=True),
                }
            )
    return rows
