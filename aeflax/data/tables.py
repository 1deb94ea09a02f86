"""Tables of numbers in files: text as `csv` reads it, or Parquet, told by the first bytes."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from aeflax.data import csv, parquet
from aeflax.data.columns import LABEL
from aeflax.data.files import first_bytes
from aeflax.data.labels import absent, as_labels
from aeflax.errors import DataError


def read(
    path: Path,
    *,
    missing: bool = False,
    drop: Sequence[str] = (),
    label: str = LABEL,
    take: Sequence[str] | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a table of numbers -> ([N, D] float64, labels [N] or None).

    Args:
      path: of the file.
      missing: whether values may be missing, which become NaN.
      drop: columns that are left out, whatever they hold; they need not be there.
      label: the column that holds the labels, where there is one.
      take: columns that are the features, in that order, and no others.

    Returns:
      The features, and the labels, where there are some: int64 where all of them are whole numbers, as classes are,
      else float64; words where one of them is no number, of which missing ones are empty.

    Raises:
      DataError: for what is no table of numbers, with the line or row, the column and the mend.
    """
    values, labels = _format(path).read(path, missing=missing, drop=drop, label=label, take=take)
    return values, None if labels is None else _or_none(labels)


def columns(path: Path) -> tuple[str, ...] | None:
    """Names of a table's columns, that of its labels among them; None where it names none.

    Raises:
      DataError: where the file cannot be read.
    """
    names: tuple[str, ...] | None = _format(path).columns(path)
    return names


def carried(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of a table by their names, as they stand, [N] each: whole numbers as int64, anything else as text.

    Raises:
      DataError: for a table that names no columns, or has none of such a name.
    """
    require_columns(path, names, "--carry")
    found: dict[str, np.ndarray] = _format(path).carried(path, names)
    return found


def labels(path: Path, name: str) -> np.ndarray | None:
    """The column [N] of that name as `read` takes one of labels. Raises DataError where there is none."""
    require_columns(path, [name], "--label")
    return _or_none(_format(path).labels(path, name))


def _or_none(column: np.ndarray) -> np.ndarray | None:
    """A column as labels; None where it holds none."""
    found = as_labels(column)
    return None if absent(found).all() else found


def require_columns(path: Path, names: Sequence[str], where: str) -> None:
    """Raises DataError for names that are none of a table's columns; `where` says who names them."""
    known = columns(path)
    if known is None:
        raise DataError(f"{path} has no header that names columns, so that {where} finds none; give it a first line")
    if unknown := [name for name in names if name not in known]:
        mend = "names are parted by spaces; " if "," in unknown[0] else ""
        raise DataError(f"{path} has no column {unknown[0]!r}, which {where} names; {mend}it has {', '.join(known)}")


def _format(path: Path) -> ModuleType:
    """The module that reads such a file."""
    return parquet if first_bytes(path, len(parquet.MAGIC)) == parquet.MAGIC else csv
