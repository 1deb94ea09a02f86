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
    """Its name and family, for a virtual machine may call all of a maker's the same: AMD EPYC, family 26."""
    try:
        with open("/proc/cpuinfo") as file:
            known = dict(map(str.strip, line.split(":", 1)) for line in file if ":" in line)
        return f"{known['model name']}, family {known['cpu family']}"
    except (OSError, KeyError):
        return platform.processor()
