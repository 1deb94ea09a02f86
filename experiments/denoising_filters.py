"""Denoising beside filters: PSNR and SSIM over kinds and levels of noise, most of them never trained on.

    AEFLAX_DATA_DIR=DATA python -m experiments denoising_filters

Protocol: the preset `denoising` (Gaussian noise of σ 0.4, a dense code of 64 numbers) as it is, and the same with
convolutions, each trained 10 epochs; then `aeflax denoise --judge`: 500 test images, evenly spaced, with Gaussian,
masking and salt-and-pepper noise at five levels each, restored by the model and by median, Gaussian, total-variation
and non-local-means filters, whose strengths are chosen for each kind and level on 32 training images.
Deviations: none; no choice was made on the test set.
Time: about a minute of filters a model, beside the training.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aeflax import presets
from aeflax.config import Conv, Data, Train

CONFIG = replace(presets.denoising(), data=Data(source="mnist"), train=Train(epochs=10))
BACKBONES = {"denoising": CONFIG.model.backbone, "denoising-conv": Conv()}
SOURCES = ("mnist", "fashion_mnist")


def measure(out: Path) -> list[dict[str, Any]]:
    """One row a data set and model."""
    from experiments.runs import measured  # not above: `aeflax train` reads CONFIG, and knows no package of this name

    rows = []
    for source in SOURCES:
        for name, backbone in BACKBONES.items():
            data, model = replace(CONFIG.data, source=source), replace(CONFIG.model, backbone=backbone)
            run, figures = measured(replace(CONFIG, data=data, model=model), out / source / name, "denoising")
            kept = {part: figures[part] for part in ("test", "state_sha256")}
            rows.append({"source": source, "model": name, **kept, "denoising": run.judge.denoising()})
    return rows
