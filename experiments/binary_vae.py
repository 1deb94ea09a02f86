"""P3: the variational autoencoder of Flax' examples on binary MNIST, over sixteen seeds.

    AEFLAX_DATA_DIR=DATA aeflax sweep experiments/binary_vae.py --grid train.seed=0..15

Expected: the negative ELBO on the 10,000 test images, one sample each, in nats: 119.74 after epoch 1, 103.60 after 10
(of it KL 27.06) and 101.83 after 20 (https://github.com/google/flax/tree/main/examples/vae); within 1 nat passes, less
at epoch 20 beats, and the KL lies between 26 and 28.5.
Protocol: 784-500-20 and back, ReLU, Adam 1e-3, batch 128, pixels drawn once as Bernoulli(pixel), the first 50,000
training images.
Kernels begin with LeCun's variance, as Flax has it: with Glorot's, our default, the first epoch ends at 128.7, the
twentieth at 100.93.
Deviations: the example draws its own binary images; ours are drawn with another seed. Initial kernels are uniform, the
example's normal.
Time: ten minutes of training on two CPU cores.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aeflax import presets
from aeflax.config import Data, Dense, Train
from aeflax.rundir.runs import read_metrics
from experiments.runs import at_step, claim, swept

EPOCH = 391  # steps: 50,000 images in batches of 128
BASE = presets.vae(20)
CONFIG = replace(
    BASE,
    data=Data(source="mnist", limit=50_000, batch_size=128, binarize="fixed"),
    model=replace(BASE.model, backbone=Dense(widths=(500,)), initialization="lecun"),
    train=Train(epochs=20, eval_every=EPOCH),
)
PUBLISHED = {1: 119.74, 10: 103.60, 20: 101.83}
SEEDS = range(16)


def measure(out: Path, seeds: range = SEEDS) -> dict[str, Any]:
    """The bound after three epochs and the KL after ten, over seeds."""
    found = swept(CONFIG, {"train.seed": seeds}, out, preset="vae")
    logs = [read_metrics(found.path / member["run"]) for member in found.members]
    claims = []
    for epoch, figure in PUBLISHED.items():
        values = [-at_step(log, epoch * EPOCH)["elbo"] for log in logs]
        claims.append(
            claim(
                "P3",
                f"−ELBO after epoch {epoch}, nats",
                values,
                published=f"{figure} (Flax' example)",
                passes=(None if epoch == 20 else figure - 1, figure + 1),
                beats=figure if epoch == 20 else None,
            )
        )
    kl = [at_step(log, 10 * EPOCH)["kl"] for log in logs]
    claims.append(claim("P3", "KL after epoch 10, nats", kl, published="27.06 (Flax' example)", passes=(26, 28.5)))
    return {"claims": claims, "groups": found.groups}
