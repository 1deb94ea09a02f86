"""What a measurement must say of itself: machine, versions, commit, time."""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from typing import Any

import jax


def describe() -> dict[str, Any]:
    """Machine, versions, commit and time of a recorded result."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "devices": [device.device_kind for device in jax.devices()],
        },
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("aeflax", "jax", "jaxlib")},
        "commit": commit.stdout.strip() or None,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
