"""The compiled epoch against the same step called from a Python loop.

Workload D1: 784-64-784, Adam, batch 256, one epoch of 60,000 images of 28×28 (synthetic, uint8). Both sides
run the same pure train step from the same state; they alternate, and their final losses must agree.

- epoch: `aeflax`'s compiled loop, data resident on the device.
- python: `jax.jit(train_step)` called once a step with a batch that NumPy gathers and scales to float32; the loss is
  read once an epoch.
- script: the same as training scripts write it: a key split for every step, the loss read after it.
- empty: the script's loop around a step that computes nothing, so what the loop itself costs.

The compiled loop saves what `empty` costs and no more: the ratio is 1 + loop / step, whatever the machine.

    python benchmarks/loop.py                 # prints a table, appends to benchmarks/results/loop.jsonl
"""

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from machine import describe

from aeflax import build, presets
from aeflax.data.dataset import load
from aeflax.data.order import permutation
from aeflax.defaults import resolve
from aeflax.engine.feed import Feed, table
from aeflax.engine.keys import root_key
from aeflax.engine.placement import choose
from aeflax.engine.state import Batch, Source, init_state
from aeflax.engine.step import make_step, zero_sums

BATCH, IMAGES = 256, 60_000
TOLERANCE = 1e-3  # relative; both sides train the same steps, in float32, with another order of summation


def main() -> None:
    """Measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "loop.jsonl")
    options = parser.parse_args()

    sides = {
        "epoch": compiled_epoch(),
        "python": python_loop(),
        "script": python_loop(script=True),
        "empty": empty_loop(),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    losses: dict[str, float] = {}
    for turn in range(options.rounds + 1):
        for name, run in sides.items():
            started = time.perf_counter()
            losses[name] = run()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - started)
    first = losses["epoch"]
    for name, loss in losses.items():
        if name != "empty" and abs(loss - first) > TOLERANCE * abs(first):
            raise SystemExit(f"final losses disagree: {losses}; the comparison with {name} is void")

    steps = -(-IMAGES // BATCH)
    record = {"workload": "D1", "steps": steps, "losses": losses, "sides": {}, **describe()}
    print(f"D1, {steps} steps, median of {options.rounds}")
    for name, times in seconds.items():
        ratios = [other / own for other, own in zip(times, seconds["epoch"], strict=True)]
        row = {
            "ms_per_step": 1e3 * statistics.median(times) / steps,
            "ratio_to_epoch": statistics.median(ratios),
            "ratio_range": [min(ratios), max(ratios)],
        }
        record["sides"][name] = row
        print(f"  {name:<8} {row['ms_per_step']:6.2f} ms/step   {row['ratio_to_epoch']:.2f} × the epoch's time")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a") as file:
        file.write(json.dumps(record) + "\n")


def _setup():
    experiment = presets.vanilla(latent_dim=64)
    data = replace(experiment.data, source=f"synthetic:28x28x1:{IMAGES * 5 // 4}", batch_size=BATCH)
    dataset = load(data)
    resolved = resolve(replace(experiment, data=data), dataset.shape, len(dataset.train.values))
    built, hyper = build.build(resolved, dataset.shape), build.hyper(resolved)
    key, placement = root_key(0), choose("jit")
    state = placement.replicate(jax.jit(init_state, static_argnums=0)(built.parts, key, hyper))
    return dataset, built.parts, hyper, key, placement, state


def compiled_epoch() -> Callable[[], float]:
    """One epoch in the compiled loop."""
    dataset, parts, hyper, key, placement, state = _setup()
    rows = dataset.train.values.reshape(IMAGES, -1)
    stored = Source(rows, dataset.scaling.shift, dataset.scaling.divisor)
    feed = Feed(stored, BATCH, lambda epoch: permutation(0, epoch, IMAGES), placement, resident=True)
    epoch = placement.compile(parts, streamed=False)
    step = 0

    def run() -> float:
        nonlocal state, step
        chunk = feed.chunk(step, 10**9)
        sums = placement.replicate(zero_sums(parts))
        state, sums = epoch(state, sums, chunk.source, chunk.order, chunk.first, chunk.steps, key, hyper)
        step += chunk.steps
        return float(sums["loss"]) / float(sums["weight"])

    return run


def python_loop(*, script: bool = False) -> Callable[[], float]:
    """One epoch as a Python loop over NumPy batches; a `script` splits a key and reads the loss at every step."""
    dataset, parts, hyper, key, _, state = _setup()
    train_step = jax.jit(make_step(parts, lambda tree: tree), donate_argnums=0)
    return _loop(dataset, train_step, state, key, hyper, script)


def empty_loop() -> Callable[[], float]:
    """The script's loop around a step that only counts."""
    dataset, parts, hyper, key, _, state = _setup()

    @functools.partial(jax.jit, donate_argnums=0)
    def count(state, batch, key, hyper):
        return state.replace(step=state.step + 1), zero_sums(parts) | {"weight": batch.source.rows[0, 0]}

    return _loop(dataset, count, state, key, hyper, script=True)


def _loop(dataset, train_step, state, key, hyper, script: bool) -> Callable[[], float]:
    rows = dataset.train.values.reshape(IMAGES, -1)
    identity = np.zeros(1, np.float32), np.ones(1, np.float32)
    epochs, chain = 0, key

    def run() -> float:
        nonlocal state, epochs, chain
        sums = []
        for example in table(permutation(0, epochs, IMAGES), BATCH):
            images = rows[np.maximum(example, 0)].astype(np.float32) / 255.0
            if script:  # the split key costs its time; all sides draw from `key`, so that their losses agree
                chain, _ = jax.random.split(chain)
            state, new = train_step(state, Batch(Source(images, *identity), example), key, hyper)
            sums.append({name: float(new[name]) for name in ("loss", "weight")} if script else new)
        epochs += 1
        jax.block_until_ready(state)
        fetched = jax.device_get(sums)
        return float(sum(s["loss"] for s in fetched) / max(sum(s["weight"] for s in fetched), 1e-9))

    return run


if __name__ == "__main__":
    main()
