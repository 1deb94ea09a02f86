"""P8: Keras' convolutional autoencoder as a denoiser: P7's model, trained on with noisy inputs; three seeds.

    AEFLAX_DATA_DIR=DATA python -m experiments conv_denoiser

Expected: test `restored_bce`, of the clean image given the noisy one, .0922 nats a pixel after epoch 1 and .0868 after
10 (https://keras.io/examples/vision/autoencoder); .0872 or less after 10 passes, .0868 beats.
Protocol: the weights of P7's model after 50 clean epochs, then 10 epochs with Gaussian noise of sigma .4, clipped to
[0, 1], and a new Adam of 1e-3; batch 128.
Deviations: noise is drawn anew at every visit; the example draws it once. The clean run is the first of
`conv_autoencoder` where it is kept beside this one, and is trained here where it is not; the seeds differ in what
follows.
Nothing was chosen on the test set.
Time: a quarter of an hour on two CPU cores, without the clean epochs.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aeflax.config import GaussianNoise, Train
from aeflax.rundir.runs import SUMMARY, read_metrics
from experiments import conv_autoencoder
from experiments.runs import at_step, claim, measured

EPOCH = conv_autoencoder.EPOCH
CONFIG = replace(
    conv_autoencoder.CONFIG,
    model=replace(conv_autoencoder.CONFIG.model, corruption=GaussianNoise(sigma=0.4)),
    train=Train(epochs=10, eval_every=EPOCH),
)
# Epoch: what was published, and what passes.
PUBLISHED = {1: (0.0922, None), 10: (0.0868, 0.0872)}
SEEDS = range(3)


def measure(out: Path) -> dict[str, Any]:
    """The cross-entropy of restored images after two epochs, over seeds; the first seed's gain over noise levels."""
    clean = out.parent / "conv_autoencoder"
    if not (clean / "0" / SUMMARY).exists():
        conv_autoencoder.trained(clean, 0)
    runs = []
    for seed in SEEDS:
        settings = replace(CONFIG, train=replace(CONFIG.train, seed=seed))
        runs.append(measured(settings, out / str(seed), "conv", init_from=clean / "0")[0])
    logs = [read_metrics(out / str(seed)) for seed in SEEDS]
    claims = [
        claim(
            "P8",
            f"convolutional denoiser, test BCE after epoch {epoch}, nats a pixel",
            [at_step(log, epoch * EPOCH)["restored_bce"] for log in logs],
            published=f"{published} (keras.io)",
            passes=(None, limit or published),
            beats=published,
        )
        for epoch, (published, limit) in PUBLISHED.items()
    ]
    return {"claims": claims, "denoising": runs[0].judge.denoising()}
