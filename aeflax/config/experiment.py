"""What an experiment is beside its model: data, optimizer, budget."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from aeflax.config.model import Model
from aeflax.config.schema import BelowOne, Count, Fraction, Interval, Natural, NonNegative, Positive, Seed, Steps

Side = Annotated[int, Interval(1, 2**14)]  # of an image, pixels
Workers = Annotated[int, Interval(0, 256)]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the examples come from and how they are batched."""

    # digits, mnist, fashion_mnist, idx:DIR, npy:FILE, npz:FILE#ARRAY, csv:FILE, parquet:FILE, images:DIR, tfds:NAME or
    # synthetic:HxWxC:N
    source: str = "digits"
    batch_size: Annotated[int, Interval(1, 2**24)] = 128  # examples a step, over all devices
    # keep the data set on the device; None: where it takes under a quarter of the device's memory
    resident: bool | None = None
    # for sources that bring no test split: every k-th example is test, k = round(1 / holdout)
    holdout: Annotated[float, Interval(0, 0.5, open_left=True)] = 0.2
    validation: Natural = 0  # withhold the last N training examples for early stopping and model choice
    # none: uint8 / 255; unit: to [0, 1]; standard: mean 0, variance 1
    scale: Literal["none", "unit", "standard"] = "none"
    # draw pixels as Bernoulli(pixel), once or anew at every visit
    binarize: Literal["none", "fixed", "dynamic"] = "none"
    # floats: replace what is missing (NaN, an empty cell) by its feature's mean or median over the training split
    impute: Literal["none", "mean", "median"] = "none"
    limit: Count | None = None  # the first N training examples only, from which validation is withheld too
    label: str = "label"  # of a table: the column that holds the labels, numbers or words, and is no feature
    classes: tuple[str, ...] = ()  # keep only the examples with these labels, as they are written; empty: all
    drop: tuple[str, ...] = ()  # of a table: columns that are no features, such as an id
    size: Side | None = None  # images:DIR: resize the shorter side to it and crop the centre; None: as the files are
    grey: bool = False  # images:DIR: one channel instead of three
    # processes that read streamed data ahead; 0: threads of the training process alone, the quickest for small sets;
    # None: one for each processor where images are decoded, else 0
    workers: Workers | None = None

    def __post_init__(self) -> None:
        given: object = self.classes
        if isinstance(given, tuple):  # a label that is a number may be given as one
            named = tuple(str(one) if isinstance(one, int | float) else one for one in given)
            object.__setattr__(self, "classes", named)

    def steps_per_epoch(self, examples: int) -> int:
        """Batches that a pass over so many training examples takes; the last one may be partial."""
        return -(-examples // self.batch_size)


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Optax, by name."""

    name: Literal["adam", "adamw", "sgd", "lamb", "lion", "muon"] = "adam"  # update rule
    learning_rate: NonNegative = 1e-3  # at the peak of the schedule
    # decay of the first moment, the momentum of sgd and of muon's matrices; None: .95 for muon, else .9
    b1: BelowOne | None = None
    b2: BelowOne | None = None  # decay of the second moment, for lion of its momentum; None: .99 for lion, else .999
    eps: Positive = 1e-8  # added to the root of the second moment
    schedule: Literal["constant", "cosine", "linear", "exponential", "piecewise"] = "constant"  # of the learning rate
    warmup_steps: Steps = 0  # steps of linear rise before the schedule
    final: Fraction = 0.01  # learning rate at the end over the peak (cosine, linear, exponential)
    boundaries: tuple[Steps, ...] = ()  # steps at which the piecewise schedule multiplies by factor
    factor: Positive = 0.1  # of the learning rate at each boundary (piecewise)
    weight_decay: NonNegative | None = None  # decoupled, on kernels only; None: 1e-4 for adamw, 1e-3 for lion, else off
    clip_norm: Positive | None = None  # global gradient norm
    ema: BelowOne | None = None  # decay of the averaged parameters used in evaluation


Metric = Literal["bce", "mse", "psnr", "restored_bce", "restored_mse", "restored_psnr", "elbo", "reconstruction_nats"]
HIGHER_IS_BETTER = ("psnr", "restored_psnr", "elbo")


def cost(metric: str, value: float) -> float:
    """The value of a metric, with the sign that makes less of it better."""
    return -value if metric in HIGHER_IS_BETTER else value


@dataclass(frozen=True, kw_only=True)
class Train:
    """Budget, placement and bookkeeping of a run."""

    epochs: Count | None = None  # neither epochs nor steps: 20 epochs, but at least 4,000 steps
    steps: Annotated[Steps, Interval(1)] | None = None  # in place of epochs
    seed: Seed = 0  # of initial weights, noise and order
    # jit: one device; pmap: every device holds the model and computes its share of the batch; mesh: the model is spread
    # over the devices, too; auto: jit on one device and on CPU, pmap on several accelerators, mesh where pmap's state
    # would not fit
    placement: Literal["auto", "jit", "pmap", "mesh"] = "auto"
    fsdp: Count | None = None  # mesh: devices over which a parameter is spread; None: all
    # mesh: PATTERN=AXIS, the axis along which parameters whose path contains the regular expression are spread, or
    # PATTERN=none; others: the largest axis that divides, where a parameter has at least 65,536 values
    sharding: tuple[str, ...] = ()
    # of the model's computation; parameters, optimizer state, losses and sums are float32 in either
    precision: Literal["float32", "bfloat16"] = "float32"
    # pieces of a device's share that are computed one after another and added up, for memory; batch-wide penalties and
    # selections see one piece at a time
    accumulate: Count = 1
    # compute a layer's activations again for its gradient in place of keeping them; on CPU, where XLA often keeps them
    # all the same, it saves little
    rematerialize: bool = False
    # the same bits on 1, 2, 4 or 8 devices: every batch is computed in eight parts, added in one order; batch-wide
    # penalties and selections see one part at a time. From Python, on CPU: set PJRT_NPROC=8 before JAX starts, as the
    # command does
    exact: bool = False
    # steps between records of training in metrics.jsonl; None: every epoch, but not more often than every 100
    log_every: Count | None = None
    eval_every: Count | None = None  # steps; None: every epoch, but at most 20 times a run
    checkpoint_every: Count | None = None  # steps; None: every epoch, but at most 10 times a run
    # steps; writes digests of every batch, and of the state each so many steps, to digests.jsonl, to compare two runs
    # to the bit; None: off, since it costs a copy of every batch
    digest_every: Count | None = None
    # evaluations of the validation split without a better value before training stops; None: trains to the last step
    patience: Count | None = None
    # metric of the validation split that decides which checkpoint is the best, and when patience ends; None: elbo for a
    # posterior, else bce or mse as the likelihood is, the restored one with a corruption
    monitor: Metric | None = None
    # updates skipped in a row for a non-finite loss or gradient before the run ends with exit 3
    max_nonfinite: Count = 10


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that decides a run's result."""

    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    optimizer: Optimizer = field(default_factory=Optimizer)
    train: Train = field(default_factory=Train)
