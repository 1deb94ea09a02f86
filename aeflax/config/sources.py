"""What `data.source` may say: words, and kinds of places."""

import re

from aeflax.config.schema import nearest

NAMED = ("digits", "mnist", "fashion_mnist")  # sources that are one word
ARRAY = "array"  # examples that were passed from Python
# Sources that are KIND:PLACE, and what their place is.
PLACED = {
    "idx": "DIR",
    "npy": "FILE",
    "npz": "FILE#ARRAY",
    "csv": "FILE",
    "parquet": "FILE",
    "images": "DIR",
    "tfds": "NAME",
    "synthetic": "HxWxC:N",
}
TABULAR = ("csv", "parquet")  # kinds of PLACED whose files have columns
SYNTHETIC = re.compile(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*):([1-9]\d*)", re.ASCII)  # the place of that kind


def names_source(source: str) -> bool:
    """Whether a string is a source of a known kind, rather than a path."""
    kind, _, place = source.partition(":")
    return source in (*NAMED, ARRAY) or (kind in PLACED and bool(place))


def as_source(path: str) -> str | None:
    """A path as the source that its suffix says; None where that says nothing."""
    stem, _, suffix = path.partition("#")[0].lower().rpartition(".")
    kind = {"tsv": "csv"}.get(suffix, suffix)
    return f"{kind}:{path}" if stem and kind in ("npy", "npz", *TABULAR) else None


def source_fault(source: str) -> str | None:
    """Says why a string names no source of data, or None where it does."""
    kind, _, place = source.partition(":")
    if names_source(source):
        if kind == "synthetic" and not SYNTHETIC.fullmatch(place):
            return f"data.source={source!r} has the form synthetic:HxWxC:N, e.g. synthetic:28x28x1:10000"
        return None
    if kind in PLACED:
        return f"data.source={source!r} is not complete; it has the form {kind}:{PLACED[kind]}"
    if meant := as_source(source):
        return f"data.source={source!r} names no kind of source; did you mean {meant}?"
    if source.lower().endswith((".xlsx", ".xls", ".ods")):
        return (
            f"data.source={source!r} is a workbook; save its sheet as CSV: csv:{(place or kind).rpartition('.')[0]}.csv"
        )
    known = ", ".join([*NAMED, *(f"{name}:..." for name in PLACED)])
    return f"data.source={source!r} is unknown; choose one of {known}{nearest(kind, (*NAMED, *PLACED))}"


def is_table(source: str) -> bool:
    """Whether a source is a table in a file."""
    return str(source).partition(":")[0] in TABULAR
