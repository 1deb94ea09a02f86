"""aeflax's side, and what else JAX can do with the same step.

Variants:

- aeflax: the compiled epoch, as `aeflax train` runs it, data resident on the device; of several models, as `aeflax
  sweep` trains them at once.
- one-by-one: the same compiled epoch for one model after another.
- loop: the same pure train step under `jax.jit`, called once a step with a batch that NumPy gathers and scales; the
  loss is read once an epoch.
- script: the same as training scripts write it: a key split for every step, the loss read after it.
- native: the compiled epoch with XLA's own convolutions.
- flax-example: a VAE as Flax' example writes it, a jitted step called once a batch.
- peak: no training: the matrix product that measures what this machine can do.
"""

import functools
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from worker import Round, serve
from workloads import Workload

from aeflax import config, presets
from aeflax.bench.throughput import flops_per_step
from aeflax.config import Data, Experiment
from aeflax.config.defaults import resolve
from aeflax.data.dataset import load
from aeflax.data.order import permutation
from aeflax.engine.feed import Feed, Tables
from aeflax.engine.state import Batch, Order, Source
from aeflax.engine.step import make_step
from aeflax.models import layers
from aeflax.population.program import Population
from aeflax.program import Program
from aeflax.program import prepare as prepare_program

PEAK_SIZE, PEAK_COUNT = (2048 if jax.default_backend() == "cpu" else 8192), 10

SCALING = np.zeros(1, np.float32), np.full(1, 255, np.float32)  # shift and divisor of an image


def experiment(workload: Workload) -> Experiment:
    """The workload as aeflax' configuration."""
    if workload.features:
        preset = presets.conv(latent_dim=workload.code)
        backbone: config.Backbone = config.Conv(features=workload.features)
    else:
        preset = (presets.vae if workload.posterior else presets.vanilla)(latent_dim=workload.code)
        backbone = config.Dense(widths=workload.widths)
    height, width, channels = workload.shape
    data = Data(source=f"synthetic:{height}x{width}x{channels}:{workload.images}", batch_size=workload.batch)
    return replace(preset, data=data, model=replace(preset.model, backbone=backbone))


def program_of(workload: Workload) -> Program:
    """The workload's program on one device."""
    settings = experiment(workload)
    return prepare_program(resolve(settings, workload.shape, workload.images), workload.shape)


def write_inputs(workload: Workload, directory: Path) -> None:
    """Writes images.npy and weights.npz, which every side starts from."""
    np.save(directory / "images.npy", pictures(workload))
    params = program_of(workload).initial_state().params
    layers = enumerate(_forward(params))
    np.savez(directory / "weights.npz", **{f"{i:02}_{path}": np.asarray(leaf) for i, (path, leaf) in layers})


def pictures(workload: Workload) -> np.ndarray:
    """Digits enlarged, shifted and tinted, [N, H, W, C] uint8: pictures with something to learn that need no files."""
    random, digits = np.random.RandomState(0), load(Data(source="digits")).train.values
    height, width, channels = workload.shape
    scale = min(height, width) // digits.shape[1]
    large = digits.reshape(len(digits), 8, 8).repeat(scale, axis=1).repeat(scale, axis=2)
    large = np.pad(large, ((0, 0), (0, height - 8 * scale), (0, width - 8 * scale)))
    images = large[random.randint(len(large), size=workload.images), ..., None]
    shifts = random.randint(-2, 3, size=(workload.images, 2))
    moved = np.stack([np.roll(image, shift, axis=(0, 1)) for image, shift in zip(images, shifts, strict=True)])
    tints = random.uniform(0.5, 1.0, size=(workload.images, 1, 1, channels))
    return np.round(moved * (255 / digits.max()) * tints).astype(np.uint8)


def prepare(workload: Workload, variant: str, directory: Path) -> tuple[Round, dict[str, Any]]:
    """One epoch of a variant, compiled."""
    if variant == "peak":
        return peak()
    if variant == "native":
        layers.convolve = _native  # type: ignore[assignment]
    images = np.load(directory / "images.npy")
    described = {"versions": {name: version(name) for name in ("jax", "jaxlib")}}
    if variant == "flax-example":
        return _flax_example(workload, images), described
    program = program_of(workload)
    described |= {"flops_per_step": flops_per_step(program)}
    if variant == "aeflax" and workload.models > 1:
        return mapped_epoch(program, workload, images, workload.models), described
    if variant in ("aeflax", "one-by-one", "native"):
        return compiled_epoch(program, workload, images), described
    return _python_loop(program, workload, images, variant), described


def mapped_epoch(program: Program, workload: Workload, images: np.ndarray, models: int) -> Round:
    """An epoch of several models at once, each with an order of its own."""
    tables = [
        Tables(
            functools.partial(permutation, seed, examples=workload.images),
            workload.images,
            workload.batch,
            workload.epoch_steps,
            slice(None),
        )
        for seed in range(models)
    ]
    population = Population([program] * models, images.reshape(len(images), -1), SCALING)

    def order_of(epoch: int) -> Order:
        return population.order([table[epoch] for table in tables], tables[0].sizes(epoch))

    state, epochs, order = population.initial_state(), 0, order_of(0)

    def run() -> float:
        nonlocal state, epochs, order
        state, sums = population.run(state, population.zero_sums(), order, 0, workload.epoch_steps)
        epochs += 1
        order = order_of(epochs)  # while the devices compute, as training does
        held = jax.device_get(sums)
        return float(np.mean(held["loss"] / held["weight"]))

    return run


def compiled_epoch(program: Program, workload: Workload, images: np.ndarray) -> Round:
    """An epoch of one model, as `aeflax train` runs it."""
    order = functools.partial(permutation, 0, examples=workload.images)
    feed = Feed(images, SCALING, workload.batch, order, program.placement)
    epoch, state, step = program.compile(streamed=False), program.initial_state(), 0
    chunk = feed.chunk(0, workload.epoch_steps)

    def run() -> float:
        nonlocal state, step, chunk
        state, sums = epoch(state, program.zero_sums(), *program.arguments(chunk))
        step += chunk.steps
        chunk = feed.chunk(step, workload.epoch_steps)  # while the devices compute, as training does
        return float(sums["loss"]) / float(sums["weight"])

    return run


def _python_loop(program: Program, workload: Workload, images: np.ndarray, variant: str) -> Round:
    script = variant == "script"
    rows = images.reshape(workload.images, -1)
    identity = np.zeros(1, np.float32), np.ones(1, np.float32)
    state, chain, epochs = program.initial_state(), program.key, 0
    step = jax.jit(make_step(program.built.parts), donate_argnums=0)

    def run() -> float:
        nonlocal state, epochs, chain
        sums = []
        order = permutation(0, epochs, workload.images)
        padded = np.pad(order, (0, -len(order) % workload.batch), constant_values=-1)
        for example in padded.reshape(-1, workload.batch):
            batch = rows[np.maximum(example, 0)].astype(np.float32) / 255.0
            count = np.float32(np.count_nonzero(example >= 0))
            if script:  # the split key costs its time; all variants draw from one key, so that their losses agree
                chain, _ = jax.random.split(chain)
            state, new = step(state, Batch(Source(batch, *identity), example, count), program.key, program.hyper)
            sums.append({name: float(new[name]) for name in ("loss", "weight")} if script else new)
        epochs += 1
        jax.block_until_ready(state)
        fetched = jax.device_get(sums)
        return float(sum(s["loss"] for s in fetched) / sum(s["weight"] for s in fetched))

    return run


def _flax_example(workload: Workload, images: np.ndarray) -> Round:
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            hidden = nn.relu(nn.Dense(workload.widths[0])(x))
            mean, log_var = nn.Dense(workload.code)(hidden), nn.Dense(workload.code)(hidden)
            code = mean + jnp.exp(0.5 * log_var) * jax.random.normal(key, mean.shape)
            return nn.Dense(workload.pixels)(nn.relu(nn.Dense(workload.widths[0])(code))), mean, log_var

    network, tx, chain = Network(), optax.adam(1e-3), jax.random.key(0)
    rows = images.reshape(workload.images, -1).astype(np.float32) / 255.0
    params = network.init(chain, rows[:1], chain)
    state, epochs = (params, tx.init(params)), 0

    @jax.jit
    def train_step(state, batch, key):  # type: ignore[no-untyped-def]
        def loss_of(params):  # type: ignore[no-untyped-def]
            logits, mean, log_var = network.apply(params, batch, key)
            nats = optax.sigmoid_binary_cross_entropy(logits, batch).sum(axis=-1)
            kl = -0.5 * jnp.sum(1 + log_var - mean**2 - jnp.exp(log_var), axis=-1)
            return (nats + kl).mean()

        params, opt_state = state
        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    def run() -> float:
        nonlocal state, chain, epochs
        losses = []
        order = permutation(0, epochs, workload.images)
        for part in np.split(order, range(workload.batch, workload.images, workload.batch)):
            chain, key = jax.random.split(chain)
            state, loss = train_step(state, rows[part], key)
            losses.append(loss)
        epochs += 1
        return float(np.mean(jax.device_get(losses)))

    return run


def _native(images: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return lax.conv_general_dilated(
        images, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def peak() -> tuple[Round, dict[str, Any]]:
    """Large matrix products, and how many operations they are."""
    left = jax.random.normal(jax.random.key(0), (PEAK_SIZE, PEAK_SIZE))
    product = jax.jit(lambda a, b: a @ b)

    def run() -> float:
        result = left
        for _ in range(PEAK_COUNT):
            result = product(left, left)
        jax.block_until_ready(result)
        return 0.0

    return run, {"flops_per_step": 2.0 * PEAK_SIZE**3 * PEAK_COUNT}


def _forward(params: Any) -> list[tuple[str, jax.Array]]:
    """Kernels and biases in the order in which the layers are applied."""
    order = ("encoder", "bottleneck", "decoder")
    names = {"kernel": 0, "bias": 1}
    found = []
    for place, part in enumerate(order):
        for path, leaf in jax.tree_util.tree_leaves_with_path(params.get(part, {})):
            keys = [str(key.key) for key in path]
            layer = {"input": -1, "output": 99}.get(keys[0], int(keys[0].rpartition("_")[2]) if "_" in keys[0] else 0)
            found.append(((place, layer, names[keys[-1]]), "_".join((part, *keys)), leaf))
    return [(path, leaf) for _, path, leaf in sorted(found, key=lambda item: item[0])]


if __name__ == "__main__":
    serve(prepare, at_once=("aeflax", "peak"))
