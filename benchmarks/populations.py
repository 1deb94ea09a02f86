"""Time a model over the number of models that are trained at once, for D1, C1 and V1; one figure and one record.

    python benchmarks/populations.py      # appends to benchmarks/results/populations.jsonl, draws the figure

All sizes of a workload are compiled first, then measured in turn, so that a machine that slows down slows all of them.
The models of a population have orders of their own and share the data; the first size is 1, the same program without
company.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FIGURE = HERE.parent / "docs" / "images" / "populations.png"
SIZES = (1, 2, 4, 8, 16, 32, 64)
EPOCH_IMAGES = {"D1": 12_800, "C1": 1_280, "V1": 6_400}  # fewer than the workload's: sixty-four models take their time


def main() -> None:
    """Measures, records and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(EPOCH_IMAGES)}; none: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "populations.jsonl")
    parser.add_argument("--draw", action="store_true", help="draw what is recorded")
    options = parser.parse_args()
    if not options.draw:
        for name in options.workloads or EPOCH_IMAGES:
            record(name, options.sizes, options.rounds, options.out)
    from records import newest

    FIGURE.write_bytes(draw(newest(options.out)))


def record(name: str, sizes: tuple[int, ...], rounds: int, out: Path) -> None:
    """Measures one workload and appends its record."""
    import numpy as np
    from aeflax_side import mapped_epoch, peak, program_of, write_inputs
    from machine import describe
    from workloads import WORKLOADS

    from aeflax.bench.throughput import flops_per_step

    workload = replace(WORKLOADS[name], images=EPOCH_IMAGES[name])
    with tempfile.TemporaryDirectory() as directory:
        write_inputs(workload, Path(directory))
        images = np.load(Path(directory) / "images.npy")
    program = program_of(workload)
    flops = flops_per_step(program)
    best, described = peak()
    epochs = {size: mapped_epoch(program, workload, images, size) for size in sizes}
    for epoch in (best, *epochs.values()):  # the first call compiles, the second fills caches
        epoch()
        epoch()
    found: dict[int, list[float]] = {size: [] for size in sizes}
    limits = []
    for _ in range(rounds):
        limits.append(_seconds(best))
        for size, epoch in epochs.items():
            found[size].append(_seconds(epoch) / (size * workload.epoch_steps))
    limit = described["flops_per_step"] / statistics.median(limits)
    rows = [
        {
            "models": size,
            "us_per_model_step": 1e6 * statistics.median(seconds),
            "range": [1e6 * min(seconds), 1e6 * max(seconds)],
            "ratio": statistics.median(alone / at_once for alone, at_once in zip(found[1], seconds, strict=True)),
            "share_of_peak": flops / statistics.median(seconds) / limit,
        }
        for size, seconds in found.items()
    ]
    for row in rows:
        print(name, json.dumps(row), flush=True)
    with out.open("a") as file:
        file.write(json.dumps({"workload": name, "rows": rows, "peak_flops_per_second": limit} | describe()) + "\n")


def _seconds(epoch: Any) -> float:
    import time

    started = time.perf_counter()
    epoch()
    return time.perf_counter() - started


def draw(records: dict[str, dict[str, Any]]) -> bytes:
    """One panel a workload: microseconds a model and step over the number of models."""
    from plots import curve as drawn

    from aeflax.report.canvas import blank, png, styled

    with styled():
        figure = blank("Time a model and step, µs", 2.9)
        figure.set_figwidth(8.4)
        for axes, (name, record) in zip(
            figure.subplots(1, len(records), squeeze=False)[0], sorted(records.items()), strict=True
        ):
            rows = record["rows"]
            middle = [row["us_per_model_step"] for row in rows]
            ranges = [row["range"] for row in rows]
            drawn(axes, [row["models"] for row in rows], middle, ranges, 1.1, title=name, xlabel="models at once")
        return png(figure)


if __name__ == "__main__":
    main()
