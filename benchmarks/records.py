"""Recorded measurements."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def read(name: str | Path) -> list[dict[str, Any]]:
    """All records in a file of results, by its path or its name in results/, in the order in which they were made."""
    path = name if isinstance(name, Path) else RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def newest(name: str | Path) -> dict[str, dict[str, Any]]:
    """The last record of each workload in a file of results."""
    return {record["workload"]: record for record in read(name)}


def newest_of_machines(name: str | Path) -> dict[str, dict[str, dict[str, Any]]]:
    """The last record of each workload on each kind of processor: processor -> workload -> record."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for record in read(name):
        found.setdefault(record["machine"]["processor"].strip(), {})[record["workload"]] = record
    return found
