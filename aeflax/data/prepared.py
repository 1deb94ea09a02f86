"""The folder of prepared TFDS sets, looked at without TFDS. Standard library only."""

import os
from pathlib import Path

DESCRIBED = "dataset_info.json"  # in the folder of a version
NAMED_BY = "TFDS_DATA_DIR"


def root() -> Path:
    """The folder of the prepared sets."""
    return Path(os.environ.get(NAMED_BY) or "~/tensorflow_datasets").expanduser()


def misplaced(place: Path) -> str:
    """Why a folder is not the one that holds the sets, in a few words; nothing where it may be."""
    if not place.is_dir():
        return f"{place} is no folder, and {NAMED_BY} that of the sets"
    if (place / DESCRIBED).exists():
        return f"{place} is a version of a set itself, and {NAMED_BY} the folder two above it"
    if any(place.glob(f"*/{DESCRIBED}")):
        return f"{place} is a set itself, and {NAMED_BY} the folder above it"
    return ""


def sets(place: Path) -> list[str]:
    """The sets in a folder as NAME:VERSION, in order."""
    return sorted(f"{info.parts[-3]}:{info.parts[-2]}" for info in place.glob(f"*/*/{DESCRIBED}"))
