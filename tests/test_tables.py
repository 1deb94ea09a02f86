"""The pages' tables are what the recorded results give, to the letter."""

import json
import re
from pathlib import Path

import pytest

from experiments.runs import claim
from experiments.tables import PAGES, TABLES, filled, presets, published, recorded

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_is_recorded(page):
    text = page.read_text(encoding="utf-8")
    assert filled(text) == text


def test_every_table_is_on_a_page():
    shown = {name for page in PAGES for name in re.findall(r"<!-- table (\w+) -->", page.read_text(encoding="utf-8"))}
    assert shown == set(TABLES)


def test_every_record_says_where_it_comes_from():
    paths = list((ROOT / "experiments" / "results").glob("*.json"))
    assert len(paths) >= 2
    for path in paths:
        assert (ROOT / "experiments" / f"{path.stem}.py").exists()
        record = json.loads(path.read_text(encoding="utf-8"))
        assert {"name", "figures", "seconds", "experiment", "machine", "versions", "commit", "time"} <= set(record)
        assert record["commit"]


def test_a_table_is_written_from_its_record():
    split = {"mse": 0.004, "bce": 0.0736}
    row = {"preset": "vanilla", "source": "mnist", "seconds": 3.7, "test": split}
    row["pca"] = {"dim": 64, "compresses": True, "test": {"mse": 0.00905}}
    text = presets.five_presets({"figures": [row], "machine": {"cores": 2, "processor": "Some CPU"}})
    assert "| MNIST | `vanilla` | 64 | 0.00400 | 0.00905 | 0.0736 |  | 4 s |" in text
    assert "on 2 CPU cores (Some CPU)" in text


def test_the_recorded_figures_are_the_published_ones():
    """PCA within to 1e-4 and .1 an image; the classic Keras example's .0731, at most .0735."""
    figures = recorded("pca")["figures"]
    for dim, figure in {2: 0.05567, 16: 0.02686, 32: 0.01683, 64: 0.00905}.items():
        assert abs(figures[f"mse_{dim}"] - figure) < 1e-4
    assert abs(figures["squared_error_per_image_30"] - 13.87) < 0.1
    (classic,) = recorded("classic_keras")["figures"]["claims"]
    assert classic["mean"] <= 0.0735


@pytest.mark.parametrize(
    ("values", "passes", "beats", "verdict"),
    [
        ([0.0731, 0.0733], (None, 0.0735), None, "pass"),
        ([0.0731, 0.0741], (None, 0.0735), None, "short"),
        ([0.0731, 0.0733], (None, 0.0735), 0.0732, "beat"),  # of the mean, which is the bound
        ([0.91], (0.90, None), 0.948, "pass"),
        ([0.95], (0.90, None), 0.948, "beat"),
        ([0.89], (0.90, None), 0.948, "short"),
        ([118.7, 118.8], (118.74, 120.74), None, "pass"),
        ([118.7], (118.74, 120.74), None, "short"),
        ([120.8], (118.74, 120.74), None, "short"),
    ],
)
def test_a_claim_is_judged_by_its_mean(values, passes, beats, verdict):
    found = claim("P0", "something", values, published="that", passes=passes, beats=beats)
    assert found["verdict"] == verdict
    assert found["values"] == values
    text = published.published({"name": "any", "figures": {"claims": [found]}})
    shown = f"**{verdict}**" if verdict != "short" else "short"
    assert text.splitlines()[2].endswith(f"| {shown} |")
    assert ("seeds" in text.splitlines()[2]) is (len(values) > 1)
