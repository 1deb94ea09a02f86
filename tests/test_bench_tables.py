"""The performance tables are what the recorded measurements give, to the letter."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("bench_tables", BENCHMARKS / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in ("workloads", "records", "scale_tables", "fault_tables"):
        sys.modules.pop(name, None)


def test_pages_show_what_is_recorded(tables):
    shown = ""
    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert tables.filled(text) == text
        shown += text
    assert all(f"<!-- bench {name} -->" in shown for name in tables.TABLES)


def test_a_target_that_is_missed_is_said(tables):
    rows = iter(tables.summary().splitlines()[2:])
    machines = tables.newest_of_machines("compare").values()
    for name, workload in tables.WORKLOADS.items():
        for number, records in enumerate(machines):
            row, record = next(rows), records[name]
            assert row.startswith(f"| {name}:") is (number == 0)
            rivals = [row["ratio"] for peer, row in record["peers"].items() if peer.startswith(("torch", "keras"))]
            assert ("not reached" in row) is (min(rivals) < workload.target)
