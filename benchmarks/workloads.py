"""What is measured, in words that every side understands; standard library only, since peers have no aeflax."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Workload:
    """An autoencoder, its data and one round of training: an epoch over `images` synthetic images.

    Attributes:
      title: what it stands for.
      shape: of an image, (height, width, channels).
      images: in an epoch.
      batch: images in a step.
      code: size of the code.
      widths: of the dense layers before the code, mirrored after it.
      features: of the strided 3×3 convolutions before the code; sub-pixel convolutions lead back.
      models: that are trained, an epoch each, in one process: aeflax' at once, a peer's one after another.
      posterior: whether the code is a Gaussian posterior's sample, and the loss the negative ELBO.
      peers: sides that it is compared with, first the one that its target is about.
      target: how many times faster than the first peer aeflax should be.
      tolerance: of the relative difference of the losses after the same number of epochs.
    """

    title: str
    shape: tuple[int, int, int] = (28, 28, 1)
    images: int
    batch: int
    code: int
    widths: tuple[int, ...] = ()
    features: tuple[int, ...] = ()
    models: int = 1
    posterior: bool = False
    peers: tuple[str, ...]
    target: float
    tolerance: float = 0.01  # another order of the examples; float32 sums in another order

    @property
    def pixels(self) -> int:
        """Values in an image."""
        height, width, channels = self.shape
        return height * width * channels

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch of one model."""
        return -(-self.images // self.batch)

    @property
    def steps(self) -> int:
        """Steps of an epoch, of all models."""
        return self.models * self.epoch_steps


LOOPS = ("loop", "script")
DENSE_PEERS = ("torch", "torch-compile", "keras-tensorflow", "keras-torch", *LOOPS)
CONV_PEERS = ("torch-channels-last", "torch", "torch-compile", "keras-tensorflow")

WORKLOADS = {
    "D1": Workload(title="784-64-784, batch 256", images=60_000, batch=256, code=64, peers=DENSE_PEERS, target=2.0),
    "D1-32": Workload(
        title="784-64-784, batch 32", images=12_800, batch=32, code=64, peers=("torch", *LOOPS), target=2.0
    ),
    "D2": Workload(
        title="784-1024-1024-32 and back, batch 256",
        images=12_800,
        batch=256,
        code=32,
        widths=(1024, 1024),
        peers=DENSE_PEERS,
        target=1.25,
        tolerance=0.03,  # few steps: the loss still falls by several per cent an epoch, and the order of examples tells
    ),
    # PyTorch pads a stride-2 convolution on both sides, XLA and TensorFlow after it: another model in the last digit.
    "C1": Workload(
        title="convolutional 32-64, code 64, batch 128",
        images=6_400,
        batch=128,
        code=64,
        features=(32, 64),
        peers=(*CONV_PEERS, "native"),
        target=1.3,
        tolerance=0.03,
    ),
    "C2": Workload(
        title="convolutional 64-128-256 on 32×32×3, code 64, batch 128",
        shape=(32, 32, 3),
        images=2_560,
        batch=128,
        code=64,
        features=(64, 128, 256),
        peers=CONV_PEERS,
        target=1.2,
        tolerance=0.03,
    ),
    # The noise of the posterior's sample differs between the sides.
    "V1": Workload(
        title="VAE 784-400-20, batch 128",
        images=30_000,
        batch=128,
        code=20,
        widths=(400,),
        posterior=True,
        peers=("torch", "torch-compile", "flax-example"),
        target=2.0,
        tolerance=0.03,
    ),
    "M1": Workload(
        title="sixteen 784-64-784 at once, batch 256",
        images=6_400,
        batch=256,
        code=64,
        models=16,
        peers=("torch", "one-by-one"),
        target=4.0,
    ),
}
