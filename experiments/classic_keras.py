"""P2: the classic Keras autoencoder on MNIST, 784-64-784, over sixteen seeds.

    AEFLAX_DATA_DIR=DATA aeflax train experiments/classic_keras.py                               # one of them
    AEFLAX_DATA_DIR=DATA aeflax sweep experiments/classic_keras.py --grid train.seed=0..15       # all, one program

Expected: test `bce` .0731 nats a pixel, the figure that the Keras example
(https://blog.keras.io/building-autoencoders-in-keras.html,
with 64 units in place of 32) gives after 20 epochs on the TensorFlow and PyTorch backends; .0735 or less passes.
Protocol: ReLU code, sigmoid output, Adam 1e-3, batch 256, 20 epochs, 60,000 training images, 10,000 test images.
Deviation: the code's bias starts at 1, not 0 (docs/adr/0002).
Time: four minutes of training on two CPU cores.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from aeflax import presets
from aeflax.config import Data, Train
from experiments.runs import claim, swept

CONFIG = replace(presets.vanilla(64), data=Data(source="mnist", batch_size=256), train=Train(epochs=20))
SEEDS = range(16)


def measure(out: Path, seeds: range = SEEDS) -> dict[str, Any]:
    """The figure over seeds, and what the one program took."""
    found = swept(CONFIG, {"train.seed": seeds}, out, preset="vanilla")
    values = [member["test"]["bce"] for member in found.members]
    published = ".0731 (Keras' example, run here with 64 units)"
    claims = [claim("P2", "test BCE a pixel, nats", values, published=published, passes=(None, 0.0735), beats=None)]
    return {"claims": claims, "groups": found.groups}
