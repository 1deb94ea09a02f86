"""The measured side of a comparison: a process that trains one epoch for every line it reads."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workloads import WORKLOADS, Workload

Round = Callable[[], float]


def serve(
    prepare: Callable[[Workload, str, Path], tuple[Round, dict[str, Any]]], at_once: tuple[str, ...] = ()
) -> None:
    """Answers each line of standard input with the seconds and the loss of one epoch of every model, as JSON.

    Started as `python SIDE.py WORKLOAD VARIANT DIRECTORY`. The directory holds images.npy, [N, H, W, C] uint8, and
    weights.npz: kernels and biases of the layers in forward order, which every side starts from.

    Args:
      prepare: (workload, variant, directory) -> (one epoch of training, which waits for its result and returns the
        mean loss in nats an image; what to record of this side).
      at_once: variants that train all of a workload's models in one epoch; others train one after another.
    """
    workload, variant, directory = WORKLOADS[sys.argv[1]], sys.argv[2], Path(sys.argv[3])
    models = 1 if variant in at_once else workload.models
    prepared = [prepare(workload, variant, directory) for _ in range(models)]
    _say(prepared[0][1])
    for _ in sys.stdin:
        started = time.perf_counter()
        losses = [run() for run, _ in prepared]
        seconds = time.perf_counter() - started
        _say({"seconds": seconds, "loss": statistics.mean(losses), "peak_bytes": _peak_bytes()})


def _peak_bytes() -> int:
    """Most memory that this process held. `getrusage` would count the parent's, from before this program was loaded."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)
