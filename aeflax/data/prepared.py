"""The folder of prepared TFDS sets, looked at without TFDS. Standard library only."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

DESCRIBED = "dataset_info.json"  # in the folder of a version
LEAST = 2**16  # bytes of a file of records
NAMED_BY = "TFDS_DATA_DIR"


def root() -> Path:
    """The folder of the prepared sets."""
    return Path(os.environ.get(NAMED_BY) or "~/tensorflow_datasets").expanduser()


def misplaced(place: Path) -> str:
    """Why a folder is not the one that holds the sets, in a few words; nothing where it may be."""
    if not place.is_dir():
        return f"{place} is no folder; {NAMED_BY} must name that of the sets"
    if (place / DESCRIBED).exists():
        return f"{place} is itself a version of a set; {NAMED_BY} must name the folder two above it, {place.parents[1]}"
    if any(place.glob(f"*/{DESCRIBED}")):
        return f"{place} is itself a set; {NAMED_BY} must name the folder above it, {place.parent}"
    return ""


def sets(place: Path) -> dict[str, str]:
    """The sets in a folder as NAME[/CONFIG]:VERSION, in order, each with why it cannot be read, or nothing."""
    found = [info.parent for depth in ("*/*", "*/*/*") for info in place.glob(f"{depth}/{DESCRIBED}")]
    named = {f"{'/'.join(one.relative_to(place).parts[:-1])}:{one.name}": one for one in found}
    return {name: _fault(named[name]) for name in sorted(named)}


def listed(found: Mapping[str, str]) -> list[str]:
    """Sets as a sentence names them, with their faults in brackets."""
    return [f"{name} ({fault})" if fault else name for name, fault in found.items()]


def _fault(version: Path) -> str:
    """Why the records of a version cannot be read; nothing where they can as far as their names tell."""
    try:
        form = json.loads((version / DESCRIBED).read_text(encoding="utf-8")).get("fileFormat")
    except (OSError, ValueError, AttributeError):
        return "damaged"
    if form not in (None, "array_record"):
        return f"prepared as {form}, which cannot be read in any order"
    records = list(version.glob("*array_record*"))
    return "" if records and all(one.stat().st_size >= LEAST for one in records) else "its records are not whole"
