"""The table of what `tests/faults/campaign.py` recorded."""

import json
from typing import Any

from records import RESULTS


def faults() -> str:
    """One row a fault: how often it was tried, how often the behaviour was right, by what it hit."""
    found: dict[str, dict[str, Any]] = {}
    for line in (RESULTS / "faults.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        found[record["row"]] = record
    lines = ["| fault | right behaviour | held | of them |", "|---|---|---|---|"]
    for name, record in found.items():
        share = f"{record['held']:,} of {record['tried']:,}"
        share = share if record["held"] == record["tried"] else f"**{share}**"
        hits = ", ".join(f"{phase} {held:,} of {tried:,}" for phase, (held, tried) in record["phases"].items())
        lines.append(f"| `{name}`: {record['fault']} | {record['right']} | {share} | {hits} |")
    tried = sum(record["tried"] for record in found.values())
    held = sum(record["held"] for record in found.values())
    machine = next(iter(found.values()))["machine"]
    lines.append(
        f"\n{held:,} of {tried:,} attempts held. {machine['cores']} CPU cores ({machine['processor'].strip()}); each "
        "row with its commit, versions and notes in `benchmarks/results/faults.jsonl`."
    )
    return "\n".join(lines)
