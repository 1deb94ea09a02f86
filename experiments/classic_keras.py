"""P2: the classic Keras autoencoder on MNIST, 784-64-784.

    AEFLAX_DATA_DIR=DATA aeflax train experiments/classic_keras.py

Expected: test `bce` .0731 nats a pixel, the figure that the Keras example (https://blog.keras.io/building-autoencoders-in-keras.html,
with 64 units in place of 32) gives after 20 epochs on the TensorFlow and PyTorch backends.
Protocol: ReLU code, sigmoid output, Adam 1e-3, batch 256, 20 epochs, 60,000 training images, 10,000 test images.
Deviation: the code's bias starts at 1, not 0 (docs/adr/0002).
Time: 7 s of training on two CPU cores.
"""

from dataclasses import replace

from aeflax import presets
from aeflax.config import Data, Train

CONFIG = replace(presets.vanilla(64), data=Data(source="mnist", batch_size=256), train=Train(epochs=20))
