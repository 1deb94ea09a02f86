"""The table of what `tests/faults/campaign.py` recorded."""

import json
from typing import Any

from records import RESULTS


def faults() -> str:
    """One row a fault: how often it was tried, how often the behaviour was right, by what it hit."""
    found: dict[str, dict[str, Any]] = {}
    for line in (RESULTS / "faults.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        name = record["row"]
        found[name] = _together(found[name], record) if record.get("first") else record
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


def _together(first: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Two records of a row as one: further seeds of the same."""
    phases = {name: list(counts) for name, counts in first["phases"].items()}
    for name, counts in more["phases"].items():
        phases[name] = [a + b for a, b in zip(phases.get(name, [0, 0]), counts, strict=True)]
    return more | {name: first[name] + more[name] for name in ("held", "tried")} | {"phases": phases}
