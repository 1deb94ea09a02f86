"""Cost of an image over data size, batch size, width and number of host devices; one figure and one record.

    python benchmarks/curves.py      # appends to benchmarks/results/curves.jsonl, draws docs/images/curves.png

Each curve varies one thing of D1: 784-64-784, batch 256, Adam, resident data. The points of a curve are measured in
turn, three times, each in a process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FIGURE = HERE.parent / "docs" / "images" / "curves.png"
POINTS: dict[str, tuple[int, ...]] = {
    "images": (10_000, 40_000, 160_000, 640_000),
    "batch": (32, 128, 512, 2048, 8192),
    "code": (16, 64, 256, 1024),
    "devices": (1, 2, 4, 8),
}
TURNS = 3


def main() -> None:
    """Measures, records and draws; or measures one point, as a process that `main` starts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--point", nargs=2, metavar=("CURVE", "VALUE"))
    parser.add_argument("--draw", action="store_true", help="draw what is recorded")
    options = parser.parse_args()
    if options.point:
        print(json.dumps(point(options.point[0], int(options.point[1]))))
        return
    if not options.draw:
        record()
    from records import newest

    FIGURE.write_bytes(draw(newest("curves")["curves"]["rows"]))


def record() -> None:
    """Measures every point and appends the record."""
    from machine import describe

    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(TURNS):
        for curve, values in POINTS.items():
            for value in values:
                devices = value if curve == "devices" else 1
                done = subprocess.run(
                    [sys.executable, __file__, "--point", curve, str(value)],
                    env=os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"},
                    capture_output=True,
                    text=True,
                    check=True,
                )
                found.setdefault((curve, value), []).append(json.loads(done.stdout.splitlines()[-1]))
                print(curve, value, done.stdout.strip(), flush=True)
    rows = []
    for (curve, value), measured in found.items():
        cost = [one["ns_per_image"] for one in measured]
        row = {"curve": curve, "value": value, "ns_per_image": statistics.median(cost), "range": [min(cost), max(cost)]}
        rows.append(row | {"share_of_peak": statistics.median([one["share_of_peak"] for one in measured])})
    with (HERE / "results" / "curves.jsonl").open("a") as file:
        file.write(json.dumps({"workload": "curves", "rows": rows} | describe()) + "\n")


def point(curve: str, value: int) -> dict[str, float]:
    """Measures D1 with one thing changed."""
    from aeflax import presets
    from aeflax.bench.throughput import measure
    from aeflax.config import Data, Train

    images, batch, code = (value if curve == name else usual for name, usual in BASE.items())
    experiment = replace(
        presets.vanilla(code),
        data=Data(source=f"synthetic:28x28x1:{max(images, 2 * batch) * 5 // 4}", batch_size=batch, resident=True),
        train=Train(placement="pmap" if curve == "devices" and value > 1 else "jit"),
    )
    (found,) = measure(experiment, seconds=1.5)
    return {"ns_per_image": 1e9 / found.images_per_second, "share_of_peak": found.share_of_peak}


BASE = {"images": 60_000, "batch": 256, "code": 64}


def draw(rows: list[dict[str, Any]]) -> bytes:
    """One panel a curve."""
    from plots import curve as drawn

    from aeflax.report.canvas import blank, png, styled

    titles = {
        "images": "images in the data set",
        "batch": "batch size",
        "code": "units of the code",
        "devices": "host devices",
    }
    with styled():
        figure = blank("Cost of an image, µs", 5.2)
        figure.set_figwidth(6.4)
        for axes, (curve, title) in zip(figure.subplots(2, 2).flat, titles.items(), strict=True):
            points = [row for row in rows if row["curve"] == curve]
            cost = [row["ns_per_image"] / 1e3 for row in points]
            ranges = [[end / 1e3 for end in row["range"]] for row in points]
            drawn(axes, [row["value"] for row in points], cost, ranges, 1.15, title=title)
        return png(figure)


if __name__ == "__main__":
    main()
