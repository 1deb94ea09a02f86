"""What aeflax finds around itself: interpreter, packages, devices, places; and what of it is a problem.

Nothing is imported before it is asked for, and whatever a package raises is a finding, not an error.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from aeflax.data import prepared
from aeflax.errors import no_devices

STACK = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain", "tensorflow-datasets")
EXTRAS = {
    "cuda13": ("jax-cuda13-plugin", "NVIDIA GPUs with CUDA 13"),
    "cuda12": ("jax-cuda12-plugin", "NVIDIA GPUs with CUDA 12"),
    "tpu": ("libtpu", "TPUs"),
    "tfds": ("tensorflow-cpu", "preparing TFDS data sets"),
    "parquet": ("pyarrow", "tables in Parquet files"),
    "onnx": ("onnxruntime", "export to ONNX"),
}
SETS = 10  # prepared ones that are named
LEAST_DISK, LEAST_SHARED = 2**30, 2**26  # bytes below which checkpoints, or workers that read data, may not fit
SOURCES = {"mnist": "mnist", "fashion_mnist": "fashion_mnist"}  # of AEFLAX_DATA_DIR, and their folders

State = Literal["fine", "absent", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
      name: of it.
      state: fine; absent, which is no fault; or a problem.
      value: what was found.
      mend: what to do about a problem, or to have what is absent.
    """

    name: str
    state: State
    value: str
    mend: str = ""


def stack() -> str:
    """The versions of the packages that decide a result, in one line."""
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in STACK[:6])])


def devices() -> str:
    """The devices that JAX finds, in one line, e.g. "1 × NVIDIA H100 80GB HBM3"; why there are none otherwise."""
    try:
        import jax

        kinds = [device.device_kind for device in jax.devices()]
    except Exception as error:
        return f"none: {no_devices(error) or _line(error)}"
    return ", ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds))


def findings() -> Iterator[Finding]:
    """Everything that a run depends on, one after the other."""
    yield Finding("Python", "fine", f"{platform.python_version()} ({sys.executable})")
    yield from map(_package, STACK)
    yield from _jax()
    yield from _accelerator()
    for extra, (package, purpose) in EXTRAS.items():
        found = _version(package)
        state: State = "absent" if found == "missing" else "fine"
        mend = "" if state == "fine" else f"pip install 'aeflax[{extra}]'"
        yield Finding(f"extra {extra}", state, f"{package} {found}: {purpose}", mend)
    yield from _places()


def _package(name: str) -> Finding:
    found = _version(name)
    if found == "missing":
        return Finding(name, "problem", found, f"pip install {name}")
    return Finding(name, "fine", found)


def _jax() -> Iterator[Finding]:
    """Whether JAX computes: a product on its first device, against NumPy's."""
    told = devices()
    if told.startswith("none"):
        unset = "unset it, or name what is there" if os.environ.get("JAX_PLATFORMS") else "install JAX anew"
        yield Finding("devices", "problem", told, f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}: {unset}")
        return
    yield Finding("devices", "fine", told)
    try:
        import jax.numpy as jnp
        import numpy as np

        left = np.arange(64.0, dtype=np.float32).reshape(8, 8)
        wrong = float(np.max(np.abs(np.asarray(jnp.asarray(left) @ left.T) - left @ left.T)))
    except Exception as error:
        yield Finding("a product", "problem", _line(error), "the driver and JAX' plugin may not fit each other")
        return
    state: State = "fine" if wrong <= 100 else "problem"  # of 30,000: TF32 keeps three digits
    yield Finding("a product", state, f"off by {wrong:g}", "" if state == "fine" else "the device computes wrongly")


def _accelerator() -> Iterator[Finding]:
    """An accelerator that the machine has and JAX does not use."""
    import contextlib

    backend = "none"
    with contextlib.suppress(Exception):
        import jax

        backend = jax.default_backend()
    for kind, there, extra, platforms in (
        ("NVIDIA GPU", bool(shutil.which("nvidia-smi")) or Path("/dev/nvidia0").exists(), "cuda13", ("gpu", "cuda")),
        ("TPU", Path("/dev/accel0").exists() or bool(os.environ.get("TPU_NAME")), "tpu", ("tpu",)),
    ):
        if not there:
            yield Finding(kind, "absent", "none in this machine")
        elif backend in platforms:
            yield Finding(kind, "fine", "used by JAX")
        elif os.environ.get("JAX_PLATFORMS", "").strip() == "cpu":
            yield Finding(kind, "problem", "there, but JAX_PLATFORMS=cpu leaves it out", "unset JAX_PLATFORMS")
        else:
            yield Finding(kind, "problem", f"there, but JAX computes on {backend}", f"pip install 'aeflax[{extra}]'")


def _places() -> Iterator[Finding]:
    here = shutil.disk_usage(".").free
    state: State = "fine" if here >= LEAST_DISK else "problem"
    yield Finding("disk here", state, f"{here / 2**30:,.1f} GiB free", "" if state == "fine" else "make room for runs")
    if (shared := Path("/dev/shm")).exists():
        free = shutil.disk_usage(shared).free
        state = "fine" if free >= LEAST_SHARED else "problem"
        mend = "" if state == "fine" else "enlarge it (docker run --shm-size 1g), or leave data.workers at 0"
        yield Finding("shared memory", state, f"{free / 2**20:,.0f} MiB free", mend)
    yield _cache()
    yield _data()
    yield _prepared()


def _cache() -> Finding:
    """Where compiled programs are kept, and whether they can be."""
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if not cache:
        return Finding("compilation cache", "absent", "off")
    nearest = next(place for place in (Path(cache), *Path(cache).absolute().parents) if place.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        return Finding("compilation cache", "fine", cache)
    mend = "set AEFLAX_COMPILATION_CACHE to a folder that can be written to, or to off"
    return Finding("compilation cache", "problem", f"{cache} cannot be written to", mend)


def _prepared() -> Finding:
    """The folder of prepared TFDS sets: no fault where it is missing, unless it was named."""
    place, mend = prepared.root(), "set it to the folder of prepared TensorFlow data sets; needed for tfds:NAME alone"
    if why := prepared.misplaced(place):
        named = os.environ.get(prepared.NAMED_BY)
        return Finding(prepared.NAMED_BY, "problem" if named else "absent", why, mend)
    found = prepared.sets(place)
    if not found:
        return Finding(prepared.NAMED_BY, "absent", f"{place}: no prepared set in it", mend)
    state: State = "problem" if any(found.values()) else "fine"
    mend = "prepare it anew as array_record" if state == "problem" else ""
    more = ", ..." if len(found) > SETS else ""
    return Finding(prepared.NAMED_BY, state, f"{place}: {', '.join(prepared.listed(found)[:SETS])}{more}", mend)


def _data() -> Finding:
    place = os.environ.get("AEFLAX_DATA_DIR")
    mend = "set it to a folder with mnist/ and fashion_mnist/ in IDX files; without it TFDS is asked for them"
    if place is None:
        return Finding("AEFLAX_DATA_DIR", "absent", "not set", mend)
    if not Path(place).is_dir():
        return Finding("AEFLAX_DATA_DIR", "problem", f"{place} is no folder", mend)
    found = [name for name, folder in SOURCES.items() if (Path(place) / folder).is_dir()]
    return Finding("AEFLAX_DATA_DIR", "fine", f"{place}: {', '.join(found) or 'neither mnist nor fashion_mnist'}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _line(error: Any) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
