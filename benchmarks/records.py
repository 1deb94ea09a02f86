"""Recorded measurements."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def newest(name: str) -> dict[str, dict[str, Any]]:
    """The last record of each workload in a file of results."""
    lines = (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return {record["workload"]: record for record in map(json.loads, lines)}
