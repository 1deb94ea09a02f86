"""Bits per pixel against PSNR and SSIM of quantised codes of several sizes, beside JPEG, WebP and PNG.

    AEFLAX_DATA_DIR=DATA python -m experiments compression

Expected: on images like those that it learnt, at the few bits that it is made for, a model takes fewer bits than JPEG
or WebP; at high quality, where its reconstruction errs however many bits it gets, they win.
Protocol: the preset `vanilla` as it is at 8, 32 and 64 numbers, `conv` at 32, trained 10 epochs; then what `aeflax
compress --judge` does: the first 1000 evenly spaced test images, seven or more step sizes an octave apart, one static
entropy model a container, its tables and header counted; codecs on the same images, as a file each and as one sheet.
Deviations: none; step sizes are multiples of the one that costs 0.1 dB on the test images that are compressed, as a
user would find it; nothing else was chosen on the test set.
Time: about 10 minutes on two CPU cores.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aeflax import presets
from aeflax.config import Data, Train

CONFIG = replace(presets.vanilla(32), data=Data(source="mnist"), train=Train(epochs=10))
SOURCES = ("mnist", "fashion_mnist")
MODELS = (("vanilla", 8), ("vanilla", 32), ("vanilla", 64), ("conv", 32))


def measure(out: Path) -> list[dict[str, Any]]:
    """One row a run: its test metrics, and its rates beside those of codecs."""
    from experiments.runs import measured  # not above: `aeflax train` reads CONFIG, and knows no package of this name

    rows = []
    for source in SOURCES:
        for name, size in MODELS:
            data = replace(CONFIG.data, source=source)
            experiment = replace(presets.PRESETS[name](size), data=data, train=CONFIG.train)
            run, figures = measured(experiment, out / f"{name}-{size}-{source}", name)
            kept = {"test": figures["test"], "state_sha256": figures["state_sha256"]}
            rows.append({"source": source, "preset": name, "code": size, **kept, "rates": run.judge.compression()})
    return rows
