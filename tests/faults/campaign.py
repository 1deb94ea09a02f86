"""Tries every fault many times, and records how often the right behaviour was seen.

    python tests/faults/campaign.py [ROW ...]     # appends to benchmarks/results/faults.jsonl

The attempts of a row have the seeds 0, 1, 2 …, so that one that did not hold can be tried again alone.
"""

import argparse
import importlib
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "faults.jsonl"
MODULES: tuple[str, ...] = (
    "kill",
    "signals",
    "damage",
    "disk",
    "divergence",
    "memory",
    "peers",
    "golden",
    "malformed",
    "hostile",
    "data",
    "caches",
    "configuration",
    "places",
    "in_use",
    "resuming",
    "terminal",
)
HELPERS: tuple[str, ...] = (  # modules that hold no row
    *("harness", "runs", "quick", "options", "streamed", "readahead", "forged", "scene"),
    *("hostile_archives", "hostile_json", "hostile_pages", "hostile_paths", "hostile_sizes"),
    *("valid", "mutations", "readers", "fuzz"),
)
NOTES = 5  # of what did not hold, in the record


def faults():
    """All rows, in the order of the table."""
    found = []
    for name in MODULES:
        found += importlib.import_module(f"faults.{name}").FAULTS
    return found


def main() -> None:
    """Tries the rows named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="names of rows; all, if none is given")
    parser.add_argument("--attempts", type=int, help="seeds of each row, in place of its own number")
    parser.add_argument("--first", type=int, default=0, help="the first seed; beyond 0 it adds to the row's record")
    parser.add_argument("--dry", action="store_true", help="record nothing")
    options = parser.parse_args()
    for folder in (HERE.parent, ROOT, ROOT / "benchmarks"):
        sys.path.insert(0, str(folder))
    known = {fault.name: fault for fault in faults()}
    if unknown := set(options.rows) - known.keys():
        parser.error(f"there is no row {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name in options.rows or known:
        record = tried(known[name], range(options.first, options.first + (options.attempts or known[name].long)))
        print(f"{name}: {record['held']} of {record['tried']} held, {record['seconds']:.0f} s", flush=True)
        for note in record["notes"]:
            print(f"  {note}", flush=True)
        if not options.dry:
            from machine import describe

            with RESULTS.open("a") as file:
                file.write(json.dumps(record | describe()) + "\n")


def tried(fault, seeds: range) -> dict:
    """The record of a row."""
    started, outcomes = time.monotonic(), []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="aeflax-fault-") as folder:
            found = list(fault.attempt(seed, Path(folder)))
        outcomes += found
        for one in found:
            if not one.held:
                print(f"  {fault.name} {seed}: {one.case} ({one.phase}): {one.note}", flush=True)
    phases = Counter(outcome.phase for outcome in outcomes if outcome.phase)
    held = Counter(outcome.phase for outcome in outcomes if outcome.phase and outcome.held)
    return {
        "workload": "faults",
        "row": fault.name,
        "first": seeds.start,
        "fault": fault.fault,
        "right": fault.right,
        "tried": len(outcomes),
        "held": sum(outcome.held for outcome in outcomes),
        "phases": {phase: [held[phase], count] for phase, count in sorted(phases.items())},
        "notes": [f"{one.case} ({one.phase}): {one.note}" for one in outcomes if not one.held][:NOTES],
        "seconds": time.monotonic() - started,
    }


if __name__ == "__main__":
    main()
