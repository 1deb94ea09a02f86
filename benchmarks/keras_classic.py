"""The classic Keras autoencoder as a script: 784-64-784 on MNIST, 20 epochs. Prints its test loss per pixel as JSON."""

import gzip
import json
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers


def images(name: str) -> np.ndarray:
    """Images [N, 784] in [0, 1] of an IDX file."""
    path = Path(os.environ["AEFLAX_DATA_DIR"]) / "mnist" / f"{name}-images-idx3-ubyte.gz"
    values = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16)
    return values.reshape(-1, 784).astype(np.float32) / 255


def main() -> None:
    """Trains and evaluates."""
    train, test = images("train"), images("t10k")
    inputs = keras.Input((784,))
    code = layers.Dense(64, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(784, activation="sigmoid")(code))
    model.compile(optimizer="adam", loss="binary_crossentropy", jit_compile=True)
    model.fit(train, train, epochs=20, batch_size=256, shuffle=True, verbose=0)
    print(json.dumps({"bce": float(model.evaluate(test, test, batch_size=1000, verbose=0))}))


if __name__ == "__main__":
    main()
