"""P7: Keras' convolutional autoencoder on MNIST; three seeds, one of them for fifty epochs.

    AEFLAX_DATA_DIR=DATA python -m experiments conv_autoencoder

Expected: test `bce` .0723 nats a pixel after epoch 1, .0648 after 10 and .0622 after 50
(https://keras.io/examples/vision/autoencoder); .0652 or less after 10 passes, .0648 beats.
Protocol: two convolutions of 32 channels, each with 2 × 2 max pooling, two transposed convolutions of 32 channels and
stride 2, one convolution to the image; 3 × 3, ReLU, 28,353 parameters. Adam 1e-3, batch 128.
Deviations: none that is known. Nothing was chosen on the test set.
Time: half an hour of training on two CPU cores.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aeflax import presets
from aeflax.config import Conv, Data, Train
from aeflax.rundir.runs import read_metrics
from experiments.runs import at_step, claim, measured

EPOCH = 469  # steps: 60,000 images in batches of 128
BASE = presets.conv()
CONFIG = replace(
    BASE,
    data=Data(source="mnist", batch_size=128),
    model=replace(BASE.model, backbone=Conv(features=(32, 32), down="max-pool", up="transposed", spatial=True)),
    train=Train(epochs=50, eval_every=EPOCH),
)
# Epoch: what was published, and what passes.
PUBLISHED = {1: (0.0723, None), 10: (0.0648, 0.0652), 50: (0.0622, None)}
EPOCHS = (50, 10, 10)  # of each seed


def trained(out: Path, seed: int) -> list[dict[str, Any]]:
    """The metrics of one seed's run, which is kept in `out`."""
    train = replace(CONFIG.train, seed=seed, epochs=EPOCHS[seed])
    measured(replace(CONFIG, train=train), out / str(seed), "conv")
    return read_metrics(out / str(seed))


def measure(out: Path) -> dict[str, Any]:
    """The cross-entropy after three epochs, over the seeds that got there."""
    logs = [trained(out, seed) for seed in range(len(EPOCHS))]
    claims = [
        claim(
            "P7",
            f"convolutional autoencoder, test BCE after epoch {epoch}, nats a pixel",
            [at_step(log, epoch * EPOCH)["bce"] for log, last in zip(logs, EPOCHS, strict=True) if epoch <= last],
            published=f"{published} (keras.io)",
            passes=(None, limit or published),
            beats=published,
        )
        for epoch, (published, limit) in PUBLISHED.items()
    ]
    return {"claims": claims}
