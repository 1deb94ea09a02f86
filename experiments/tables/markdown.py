"""Tables as Markdown."""

from collections.abc import Sequence
from typing import Any

SETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first line names its columns."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def best(cells: Sequence[str], values: Sequence[float], *, higher: bool = True) -> list[str]:
    """The cells of a row, those of the best value in bold; values that are shown alike are equally good."""
    top = (max if higher else min)(values)
    winners = {cell for cell, value in zip(cells, values, strict=True) if value == top}
    return [f"**{cell}**" if cell in winners else cell for cell in cells]


def machine(record: dict[str, Any]) -> str:
    """Where a record comes from, as words."""
    found = record["machine"]
    return f"{found['cores']} CPU cores ({found['processor'].strip()})"
