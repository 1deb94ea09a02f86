"""The words IN and OUT of a command: what they name and whether it will do, told before anything heavy is loaded.

IN is a file (.npy, .npz or .npz#ARRAY, .csv, .parquet, IDX) or a source as `data.source` takes it; OUT is a file.
Needs the standard library alone.
"""

import importlib.util
import os
import re
import shlex
import stat
from pathlib import Path

from aeflax.config.schema import nearest
from aeflax.config.sources import ARRAY, NAMED, TABULAR, names_source, source_fault
from aeflax.errors import ConfigError, DataError

KEPT = "examples.npz"  # in a run directory: the test examples that it keeps
TABLES = (".npy", ".npz", ".csv", ".parquet")  # suffixes of files of numbers that are written
SUFFIXES = (*TABLES, ".png")  # and of pictures


def is_source(place: str) -> bool:
    """Whether IN is a source as `data.source` takes it, rather than a path."""
    return place != ARRAY and names_source(place)


def split_array(place: str) -> tuple[Path, str | None]:
    """FILE.npz#ARRAY -> (FILE.npz, ARRAY); another path, or one that exists as it stands -> (path, None)."""
    match = re.fullmatch(r"(.+\.npz)#(.*)", place, re.IGNORECASE)
    if match is None or os.path.lexists(place):
        return Path(place), None
    return Path(match[1]), match[2]


def source_file(place: str) -> Path | None:
    """The one file that IN names, None where it names another kind of source."""
    if not is_source(place):
        return split_array(place)[0]
    kind, _, file = place.partition(":")
    if kind == "npz":
        file = file.partition("#")[0]
    return Path(file) if kind in ("npy", "npz", *TABULAR) else None


def sought_in_vain(source: str, run: Path) -> str:
    """Where a run's data were looked for, and how they are named anew; nothing where they are there."""
    kind, _, rest = source.partition(":")
    path = source_file(source) or Path(rest)
    if not rest or kind == "tfds" or path.exists():
        return ""
    looked = "" if path.is_absolute() else f" (looked for from {Path.cwd()})"
    moved = f"aeflax train --resume --run-dir {shlex.quote(str(run))} --data.source {kind}:PLACE"
    return f"{looked}; if they have moved, name them anew: {moved}"


def require_readable(place: str) -> None:
    """Refuses an IN that is neither a file (DataError) nor a well-formed source (ConfigError)."""
    if is_source(place) and (fault := source_fault(place)):
        raise ConfigError(fault)
    path = source_file(place)
    if path is None:
        return
    try:
        mode = path.stat().st_mode
    except OSError as error:
        mend = "check the path"
        if not is_source(place):
            mend += f", or name a source ({', '.join(NAMED)}, npy:FILE, ...){nearest(place, NAMED)}"
        raise DataError(f"cannot read {path}: {os.strerror(error.errno or 0)}; {mend}") from error
    if stat.S_ISDIR(mode):
        raise DataError(
            f"{path} is a folder; name a file in it, idx:{path} for its IDX files "
            f"or images:{path} for its PNG and JPEG files"
        )
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is no ordinary file; store the examples in one")


def require_writable(path: Path, *read: str, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Refuses an OUT that cannot be written, or that is a file of what is read; touches nothing.

    Args:
      path: OUT.
      read: IN where there is one, the source that the run was trained on, and what else is read.
      suffixes: of which it must have one.

    Raises:
      ConfigError: for an unknown suffix, one whose library is not installed, a missing folder, no permission, no
        ordinary file, or a file of what is read.
    """
    ending = " or ".join(filter(None, (", ".join(suffixes[:-1]), suffixes[-1])))
    if path.suffix.lower() not in suffixes:
        known = f"the suffix {path.suffix}, which is not written" if path.suffix else "no suffix"
        raise ConfigError(f"{path} has {known}; end it in {ending}")
    if path.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ConfigError(f"cannot write {path}: Parquet needs pyarrow; install it: pip install 'aeflax[parquet]'")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file in it, such as {path / ('codes' + suffixes[0])}")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path} is no ordinary file; choose another name")
    folder = path.parent
    if not folder.is_dir():
        made = f"mkdir -p {shlex.quote(str(folder))}"
        mend = "choose another place" if folder.exists() else f"create it first: {made}"
        raise ConfigError(f"cannot write {path}: {folder} is no folder; {mend}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"cannot write {path}: no permission in {folder}; choose another place")
    if path.exists() and not os.access(path, os.W_OK):
        raise ConfigError(f"cannot write {path}: no permission to replace it; choose another place")
    for place in read:
        if _holds(place, path):
            what = "the file that is read, too" if source_file(place) else f"a file of {place}, which is read, too"
            raise ConfigError(f"{path} is {what}; write to another one")


def _holds(place: str, path: Path) -> bool:
    """Whether a file is the one that a place names, or an image of the folder that it names."""
    if not path.exists():
        return False
    if (file := source_file(place)) is not None:
        return file.exists() and path.samefile(file)
    kind, _, folder = place.partition(":")
    return kind == "images" and is_picture(path) and Path(folder).resolve() in path.resolve().parents


def require_folder(path: Path) -> None:
    """Refuses a folder that cannot be made or written into; touches nothing.

    Raises:
      ConfigError: for a file, or no permission.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is no folder; choose another name")
    near = next((place for place in (path, *path.absolute().parents) if place.exists()), path)
    if not near.is_dir() or not os.access(near, os.W_OK | os.X_OK):
        raise ConfigError(f"cannot write to {path}: no permission in {near}; choose another place")


def is_picture(path: Path) -> bool:
    """Whether an OUT is to be seen, by its name."""
    return path.suffix.lower() == ".png"


def require_suited(path: Path, shape: tuple[int, ...]) -> None:
    """Refuses an OUT that cannot hold arrays of examples of this shape, (H, W, C), (H, W) or (D,).

    Raises:
      ConfigError: for a picture of anything but images of one or three channels.
    """
    if not is_picture(path):
        return
    mend = f"end it in {', '.join(TABLES[:-1])} or {TABLES[-1]}"
    if len(shape) not in (2, 3):
        what = f"vectors of {shape[0]} values" if len(shape) == 1 else f"of the shape {shape}"
        raise ConfigError(f"{path} shows images, and these are {what}; {mend}")
    if len(shape) == 3 and shape[2] not in (1, 3):
        raise ConfigError(f"{path} shows images of 1 or 3 channels, and these have {shape[2]}; {mend}")
