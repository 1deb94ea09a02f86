"""Time a step of each kind of code beside a plain one of the same width, in turn.

    python benchmarks/kinds.py      # appends to benchmarks/results/kinds.jsonl

784-1024-784, batch 256, Adam: only the code and its penalties differ. Ratios are of rounds that ran side by side.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from aeflax_side import compiled_epoch, experiment, write_inputs
from machine import describe
from workloads import Workload

from aeflax.config import (
    KL,
    L0,
    L1,
    BatchTopK,
    Deterministic,
    Dictionary,
    GaussianPosterior,
    JumpReLU,
    Lifetime,
    Model,
    Penalties,
    Rate,
    Sparse,
    TopK,
)
from aeflax.config.defaults import resolve
from aeflax.program import prepare

HERE = Path(__file__).parent
WORKLOAD = Workload(title="784-1024-784, batch 256", images=12_800, batch=256, code=1024, peers=(), target=1.0)
PLAIN = Model(latent_dim=WORKLOAD.code, bottleneck=Deterministic(activation="relu"))
KINDS = {
    "vanilla": PLAIN,
    "sparse, l1": replace(PLAIN, bottleneck=Sparse(), penalties=Penalties(l1=L1())),
    "sparse, rate": replace(PLAIN, bottleneck=Sparse(), penalties=Penalties(rate=Rate())),
    "top-k": replace(PLAIN, bottleneck=TopK()),
    "batch-top-k": replace(PLAIN, bottleneck=BatchTopK()),
    "jump-relu, l0": replace(PLAIN, bottleneck=JumpReLU(), penalties=Penalties(l0=L0())),
    "lifetime": replace(PLAIN, bottleneck=Lifetime()),
    "top-k, dictionary": replace(PLAIN, bottleneck=TopK(), dictionary=Dictionary()),
    "top-k, dictionary without AuxK": replace(PLAIN, bottleneck=TopK(), dictionary=Dictionary(auxk_weight=None)),
    "posterior, kl": replace(PLAIN, bottleneck=GaussianPosterior(), penalties=Penalties(kl=KL())),
    "posterior, 5 samples": replace(PLAIN, bottleneck=GaussianPosterior(samples=5), penalties=Penalties(kl=KL())),
}


def main() -> None:
    """Measures and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        write_inputs(WORKLOAD, Path(directory))
        images = np.load(Path(directory) / "images.npy")
    base = experiment(WORKLOAD)
    epochs = {}
    for name, model in KINDS.items():
        settings = resolve(replace(base, model=model), WORKLOAD.shape, WORKLOAD.images)
        epochs[name] = compiled_epoch(prepare(settings, WORKLOAD.shape), WORKLOAD, images)
        epochs[name]()  # compiles
        epochs[name]()  # fills caches
    found: dict[str, list[float]] = {name: [] for name in epochs}
    for _ in range(options.rounds):
        for name, epoch in epochs.items():
            started = time.perf_counter()
            epoch()
            found[name].append((time.perf_counter() - started) / WORKLOAD.epoch_steps)
    rows = []
    for name, seconds in found.items():
        ratios = [one / plain for one, plain in zip(seconds, found["vanilla"], strict=True)]
        rows.append(
            {
                "kind": name,
                "ms_per_step": 1e3 * statistics.median(seconds),
                "ratio": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    record = {"workload": "kinds", "title": WORKLOAD.title, "rows": rows} | describe()
    with (HERE / "results" / "kinds.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
