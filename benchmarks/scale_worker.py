"""One process of `scale.py`, on as many host devices as XLA_FLAGS says. Prints one JSON object a line.

python benchmarks/scale_worker.py agreement OUT [--coordinator HOST:PORT --process-id I --num-processes N]
python benchmarks/scale_worker.py overhead
python benchmarks/scale_worker.py exact
python benchmarks/scale_worker.py memory
python benchmarks/scale_worker.py stream SOURCE...
python benchmarks/scale_worker.py growth NPY EPOCHS
"""

import argparse
import json
import math
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import aeflax
from aeflax import config, hosts, presets
from aeflax.bench import throughput as bench
from aeflax.config import Data, Dense, Experiment, Optimizer, Penalties, Rate, Sparse, TopK, Train
from aeflax.config.defaults import resolve
from aeflax.data.dataset import load
from aeflax.engine.placement import DATA, FSDP
from aeflax.engine.sharding import partition
from aeflax.engine.state import leaf_name
from aeflax.program import Program, prepare
from aeflax.rundir.checkpoint import state_sha256
from aeflax.training.trainer import Trainer

STEPS, BATCH = 50, 64
IMAGES = Data(source="synthetic:28x28x1:2500", batch_size=BATCH)
VARIANTS: dict[str, Experiment] = {
    **{name: make(128 if name != "conv" else 32) for name, make in presets.PRESETS.items()},
    "rate": replace(
        presets.vanilla(128),
        model=config.Model(latent_dim=128, bottleneck=Sparse(), penalties=Penalties(rate=Rate())),
    ),
    "top-k": replace(presets.vanilla(256), model=config.Model(latent_dim=256, bottleneck=TopK(k=16))),
}


def main() -> None:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("agreement", "overhead", "exact", "memory", "stream", "growth"))
    parser.add_argument("arguments", nargs="*")
    parser.add_argument("--coordinator")
    parser.add_argument("--process-id", type=int)
    parser.add_argument("--num-processes", type=int)
    options = parser.parse_args()
    if options.coordinator:
        hosts.start(options.coordinator, options.process_id, options.num_processes)
    globals()[options.what](*options.arguments)
    if options.coordinator:
        hosts.finish()


def say(**found: Any) -> None:
    """Prints a result, on one process."""
    if hosts.primary():
        print(json.dumps(found), flush=True)


def ready(experiment: Experiment) -> tuple[Program, Any]:
    """The program of an experiment, and its data."""
    dataset = load(experiment.data)
    program = prepare(resolve(experiment, dataset.shape, len(dataset.train.values)), dataset.shape)
    program.require_shares()
    return program, dataset


def agreement(out: str) -> None:
    """Trains every variant in every placement that these devices allow; keeps weights and digests."""
    count = len(jax.devices())
    names = ["jit"] if count == 1 else ["pmap", "mesh"]
    for variant, experiment in VARIANTS.items():
        # Adam amplifies rounding where a gradient is nearly zero; momentum shows what the placement did.
        base = replace(experiment, data=IMAGES, optimizer=Optimizer(name="sgd", learning_rate=1e-4))
        for name, exact in [*((name, False) for name in names), (names[0], True)]:
            train = Train(steps=STEPS, seed=1, placement=name, exact=exact)
            program, dataset = ready(replace(base, train=train))
            start = [hosts.fetch(leaf) for leaf in jax.tree.leaves(program.initial_state().params)]
            trainer = Trainer(program, dataset)
            state = trainer.fit()
            trainer.close()
            digest = state_sha256(state)
            weights = [hosts.fetch(leaf) for leaf in jax.tree.leaves(state.params)]
            label = f"{name}{'-exact' if exact else ''}-{count}-{hosts.count()}"
            if hosts.primary():
                moved = np.concatenate([(a - b).ravel() for a, b in zip(weights, start, strict=True)])
                np.save(Path(out) / f"{variant}-{label}.npy", moved)
            say(variant=variant, placement=name, exact=exact, devices=count, processes=hosts.count(), sha256=digest)


def overhead() -> None:
    """Steps of a model so small that its computation takes no time, eight examples a device: what is left."""
    count, found = len(jax.devices()), {}
    tiny = replace(presets.vanilla(2), data=Data(source=f"synthetic:4x4x1:{count * 200_000}", batch_size=8 * count))
    alone = replace(tiny, data=replace(tiny.data, batch_size=8), train=Train(placement="jit"))
    for _ in range(7):  # in turn: how the threads of the devices share the processors changes from time to time
        for name in ["jit"] if count == 1 else ["pmap", "mesh"]:
            (one,) = bench.measure(replace(tiny, train=Train(placement=name)), seconds=1.0)
            found.setdefault(name, []).append(1e3 * one.step_ms)
        if count > 1:
            found.setdefault("one psum", []).append(_psum())
            (one,) = bench.measure(alone, seconds=0.3)
            found.setdefault("one device's computation", []).append(1e3 * one.step_ms)
    for name, took in found.items():
        say(devices=count, placement=name, us_per_step=statistics.median(took), range=[min(took), max(took)])


def _psum() -> float:
    """Microseconds of one sum over the devices, in a loop of them."""

    def sums(values: jax.Array) -> jax.Array:
        return lax.fori_loop(0, 1000, lambda _, x: lax.psum(x, DATA) / len(jax.devices()), values)

    compiled = jax.pmap(sums, axis_name=DATA)
    values = jnp.ones((len(jax.devices()), 100))
    jax.block_until_ready(compiled(values))
    took = []
    for _ in range(9):
        started = time.perf_counter()
        jax.block_until_ready(compiled(values))
        took.append(time.perf_counter() - started)
    return 1e3 * statistics.median(took)


def exact() -> None:
    """A step of the exact mode beside a plain one, in turn."""
    for name, batch_size in (("vanilla", 256), ("vanilla", 2048), ("vae", 256), ("conv", 128)):
        took: dict[bool, list[float]] = {False: [], True: []}
        base = replace(presets.PRESETS[name](), data=Data(source="synthetic:28x28x1:20000", batch_size=batch_size))
        for _ in range(5):
            for mode, found in took.items():
                (one,) = bench.measure(replace(base, train=Train(placement="jit", exact=mode)), seconds=1.0)
                found.append(one.step_ms)
        ratios = [slow / plain for plain, slow in zip(took[False], took[True], strict=True)]
        say(
            preset=name,
            batch_size=batch_size,
            plain_ms=statistics.median(took[False]),
            exact_ms=statistics.median(took[True]),
            ratio=statistics.median(ratios),
            range=[min(ratios), max(ratios)],
        )


def memory() -> None:
    """What a device holds of a model of 227 million parameters that is spread over all devices."""
    count = len(jax.devices())
    model = replace(presets.vanilla(64).model, backbone=Dense(widths=(10240, 10240)))
    train = Train(steps=2, placement="mesh" if count > 1 else "jit")
    data = Data(source="synthetic:28x28x1:640", batch_size=64)
    program, dataset = ready(Experiment(data=data, model=model, train=train))
    template = program.template()
    leaves = jax.tree_util.tree_leaves_with_path(template)
    spread = replicated = 0
    for path, leaf in leaves:
        size = math.prod(leaf.shape) * leaf.dtype.itemsize
        name = leaf_name(path)
        if count > 1 and partition(name, leaf.shape, count) is not None:
            spread += size
        else:
            replicated += size
    feed = bench._Timed(program, dataset)
    analysis = feed.compiled.memory_analysis()
    feed.feed.close()
    del feed
    trainer = Trainer(program, dataset)
    state = trainer.fit()
    trainer.close()
    device = jax.devices()[0]
    live = sum(
        shard.data.nbytes
        for array in jax.live_arrays()
        for shard in array.addressable_shards
        if shard.device == device and array.ndim and array.dtype == np.float32
    )
    say(
        devices=count,
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(template.params)),
        formula_bytes=spread // count + replicated,
        argument_bytes=analysis.argument_size_in_bytes,
        temporary_bytes=analysis.temp_size_in_bytes,
        live_bytes=live,
        finite=bool(np.isfinite(float(jax.tree.leaves(state.params)[0].sum()))),
        axes={axis: size for axis, size in program.placement.mesh.shape.items() if axis == FSDP},
    )


def stream(*sources: str) -> None:
    """The same training from memory and from each source in turn, seven times: steps a second."""
    model = replace(presets.vanilla(64).model, backbone=Dense(widths=(1024, 1024)))
    speeds: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}
    step_ms: dict[str, list[float]] = {}
    for turn in range(8):
        for label, source, resident in [("resident", sources[0], True), *((s, s, False) for s in sources)]:
            data = Data(source=source, batch_size=256, resident=resident)
            (found,) = bench.measure(Experiment(data=data, model=model), seconds=3.0)
            if turn:  # the first one reads the files into the page cache
                name = label.partition(":")[0]
                speeds.setdefault(name, []).append(found.images_per_second)
                waits.setdefault(name, []).append(found.data_wait)
                step_ms.setdefault(name, []).append(found.step_ms)
    for name in speeds:
        ratios = [a / b for a, b in zip(speeds[name], speeds["resident"], strict=True)]
        say(
            source=name,
            step_ms=statistics.median(step_ms[name]),
            share_of_resident=statistics.median(ratios),
            share_range=[min(ratios), max(ratios)],
            data_wait=statistics.median(waits[name]),
        )


def growth(path: str, epochs: str) -> None:
    """Some epochs, streamed: seconds an image, and the most memory that this process ever held."""
    model = replace(presets.vanilla(64).model)
    data = Data(source=f"npy:{path}", batch_size=256, resident=False, holdout=0.01)
    run = aeflax.train(Experiment(data=data, model=model, train=Train(epochs=int(epochs))))
    assert run.summary is not None
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    say(
        images=len(np.load(path, mmap_mode="r")),
        bytes=Path(path).stat().st_size,
        us_per_image=1e6 / run.summary["images_per_second"],
        data_wait=float(np.mean(run.history["train"]["data_wait"])),
        peak_bytes=1024 * peak,
    )


if __name__ == "__main__":
    main()
