"""Of a run's log and summary what is of the kind that training writes: they may be damaged, or of another hand."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def numbers(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records of a split, and of them what is a number: a log may be damaged, or written by another hand."""
    return [
        {name: value for name, value in record.items() if name == "split" or _is_number(value)}
        for record in records
        if isinstance(record.get("split"), str) and _is_number(record["step"])
    ]


def sound(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary without what is of another kind than training writes."""
    numbers = ("step", "epoch", "seconds", "images_per_second", "parameters", "skipped_updates")
    found = {name: value for name, value in summary.items() if name not in numbers or _is_number(value)}
    for name in ("train", "validation", "test", "best", "pca"):
        part = found.pop(name, None)
        if isinstance(part, Mapping):
            kept = {key: value for key, value in part.items() if isinstance(value, (str, bool)) or _is_number(value)}
            if isinstance(part.get("test"), Mapping):  # of PCA
                kept["test"] = {key: value for key, value in part["test"].items() if _is_number(value)}
            found[name] = kept if name in ("best", "pca") else {k: v for k, v in kept.items() if _is_number(v)}
    best = found.get("best", {})
    if not (_is_number(best.get("step")) and _is_number(best.get("value"))):
        found.pop("best", None)
    return {name: found[name] for name in summary if name in found}


def series(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, np.ndarray]]:
    """Records as arrays: split -> name -> values [records], NaN where a record lacks the name."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for split in dict.fromkeys(record["split"] for record in records):
        rows = [record for record in records if record["split"] == split]
        names = dict.fromkeys(name for row in rows for name in row if name != "split")
        found[split] = {name: np.array([row.get(name, math.nan) for row in rows]) for name in names}
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**63)
