"""The seal of a checkpoint: the SHA-256 of every file in it.

It is written before the checkpoint takes its name, when everything that it tells of is on disk. So a directory without
a seal is no checkpoint, and one with a seal is either what was saved or says which file is not. Standard library only.
"""

import hashlib
import json
import os
from pathlib import Path

from aeflax.storage.durable import replacing, sync

NAME = "seal.json"
DAMAGED = "damaged"  # folder of a run directory for checkpoints that are not what was sealed
UNSEALED = ("_CHECKPOINT_METADATA", "commit_success.txt")  # what Orbax writes last: when, and that it did


def folders(directory: Path) -> dict[int, Path]:
    """Step -> folder of everything in a directory that has a checkpoint's name, sealed or not, in order of steps."""
    if not directory.is_dir():
        return {}
    named = [entry for entry in directory.iterdir() if entry.name.isascii() and entry.name.isdigit()]
    return {int(entry.name): entry for entry in sorted(named, key=lambda entry: int(entry.name))}


def close(directory: Path) -> None:
    """Makes every file and folder below a directory durable, and writes its seal. Raises OSError where it cannot."""
    digests = {}
    for path in _files(directory):
        sync(path)
        digests[str(path.relative_to(directory))] = _sha256(path)
    for folder in {path.parent for path in _files(directory)}:
        sync(folder)
    with replacing(directory / NAME) as file:
        file.write(json.dumps({"files": digests}, indent=1, sort_keys=True).encode())


def faults(directory: Path) -> list[str]:
    """What differs from the seal, one phrase each; none of it means: every bit is as it was saved."""
    try:
        told = json.loads((directory / NAME).read_bytes())["files"]
        wanted = {str(name): str(digest) for name, digest in told.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [f"{NAME} is missing or cannot be read"]
    # Only what is listed is opened: a name in a seal is never a path to follow.
    found = {str(path.relative_to(directory)): path for path in _files(directory)}
    missing = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    changed = []
    for name in sorted(wanted.keys() & found.keys()):
        try:
            if _sha256(found[name]) != wanted[name]:
                changed.append(f"{name} has changed")
        except OSError as error:
            changed.append(f"{name} cannot be read ({os.strerror(error.errno or 0)})")
    return missing + changed


def _files(directory: Path) -> list[Path]:
    """The files below a directory that are sealed; a link is none."""
    found = sorted(path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    aside = [directory / name for name in (NAME, *UNSEALED)]
    return [path for path in found if path not in aside]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
