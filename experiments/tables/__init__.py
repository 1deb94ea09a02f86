"""Tables of recorded results, written between their marks in the pages: `<!-- table NAME -->` and `<!-- end -->`."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from aeflax.presets import PRESETS
from aeflax.report import canvas
from experiments.tables import applications, populations, presets, published, restoring, sparse, summary

ROOT = Path(__file__).parent.parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "applications.md", ROOT / "docs" / "results.md")
RESULTS = ROOT / "experiments" / "results"

Record = dict[str, Any]

# Name of a table -> the records that it is made of, and how.
TABLES: dict[str, tuple[tuple[str, ...], Callable[..., str]]] = {
    "five_presets": (("five_presets", *(f"fashion_{name}" for name in PRESETS)), presets.five_presets),
    "codes": (("few_labels",), applications.codes),
    "features": (("few_labels",), applications.features),
    "finetuning": (("few_labels",), applications.finetuning),
    "stacked": (("stacked_pretraining",), applications.stacked),
    "one_class_mnist": (("one_class_mnist",), applications.one_class_mnist),
    "one_class_tables": (("one_class_tables",), applications.one_class_tables),
    "sensor_faults": (("sensor_faults",), applications.sensor_faults),
    "denoising": (("denoising_filters",), restoring.denoising),
    "compression": (("compression",), restoring.compression),
    "generation": (("generation",), restoring.generation),
    "recovery": (("dictionary_recovery",), sparse.recovery),
    "sparse_front": (("sparse_front",), sparse.front),
    "rate_distortion": (("rate_distortion",), populations.rate_distortion),
    "published": (published.RECORDS, published.published),
    "uses": (
        ("few_labels", "stacked_pretraining", "one_class_mnist", "denoising_filters", "compression", "generation"),
        summary.summary,
    ),
}
# Name of a picture in docs/images -> the record that it is drawn from, and how.
FIGURES: dict[str, tuple[str, Callable[[Record], Figure]]] = {
    "denoising_curves": ("denoising_filters", restoring.denoising_figure),
    "compression": ("compression", restoring.compression_figure),
    "sparse_front": ("sparse_front", sparse.front_figure),
    "rate_distortion": ("rate_distortion", populations.rate_distortion_figure),
}


def write_tables() -> None:
    """Writes every table of every page, and every picture, anew."""
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    for name, (record, draw) in FIGURES.items():
        (ROOT / "docs" / "images" / f"{name}.png").write_bytes(canvas.png(draw(recorded(record))))


def filled(text: str) -> str:
    """The text with its tables as the records have them."""

    def fill(match: re.Match[str]) -> str:
        records, table = TABLES[match[1]]
        return f"<!-- table {match[1]} -->\n{table(*map(recorded, records))}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def recorded(name: str) -> Record:
    """The record of an experiment."""
    found: Record = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found
