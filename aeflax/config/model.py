"""The parts of an autoencoder, what fills each slot, and the `Model` that they make."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from aeflax.config.schema import (
    TRACED,
    BelowOne,
    Count,
    Fraction,
    Interval,
    NonNegative,
    OpenUnit,
    Part,
    Positive,
    TracedSteps,
)

Activation = Literal["relu", "elu", "gelu", "silu", "tanh", "sigmoid", "linear"]

Units = Annotated[int, Interval(1, 2**20)]  # of a layer
KernelSide = Annotated[int, Interval(1, 63)]  # on CPU a convolution is written out for each of its places


class Backbone(Part):
    """Encoder and decoder network."""


@dataclass(frozen=True, kw_only=True)
class Dense(Backbone, kind="dense"):
    """Fully connected layers; the decoder mirrors the encoder."""

    widths: tuple[Units, ...] = ()  # of the hidden layers before the code; empty: none
    activation: Activation = "relu"  # of the hidden layers
    tied: bool = False  # the decoder's kernels are the encoder's, transposed (Vincent et al. 2010)


@dataclass(frozen=True, kw_only=True)
class Conv(Backbone, kind="conv"):
    """Convolutions that lead down and up again; any height, width and channels."""

    features: tuple[Units, ...] = (32, 64)  # channels of each layer on the way down
    kernel: KernelSide = 3  # side, pixels
    stride: KernelSide = 2  # of every layer: the factor by which it scales down or up
    # stride: strided convolutions; max-pool: convolutions at full size, of each window the largest value
    down: Literal["stride", "max-pool"] = "stride"
    # sub-pixel: convolutions whose channels become pixels (Shi et al. 2016), the last one's the image; transposed:
    # transposed convolutions, then one convolution to the image
    up: Literal["sub-pixel", "transposed"] = "sub-pixel"
    activation: Activation = "relu"  # of every layer but the last
    bias: bool = True  # add one value a channel after each convolution
    normalization: Literal["none", "layer", "group"] = "none"  # after each convolution
    spatial: bool = False  # the last feature map is the code, no dense layer around it

    def sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Height and width before the first layer and after each one, in pixels."""
        found = [(height, width)]
        for _ in self.features:
            height, width = -(-height // self.stride), -(-width // self.stride)
            found.append((height, width))
        return found


class Corruption(Part):
    """What is done to the input before the encoder sees it; the target stays clean (Vincent et al. 2010)."""


@dataclass(frozen=True, kw_only=True)
class NoCorruption(Corruption, kind="none"):
    """The encoder sees the clean input."""


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Corruption, kind="gaussian"):
    """Additive Gaussian noise."""

    sigma: NonNegative = 0.4  # standard deviation, in units of the scaled input
    sigma_min: NonNegative | None = None  # set: each example draws its level from [sigma_min, sigma]
    clip: bool = True  # clip the noisy input to [0, 1]


@dataclass(frozen=True, kw_only=True)
class Masking(Corruption, kind="masking"):
    """Sets features to zero."""

    rate: BelowOne = 0.5  # probability for each feature
    rate_min: BelowOne | None = None  # set: each example draws its rate from [rate_min, rate]


@dataclass(frozen=True, kw_only=True)
class SaltPepper(Corruption, kind="salt-pepper"):
    """Sets features to 0 or 1, each with half the rate."""

    rate: Fraction = 0.2  # probability for each feature
    rate_min: Fraction | None = None  # set: each example draws its rate from [rate_min, rate]


class Bottleneck(Part):
    """How the code is made from the encoder's features."""

    sparse: ClassVar[bool] = False  # whether the code is non-negative and few of its units are active


@dataclass(frozen=True, kw_only=True)
class Deterministic(Bottleneck, kind="deterministic"):
    """One code for each input."""

    # None: relu where the encoder is a single dense layer, unless the data are standardised: a code that says nothing
    # negative does not suit what is centred; else linear
    activation: Activation | None = None


@dataclass(frozen=True, kw_only=True)
class Sparse(Bottleneck, kind="sparse"):
    """A non-negative code, held sparse by the penalties `l1` or `rate`."""

    sparse = True
    activation: Literal["relu", "sigmoid"] | None = None  # None: sigmoid with the rate penalty, else relu


@dataclass(frozen=True, kw_only=True)
class TopK(Bottleneck, kind="top-k"):
    """Keeps the k largest units of each example's ReLU code, zeroes the rest (Makhzani & Frey 2014)."""

    sparse = True
    k: Annotated[Units, TRACED] = 32  # units kept


@dataclass(frozen=True, kw_only=True)
class BatchTopK(Bottleneck, kind="batch-top-k"):
    """Keeps the largest units of the whole batch's ReLU code, a number an example on average (Bussmann et al. 2024).

    In inference the units above a threshold, a running mean of the batches' own.
    """

    sparse = True
    mean_k: Positive = 32.0  # units kept an example, on average over the batch


@dataclass(frozen=True, kw_only=True)
class JumpReLU(Bottleneck, kind="jump-relu"):
    """Keeps units above a learned threshold of each one, zeroes the rest; held sparse by the penalty `l0`.

    The threshold's gradient is estimated from activations near it (Rajamanoharan et al. 2024).
    """

    sparse = True
    bandwidth: Positive = 0.1  # width of the window around the threshold, in units of activation


@dataclass(frozen=True, kw_only=True)
class Lifetime(Bottleneck, kind="lifetime"):
    """A ReLU code of which each unit keeps its largest activations over the batch (Makhzani & Frey 2015).

    In training only; in inference the code is the whole ReLU code.
    """

    sparse = True
    rate: Annotated[float, Interval(0, 1, open_left=True)] = 0.05  # share of the batch's examples that a unit keeps


@dataclass(frozen=True, kw_only=True)
class GaussianPosterior(Bottleneck, kind="posterior"):
    """A diagonal Gaussian posterior, sampled by reparameterisation (Kingma & Welling 2014)."""

    # draws an example and step in training; above 1 the loss is the negative importance-weighted bound (Burda et al.
    # 2016), which is the tighter the more they are
    samples: Annotated[int, Interval(1, 2**16)] = 1


class Likelihood(Part):
    """p(x | code): what the decoder's output means."""


@dataclass(frozen=True, kw_only=True)
class Bernoulli(Likelihood, kind="bernoulli"):
    """Independent Bernoulli features from logits; for values in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class GaussianLikelihood(Likelihood, kind="gaussian"):
    """Independent Gaussian features around the output; squared error up to a factor and a constant."""

    scale: Positive | None = 1.0  # standard deviation; None: one learned value shared by all features
    bounded: bool = False  # the mean is a sigmoid of the output; for values in [0, 1]


@dataclass(frozen=True, kw_only=True)
class L1:
    """weight · Σ|code|, averaged over examples."""

    weight: NonNegative = 0.1  # nats for each unit of activation
    warmup_steps: TracedSteps = 0  # steps over which the weight rises linearly from 0


@dataclass(frozen=True, kw_only=True)
class L0:
    """weight · active units, averaged over examples, for jump-relu codes (Rajamanoharan et al. 2024)."""

    weight: NonNegative = 0.1  # nats for each active unit
    warmup_steps: TracedSteps = 0  # steps over which the weight rises linearly from 0


@dataclass(frozen=True, kw_only=True)
class Rate:
    """weight · Σ KL(target ‖ mean activation over the whole batch) for sigmoid codes (Ng 2011)."""

    target: OpenUnit = 0.05  # mean activation aimed at
    weight: NonNegative = 1.0  # of the divergence in nats
    warmup_steps: TracedSteps = 0  # steps over which the weight rises linearly from 0


@dataclass(frozen=True, kw_only=True)
class KL:
    """beta · KL(q(code | x) ‖ N(0, I)); beta 1 makes the loss the negative ELBO."""

    beta: NonNegative = 1.0  # (Higgins et al. 2017)
    warmup_steps: TracedSteps = 0  # steps over which beta rises linearly from 0
    free_bits: NonNegative | None = None  # nats a dimension left unpenalised, on the batch mean (Kingma et al. 2016)


@dataclass(frozen=True, kw_only=True)
class Penalties(Part, kind="standard"):
    """Terms added to the negative log-likelihood; one that is named is on.

    A record with more of them is a subclass with a kind of its own.
    """

    l1: L1 | None = None
    rate: Rate | None = None
    kl: KL | None = None
    l0: L0 | None = None


@dataclass(frozen=True, kw_only=True)
class Dictionary:
    """The decoder as a dictionary: one direction a unit of a sparse code; units that stay idle are dead."""

    transpose: bool = True  # begin with the directions along which the units read
    unit_norm: bool = True  # hold every direction at length 1 (Bricken et al. 2023)
    # subtract a learned vector from the input and add it to the output; None: where the likelihood is Gaussian
    pre_bias: bool | None = None
    dead_after: Annotated[Count, TRACED] = 50_000  # examples without activity
    # of the loss by which dead units learn what the others leave over (AuxK, Gao et al. 2024); None: off
    auxk_weight: NonNegative | None = 1 / 32
    auxk: Units | None = None  # dead units an example in that loss; None: half the features, at most the code


@dataclass(frozen=True, kw_only=True)
class Model:
    """Corruption × backbone × bottleneck × objective."""

    latent_dim: Units | None = None  # units of the code; None: min(64, features // 4), sparse: 256
    backbone: Backbone = Dense()
    corruption: Corruption = NoCorruption()
    bottleneck: Bottleneck = Deterministic()
    likelihood: Likelihood = Bernoulli()
    penalties: Penalties = Penalties()
    dictionary: Dictionary | None = None  # for a sparse code between single dense layers
    # variance of initial kernels, which are uniform: glorot 2 / (in + out), lecun 1 / in, he 2 / in, where a unit reads
    # `in` values and so many units as `out` read it; small .01 ** 2
    initialization: Literal["glorot", "lecun", "he", "small"] = "glorot"
