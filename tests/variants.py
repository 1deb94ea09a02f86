"""Small experiments of every variant, and a harness that runs them without the host loop."""

import functools
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from aeflax import build, presets
from aeflax.config import (
    KL,
    L0,
    BatchTopK,
    Conv,
    Dense,
    Dictionary,
    Experiment,
    GaussianLikelihood,
    JumpReLU,
    Lifetime,
    Masking,
    Model,
    Optimizer,
    Penalties,
    Rate,
    Sparse,
    TopK,
    Train,
)
from aeflax.config.defaults import resolve
from aeflax.data.dataset import Dataset, load
from aeflax.data.order import permutation
from aeflax.data.reading import ahead
from aeflax.engine.feed import Feed, Streamed
from aeflax.engine.keys import root_key
from aeflax.engine.placement import Placement, choose
from aeflax.engine.state import TrainState, init_state
from aeflax.engine.step import zero_sums
from aeflax.engine.team import Division

PRESETS = tuple(presets.PRESETS)
# What the presets leave out: batch statistics, selections, free bits, odd images.
MORE = ("rate", "top-k", "batch-top-k", "jump-relu", "lifetime", "dictionary", "free-bits", "denoising-conv-vae")
VARIANTS = (*PRESETS, *MORE)
# Tests of one variant run in one process, where they share compiled programs.
# Convolutions take long to compile: `make check` leaves them to `make test`.
BY_VARIANT = tuple(
    pytest.param(name, marks=[pytest.mark.xdist_group(name), *([pytest.mark.slow] if "conv" in name else [])])
    for name in VARIANTS
)
NO_NUMBERS: Any = {"model": {"bottleneck": {}}}  # of a bottleneck without any
SHAPE, EXAMPLES = (9, 7, 1), 44
BATCH = 16  # 44 examples: two full batches and one of 12, which four devices get as 4, 4, 4, 0


def images(examples: int = EXAMPLES, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """Random uint8 images, the same at every call."""
    return np.random.RandomState(seed).randint(0, 256, (examples, *shape)).astype(np.uint8)


def experiment(variant: str, *, optimizer: Optimizer | None = None, steps: int = 7, seed: int = 3) -> Experiment:
    """A small experiment of a variant, batch 16, four units."""
    base = presets.PRESETS[variant](4) if variant in PRESETS else replace(presets.vanilla(4), model=_more(variant))
    if isinstance(base.model.backbone, Conv):
        base = replace(base, model=replace(base.model, backbone=replace(base.model.backbone, features=(3, 5))))
    return replace(
        base,
        data=replace(base.data, batch_size=BATCH),
        optimizer=optimizer or Optimizer(learning_rate=3e-3),
        train=Train(steps=steps, seed=seed),
    )


def _more(variant: str) -> Model:
    if variant == "rate":
        return Model(latent_dim=6, bottleneck=Sparse(), penalties=Penalties(rate=Rate()))
    if variant == "top-k":
        return Model(latent_dim=6, backbone=Dense(widths=(8,)), bottleneck=TopK(k=2))
    if variant == "batch-top-k":
        return Model(latent_dim=6, bottleneck=BatchTopK(mean_k=2.5))
    if variant == "jump-relu":  # a window wide enough for the few examples
        return Model(latent_dim=6, bottleneck=JumpReLU(bandwidth=2.0), penalties=Penalties(l0=L0(weight=0.3)))
    if variant == "lifetime":
        return Model(latent_dim=6, bottleneck=Lifetime(rate=0.3))
    if variant == "dictionary":  # units are dead soon, so that a few steps meet some
        return Model(
            latent_dim=6,
            bottleneck=BatchTopK(mean_k=1.0),
            likelihood=GaussianLikelihood(scale=0.5),
            dictionary=Dictionary(dead_after=20, auxk=2),
        )
    vae = presets.vae(4).model
    if variant == "free-bits":
        return replace(vae, penalties=Penalties(kl=KL(beta=0.5, warmup_steps=3, free_bits=0.1)))
    return replace(vae, backbone=Conv(features=(3, 5)), corruption=Masking(rate=0.3, rate_min=0.1))


def table(order: np.ndarray, batch_size: int) -> np.ndarray:
    """An order cut into batches, [steps, batch_size]; the last batch is padded with -1."""
    return np.pad(order, (0, -len(order) % batch_size), constant_values=-1).reshape(-1, batch_size)


class Harness:
    """Runs an experiment's compiled loop on given devices, step ranges at will."""

    def __init__(
        self,
        settings: Experiment,
        placement: Placement | None = None,
        *,
        array: np.ndarray | None = None,
        resident: bool = True,
    ) -> None:
        self.dataset: Dataset = load(settings.data, images(EXAMPLES * 5 // 4) if array is None else array)
        values = self.dataset.train.values
        self.settings = resolve(settings, self.dataset.shape, len(values))
        self.built = build.build(self.settings, self.dataset.shape)
        self.hyper = build.hyper(self.settings)
        self.key = root_key(self.settings.train.seed)
        self.placement = placement or choose("jit")
        self.feed = Feed(
            values
            if resident
            else Streamed(functools.partial(ahead, values, workers=0), len(values), values[0].nbytes),
            (self.dataset.scaling.shift, self.dataset.scaling.divisor),
            self.settings.data.batch_size,
            functools.partial(permutation, self.settings.train.seed, examples=len(values)),
            self.placement,
        )
        self.compile()

    def compile(self, **changed: Any) -> None:
        """Compiles the loop, with some of the parts changed."""
        parts = self.built.parts._replace(**changed)
        division = Division(self.settings.train.accumulate, self.settings.train.exact)
        self.epoch = self.placement.compile(parts, division, streamed=self.feed.streamed)

    def initial(self) -> TrainState:
        state = jax.jit(init_state, static_argnums=0)(self.built.parts, self.key, self.hyper)
        return jax.device_put(state, self.placement.shardings(state))

    def run(self, state: TrainState, steps: int, *, chunk: int = 10**6, hyper: Any = None) -> tuple[TrainState, dict]:
        """Takes steps from the state's own step on; returns the state and the metric sums."""
        sums = self.placement.replicate(zero_sums(self.built.parts))
        step, last = int(state.step), int(state.step) + steps
        while step < last:
            part = self.feed.chunk(step, min(chunk, last - step))
            state, sums = self.epoch(
                state, sums, part.source, part.order, part.first, part.steps, self.key, hyper or self.hyper
            )
            step += part.steps
        return state, jax.device_get(sums)
