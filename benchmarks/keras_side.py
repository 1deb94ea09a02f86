"""Keras 3's side: `fit` on arrays, compiled by XLA where the backend can.

Variants: keras-tensorflow, keras-torch, keras-jax.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = sys.argv[2].removeprefix("keras-")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers, ops
from worker import Round, serve
from workloads import Workload


def prepare(workload: Workload, variant: str, directory: Path) -> tuple[Round, dict[str, Any]]:
    """The model with the given weights, and one epoch of it."""
    keras.utils.set_random_seed(0)
    images = np.load(directory / "images.npy").astype(np.float32) / 255
    if not workload.features:
        images = images.reshape(len(images), -1)
    model = build(workload)
    model.set_weights([values for _, values in sorted(np.load(directory / "weights.npz").items())])
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=variant != "keras-torch",
    )

    def epoch() -> float:
        history = model.fit(images, images, batch_size=workload.batch, epochs=1, shuffle=True, verbose=0)
        return float(history.history["loss"][-1]) * workload.pixels

    return epoch, {"versions": {"keras": keras.__version__, "backend": variant.removeprefix("keras-")}}


def build(workload: Workload) -> keras.Model:
    """The autoencoder in the functional interface."""
    if not workload.features:
        images = hidden = keras.Input((workload.pixels,))
        for size in workload.widths:
            hidden = layers.Dense(size, activation="relu")(hidden)
        hidden = layers.Dense(workload.code, activation=None if workload.widths else "relu")(hidden)
        for size in reversed(workload.widths):
            hidden = layers.Dense(size, activation="relu")(hidden)
        return keras.Model(images, layers.Dense(workload.pixels)(hidden))
    images = hidden = keras.Input(workload.shape)
    for size in workload.features:
        hidden = layers.Conv2D(size, 3, 2, padding="same", activation="relu")(hidden)
    shape = tuple(hidden.shape[1:])
    hidden = layers.Dense(workload.code)(layers.Flatten()(hidden))
    hidden = layers.Dense(int(np.prod(shape)), activation="relu")(hidden)
    hidden = layers.Reshape(shape)(hidden)
    for size in (*reversed(workload.features[:-1]), workload.shape[-1]):
        hidden = layers.Conv2D(4 * size, 3, padding="same")(hidden)
        logits = SubPixel(size)(hidden)
        hidden = layers.Activation("relu")(logits)
    return keras.Model(images, logits)


class SubPixel(layers.Layer):
    """Channels (row, column, feature) into space: [B, h, w, 4·F] -> [B, 2h, 2w, F]."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def call(self, maps: Any) -> Any:
        """Moves channels."""
        _, height, width, _ = maps.shape
        moved = ops.transpose(ops.reshape(maps, (-1, height, width, 2, 2, self.features)), (0, 1, 3, 2, 4, 5))
        return ops.reshape(moved, (-1, 2 * height, 2 * width, self.features))


if __name__ == "__main__":
    serve(prepare)
