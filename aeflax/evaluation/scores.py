"""Metrics of a model over a whole split, the same names for every variant.

Each example's values are computed on the device and averaged on the host in float64, so the result does not
depend on the batch size beyond the rounding of one example's float32 forward pass.

| name | meaning |
|---|---|
| `bce` | binary cross-entropy per feature, nats (Bernoulli likelihood) |
| `bce_floor` | what `bce` would be if every output were its input (`evaluation.floor`); of a final evaluation |
| `mse` | squared error per feature |
| `psnr` | peak signal-to-noise ratio, dB, peak 1, mean over examples (data in [0, 1]) |
| `reconstruction_nats` | -log p(x given code), summed over features |
| `kl` | KL(posterior || prior), nats |
| `elbo` | -(reconstruction_nats + kl), nats: one posterior sample, beta 1, no free bits; higher is better |
| `l0`, `mean_activation` | active units of the code; mean of the code |
| `dead_fraction` | share of units active for no example of the split |
| `idle_fraction` | of a dictionary: share of units without activity for `dead_after` examples of training |
| `restored_*`, `corrupted_psnr` | the same after corruption, against the clean input; and of the corrupted input |
| of a penalty of one's own | what it reports, by its name; a mean over the batch is that of the evaluated one |
"""

import functools
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeflax import config
from aeflax.build import Built
from aeflax.data.dataset import Dataset
from aeflax.engine.compiling import PROGRAMS
from aeflax.engine.keys import Keys, Split, Stream
from aeflax.engine.placement import Placement
from aeflax.engine.state import Hyper, Source, TrainState
from aeflax.engine.step import weighted
from aeflax.evaluation.batches import batches
from aeflax.evaluation.quality import PSNR_FLOOR
from aeflax.loss import penalties
from aeflax.models.dictionary import IDLE
from aeflax.objectives import gaussian_kl
from aeflax.outputs import flat
from aeflax.program import Program

SIGMOID_ACTIVE = 0.1  # twice the usual target rate

Scores = dict[str, jax.Array]
Scored = tuple[Scores, Scores, jax.Array]  # of each example, of each unit, and the examples' indices
Scorer = Callable[[TrainState, Source, jax.Array, np.int32, jax.Array, Hyper], Scored]


def evaluate(program: Program, state: TrainState, dataset: Dataset, split: str) -> dict[str, float]:
    """Metrics of a state over one split, or over all of them.

    Args:
      program: the model, its numbers and its devices, which share the batches.
      state: whose parameters (averaged ones where kept) are scored.
      dataset: holds the splits.
      split: train, validation, test or all.

    Raises:
      ConfigError: if there is no such split.
    """
    scorer = _scorer(program.built, program.placement, dataset.unit_range)
    key, hyper = program.key, program.hyper
    lean = state.replace(opt_state=None, params=state.inference_params, ema=None)
    each: dict[str, list[np.ndarray]] = {}
    units: dict[str, np.ndarray] = {}

    def collect(result: Scored) -> None:
        scores, counts, example = jax.device_get(result)
        real = example >= 0
        for name, values in scores.items():
            each.setdefault(name, []).append(values[real])
        for name, values in counts.items():
            units[name] = units.get(name, 0) + values.astype(np.float64)

    for name in dataset.splits if split == "all" else (split,):
        waiting = None
        for source, example in batches(program, dataset, name):
            result = scorer(lean, source, example, np.int32(Split[name.upper()]), key, hyper)
            if waiting is not None:
                collect(waiting)  # while the next batch computes
            waiting = result
        if waiting is not None:
            collect(waiting)
    metrics = {name: float(np.mean(np.concatenate(values), dtype=np.float64)) for name, values in each.items()}
    if "active" in units:
        metrics["dead_fraction"] = float(np.mean(units["active"] == 0))
    if (record := program.experiment.model.dictionary) is not None:
        metrics["idle_fraction"] = float(np.mean(jax.device_get(state.model[IDLE]) >= record.dead_after))
    return metrics


def activity_threshold(model: config.Model) -> float:
    """Above which a unit of the code is active: 0, but more for a sigmoid, which never gives exactly 0."""
    return SIGMOID_ACTIVE if getattr(model.bottleneck, "activation", None) == "sigmoid" else 0.0


@functools.lru_cache(maxsize=PROGRAMS)
def _scorer(built: Built, placement: Placement, unit_range: bool) -> Scorer:
    parts, like, model = built.parts, built.likelihood, built.model
    bernoulli = isinstance(model.likelihood, config.Bernoulli)
    corrupts = not isinstance(model.corruption, config.NoCorruption)
    built_in = {field.name for field in fields(config.Penalties)}
    own = {name: cost for name, cost in penalties(model).items() if name not in built_in}
    sparse = model.bottleneck.sparse
    threshold = activity_threshold(model)

    def quality(images: jax.Array, targets: jax.Array) -> Scores:
        error = jnp.mean(flat(images - targets) ** 2, axis=-1)
        return {"mse": error} | ({"psnr": _psnr(error)} if unit_range else {})

    def reconstruction(outputs: Any, targets: jax.Array, hyper: Hyper) -> Scores:
        nats = like.nats(outputs, targets, hyper["model"]["likelihood"])
        per_feature = {"bce": nats / math.prod(built.shape)} if bernoulli else {}
        return per_feature | quality(like.mean(outputs.logits), targets) | {"reconstruction_nats": nats}

    def score(
        state: TrainState, source: Source, example: jax.Array, split: np.int32, key: jax.Array, hyper: Hyper
    ) -> Scored:
        keys = Keys.of_evaluation(key, split, example)
        targets = parts.prepare(source, keys)
        latent = keys.of(Stream.LATENT)
        params = placement.team().lend(state.params, len(example))
        outputs = parts.apply(params, state.model, targets, latent, hyper, None)
        scores = reconstruction(outputs, targets, hyper)
        counts: Scores = {}
        if outputs.latent.mean is not None:
            scores["kl"] = jnp.sum(gaussian_kl(outputs.latent.mean, outputs.latent.log_var), axis=-1)
            scores["elbo"] = -(scores["reconstruction_nats"] + scores["kl"])
        if sparse:
            active = outputs.latent.code > threshold
            scores["l0"] = jnp.sum(active, axis=-1).astype(jnp.float32)
            scores["mean_activation"] = jnp.mean(outputs.latent.code, axis=-1)
            counts["active"] = jnp.sum(active & (example >= 0)[:, None], axis=0)
        for name, cost in own.items():
            values = hyper["model"]["penalties"][name]
            scores[name] = cost(outputs, functools.partial(_mean, example >= 0), values, state.step)[1]
        if corrupts:
            inputs = parts.corrupt(keys.of(Stream.CORRUPTION), targets, hyper)
            restored = parts.apply(params, state.model, inputs, latent, hyper, None)
            again = reconstruction(restored, targets, hyper)
            scores |= {f"restored_{name}": again[name] for name in ("bce", "mse", "psnr") if name in again}
            scores |= {f"corrupted_{name}": value for name, value in quality(inputs, targets).items() if name == "psnr"}
        return scores, counts, example

    return jax.jit(score, out_shardings=placement.sharding())  # whole on every device, so every process has all


def _mean(real: jax.Array, values: jax.Array) -> jax.Array:
    """Values [B, ...] -> their mean over the examples [B] that are no padding."""
    weight = real.astype(values.dtype)
    return weighted(weight, values) / jnp.sum(weight)


def _psnr(error: jax.Array) -> jax.Array:
    return -10.0 * jnp.log10(jnp.maximum(error, PSNR_FLOOR))
