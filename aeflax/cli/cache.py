"""The commands' compilation cache: a program that was compiled once on this machine starts at once.

It lies in the user's cache directory, `AEFLAX_COMPILATION_CACHE` names another one or switches it `off`, and what the
user has set for JAX itself (`JAX_COMPILATION_CACHE_DIR`) stands. Standard library only: JAX reads the settings
from the environment when it is imported.
"""

import hashlib
import os
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

VARIABLE = "AEFLAX_COMPILATION_CACHE"
MAX_BYTES = 2**30  # beyond it the oldest half goes

_DAMAGED = re.compile(r"Error reading persistent compilation cache entry for '(?P<program>[^']+)'")
_UNWRITTEN = re.compile(r"Error writing persistent compilation cache entry for '")


def enable() -> None:
    """Tells JAX, before it is imported, where its cache lies, and deletes entries that turn out to be damaged."""
    place = os.environ.get(VARIABLE) or _default()
    if place.lower() == "off" or "jax" in sys.modules:
        return
    directory = os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(place) / _processor()))
    if not _writable(Path(directory)):
        _say(f"the compilation cache {directory} cannot be written; every run compiles anew ({VARIABLE}=off: silently)")
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        return
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    _shrink(Path(directory))
    shown = warnings.showwarning

    def show(message: Warning | str, *details: Any, **more: Any) -> None:
        if damaged := _DAMAGED.match(str(message)):
            # JAX compiles the program now, but would not write over what is there.
            _delete(Path(directory).glob(f"{damaged['program']}-*"))
            _say(f"a damaged entry of the compilation cache was deleted ({damaged['program']}); it is compiled anew")
        elif _UNWRITTEN.match(str(message)):
            _say(f"the compilation cache {directory} cannot be written to now; the run goes on without it")
        else:
            shown(message, *details, **more)

    warnings.showwarning = show


def _default() -> str:
    """`aeflax/jax` in the user's cache directory; off without a home."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError:
        return "off"
    return str(Path(home) / "aeflax" / "jax")


def _processor() -> str:
    """A name of this kind of processor: a program compiled for another one may not run here, and homes are shared."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        told = ("model name", "flags", "Features")
        kind = "".join(sorted({line for line in text.splitlines() if line.startswith(told)}))
    except OSError:
        kind = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(kind.encode()).hexdigest()[:8]}"


def _writable(directory: Path) -> bool:
    try:
        nearest = next(path for path in (directory, *directory.parents) if path.exists())
        return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    except OSError:  # a name that is too long, a disk that fails
        return False


def _shrink(directory: Path) -> None:
    entries = []
    for path in directory.glob("*-cache"):
        with suppress(OSError):  # another process has deleted it
            entries.append((path, path.stat()))
    if sum(found.st_size for _, found in entries) > MAX_BYTES:
        oldest = sorted(entries, key=lambda entry: entry[1].st_mtime)
        _delete(path for path, _ in oldest[: len(oldest) // 2 + 1])


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):  # what cannot be deleted is warned of again
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _say(sentence: str) -> None:
    print(f"aeflax: {sentence}", file=sys.stderr)  # noqa: T201
