"""Placements, several processes, and data larger than memory: what agrees, what it costs, what it holds.

    python benchmarks/scale.py [agreement overhead exact memory stream growth]     # appends to results/scale.jsonl

All on host devices, which share this machine's processors: numbers say what the mechanisms cost, not how fast an
accelerator is. `growth` writes 4 GB beside the repository's temporary files and removes them again.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe

HERE = Path(__file__).parent
WORKER = HERE / "scale_worker.py"
SIZES = (83_333, 333_333, 1_333_333)  # images of 32x32x3: 256 MB, 1 GB, 4 GB


def main() -> None:
    """Measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["agreement", "overhead", "exact", "memory", "stream", "growth"])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "scale.jsonl")
    options = parser.parse_args()
    for what in options.what:
        with tempfile.TemporaryDirectory() as directory:
            rows = globals()[what](Path(directory))
        with options.out.open("a") as file:
            file.write(json.dumps({"workload": what, "rows": rows} | describe()) + "\n")


def run(what: str, *arguments: str, devices: int = 1, processes: int = 1) -> list[dict[str, Any]]:
    """The results of a worker, or of several that work together; `devices` is the number of each."""
    # XLA's matrix products round by the size of their thread pool, which grows with the number of host devices.
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    if what in ("agreement", "exact"):
        environment["PJRT_NPROC"] = "8"
    extra: list[list[str]] = [[]]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        extra = [
            ["--coordinator", address, "--process-id", str(i), "--num-processes", str(processes)]
            for i in range(processes)
        ]
    started = [
        subprocess.Popen(
            [sys.executable, str(WORKER), what, *arguments, *more], stdout=subprocess.PIPE, text=True, env=environment
        )
        for more in extra
    ]
    rows = []
    for process in started:
        out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{what} on {processes} × {devices} devices ended with {process.returncode}")
        rows += [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    for row in rows:
        print(json.dumps(row), flush=True)
    return rows


def agreement(directory: Path) -> list[dict[str, Any]]:
    """How far each placement's weights lie from those of jit on one device, after 50 steps of the same training."""
    rows = []
    for devices, processes in ((1, 1), (2, 1), (4, 1), (8, 1), (2, 2)):
        rows += run("agreement", str(directory), devices=devices, processes=processes)
    exact: dict[str, set[str]] = {}
    for row in rows:
        if row["exact"]:
            exact.setdefault(row["variant"], set()).add(row["sha256"])
        name = f"{row['placement']}{'-exact' if row['exact'] else ''}-{row['devices']}-{row['processes']}"
        reference = np.load(directory / f"{row['variant']}-jit-1-1.npy").astype(np.float64)
        moved = np.load(directory / f"{row['variant']}-{name}.npy")
        row["difference"] = float(np.abs(moved - reference).max() / np.abs(reference).max())
    for row in rows:
        row["same_bits"] = row["exact"] and len(exact[row["variant"]]) == 1
    return rows


def overhead(directory: Path) -> list[dict[str, Any]]:
    """Time of a step beyond its computation."""
    return [row for devices in (1, 2, 4, 8) for row in run("overhead", devices=devices)]


def exact(directory: Path) -> list[dict[str, Any]]:
    """What the exact mode costs on one device."""
    return run("exact")


def memory(directory: Path) -> list[dict[str, Any]]:
    """Memory of a device where the state is spread."""
    return [row for devices in (1, 2, 4, 8) for row in run("memory", devices=devices)]


def stream(directory: Path) -> list[dict[str, Any]]:
    """Streaming from disk against the same data resident."""
    images = _images(60_000, (28, 28, 1))
    np.save(directory / "images.npy", images)
    prepared = subprocess.run(
        [sys.executable, str(HERE / "prepare_records.py"), str(directory)], capture_output=True, text=True, check=False
    )
    environment = {"TFDS_DATA_DIR": str(directory)}
    os.environ.update(environment)
    if prepared.returncode:
        raise SystemExit(f"cannot prepare the ArrayRecord files: {prepared.stderr[-500:]}")
    return run("stream", f"npy:{directory}/images.npy", "tfds:speed")


def growth(directory: Path) -> list[dict[str, Any]]:
    """Cost of an image and memory at 1, 4 and 16 times the data, streamed; as many steps of each, in turn."""
    block = _images(8192, (32, 32, 3))
    paths = [directory / f"{size}.npy" for size in SIZES]
    for path, size in zip(paths, SIZES, strict=True):
        whole = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(size, 32, 32, 3))
        for start in range(0, size, len(block)):
            whole[start : start + len(block)] = block[: size - start]
        whole.flush()
        del whole
    found: dict[int, list[dict[str, Any]]] = {size: [] for size in SIZES}
    for _ in range(3):
        for path, size in zip(paths, SIZES, strict=True):
            found[size] += run("growth", str(path), str(SIZES[-1] // size))
    rows = []
    for runs in found.values():
        cost, peak = ([row[name] for row in runs] for name in ("us_per_image", "peak_bytes"))
        rows.append(
            runs[0]
            | {"us_per_image": statistics.median(cost), "us_range": [min(cost), max(cost)], "peak_bytes": max(peak)}
        )
    return rows


def _images(count: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (count, *shape)).astype(np.uint8)


if __name__ == "__main__":
    main()
