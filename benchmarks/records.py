"""Recorded measurements."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def newest(name: str | Path) -> dict[str, dict[str, Any]]:
    """The last record of each workload in a file of results, by its path or its name in results/."""
    path = name if isinstance(name, Path) else RESULTS / f"{name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    return {record["workload"]: record for record in map(json.loads, lines)}
