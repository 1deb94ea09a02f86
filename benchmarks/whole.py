"""Whole processes, as a user waits for them: W1, the classic example from import to last epoch; T1, the first step.

    AEFLAX_DATA_DIR=DATA python benchmarks/whole.py      # appends to benchmarks/results/whole.jsonl

W1 trains experiments/classic_keras.py without its report, and Keras' own script (keras_classic.py), in turn. T1 times
`aeflax --help`, and `aeflax train vanilla --data.source mnist` until the metrics of its first step are on disk, with
an empty compilation cache and with a filled one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import describe

HERE = Path(__file__).parent
AEFLAX = Path(sys.executable).with_name("aeflax")


def main() -> None:
    """Measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".venv-peers" / "bin" / "python")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "whole.jsonl")
    options = parser.parse_args()
    if "AEFLAX_DATA_DIR" not in os.environ:
        parser.error("W1 and T1 train on MNIST; set AEFLAX_DATA_DIR to the folder that holds mnist/")
    for record in (classic(options.peers, options.rounds), start_up(options.peers, options.rounds)):
        with options.out.open("a") as file:
            file.write(json.dumps(record | {"rounds": options.rounds} | describe()) + "\n")


def classic(peers: Path, rounds: int) -> dict[str, Any]:
    """W1: both scripts, in turn."""
    own, theirs, bce = [], [], {}
    with tempfile.TemporaryDirectory() as directory:
        train = [str(AEFLAX), "train", "experiments/classic_keras.py", "--no-report", "--json", "--overwrite"]
        for turn in range(rounds + 1):
            seconds, out = _timed([*train, "--run-dir", f"{directory}/run"])
            bce["aeflax"] = json.loads(out.splitlines()[-1])["test"]["bce"]
            keras_seconds, keras_out = _timed([str(peers), str(HERE / "keras_classic.py")])
            bce["keras"] = json.loads(keras_out.splitlines()[-1])["bce"]
            if turn:  # the first turn reads all files into memory, and fills the compilation cache
                own.append(seconds)
                theirs.append(keras_seconds)
    ratios = [b / a for a, b in zip(own, theirs, strict=True)]
    record = {
        "workload": "W1",
        "seconds": statistics.median(own),
        "keras_seconds": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "bce": bce,
    }
    seconds = f"aeflax {record['seconds']:.1f} s, Keras {record['keras_seconds']:.1f} s"
    print(f"W1  {seconds}: {record['ratio']:.2f} times, {bce}")
    return record


def start_up(peers: Path, rounds: int) -> dict[str, Any]:
    """T1: what comes before the first step."""
    found: dict[str, list[float]] = {"help": [], "cold": [], "warm": [], "import_keras": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            found["help"].append(_timed([str(AEFLAX), "--help"])[0])
            found["cold"].append(_first_step(cache))
            found["warm"].append(_first_step(cache))
        found["import_keras"].append(_timed([str(peers), "-c", "import keras"])[0])
    medians = {name: statistics.median(values) for name, values in found.items()}
    print("T1  " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items()))
    spread = {name: [min(values), max(values)] for name, values in found.items()}
    return {"workload": "T1", "seconds": medians, "range": spread}


def _first_step(cache: str) -> float:
    """Seconds from the start of the process until a step is reported."""
    with tempfile.TemporaryDirectory() as directory:
        command = [str(AEFLAX), "train", "vanilla", "--data.source", "mnist", "--train.steps", "100000"]
        command += ["--train.log-every", "1", "--run-dir", f"{directory}/run", "--no-report"]
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        log = Path(directory) / "run" / "metrics.jsonl"
        while not (log.exists() and log.stat().st_size):
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended without a step")
            time.sleep(0.005)
        seconds = time.perf_counter() - started
        process.kill()
        process.wait()
    return seconds


def _timed(command: list[str]) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return seconds, done.stdout


if __name__ == "__main__":
    main()
