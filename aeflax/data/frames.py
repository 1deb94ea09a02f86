"""Data frames of pandas and polars as arrays of numbers, without either: columns by name, each with `to_numpy`."""

import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from aeflax.data.columns import LABEL, require_distinct
from aeflax.data.labels import as_labels
from aeflax.errors import ConfigError, DataError

UNNAMED = re.compile(r"Unnamed: \d+")  # what pandas makes of a column without a name, which a file's index has


def read(
    values: Any, drop: Sequence[str] = (), label: str = LABEL
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...] | None]:
    """A data frame as a table in a file is read; an array as it is.

    Args:
      values: an array [N, ...], or a data frame.
      drop: columns of a data frame that are left out, whatever they hold.
      label: the column that holds the labels, where there is one.

    Returns:
      The examples [N, ...], of a data frame [N, F]; its labels [N]; the names of its F features. The latter two are
      None where there are none.

    Raises:
      ConfigError: for columns to drop, or of labels, that are not there.
      DataError: for columns that hold no numbers.
    """
    if isinstance(values, str | os.PathLike):
        raise _a_path(values)
    names = names_of(values)
    wanted = {"data.drop": drop, "data.label": [] if label == LABEL else [label]}
    for option, columns in wanted.items():
        if columns and names is None:
            raise ConfigError(
                f"{option} names {', '.join(map(repr, columns))}, and an array has no columns; leave it out"
            )
        if unknown := [name for name in columns if name not in (names or ())]:
            there = ", ".join(names or ())
            raise ConfigError(f"the data frame has no column {unknown[0]!r}, which {option} names; it has {there}")
    if names is None:
        return as_array(values), None, None
    require_distinct([name for name in names if name not in drop], "the data frame")
    kept = tuple(name for name in names if name not in (*drop, label))
    if not kept:
        raise DataError("the data frame has no column that is a feature; leave fewer out")
    labels = None if label in drop else labels_of(values, label)
    return as_array(values if kept == names else chosen(values, kept), drop), labels, kept


def labels_of(values: Any, name: str) -> np.ndarray | None:
    """A column of a data frame as labels [N], words where not all are numbers; None where there is none."""
    if name not in (names_of(values) or ()):
        return None
    frame = chosen(values, [name])
    column = np.asarray(frame[frame.columns[0]].to_numpy())
    numbers = as_floats(column)
    if numbers is not None:
        return as_labels(numbers)
    return np.array(["" if _is_missing(value) else str(value) for value in column.tolist()])


def _is_missing(value: Any) -> bool:
    nothing = value is None or type(value).__name__ in ("NAType", "NaTType")
    return nothing or (isinstance(value, float) and value != value)


def names_of(values: Any) -> tuple[str, ...] | None:
    """Names of the columns of a data frame, as a CSV file would have them; None for an array."""
    names = getattr(values, "columns", None)
    return None if names is None else tuple("" if UNNAMED.fullmatch(str(name)) else str(name) for name in names)


def chosen(values: Any, names: Sequence[str]) -> Any:
    """Of a data frame the columns of these names, in that order."""
    known = names_of(values) or ()
    return values[[values.columns[known.index(name)] for name in names]]


def as_array(values: Any, drop: Sequence[str] = ()) -> np.ndarray:
    """An array, or a data frame as one [N, F]: of one type where all columns have it, else float64, missing as NaN.

    Truth values are 1 and 0. What is left out already, `drop`, is for the message alone.

    Raises:
      DataError: for columns that hold no numbers.
    """
    if isinstance(values, str | os.PathLike):
        raise _a_path(values)
    names = names_of(values)
    if names is None:
        return np.asarray(values)
    found = [np.asarray(values[name].to_numpy()) for name in values.columns]
    kinds = {column.dtype for column in found}
    if len(kinds) == 1 and found[0].dtype.kind in "uif":
        return np.stack(found, axis=1)
    made = [as_floats(column) for column in found]
    if words := [name for name, column in zip(names, made, strict=True) if column is None]:
        column = found[names.index(words[0])]
        odd = [row for row in range(len(column)) if as_floats(column[row : row + 1]) is None]
        if 0 < len(odd) < len(column) / 2:
            said = f"the data frame holds {column[odd[0]]!r} in row {odd[0]} (from 0) of the column {words[0]!r}"
            raise DataError(f"{said}, where numbers are needed; correct it, or make it missing, as NaN")
        hold, them = ("column", "it") if len(words) == 1 else ("columns", "them")
        said = f"the data frame has no numbers in the {hold} {', '.join(map(repr, words))}"
        raise DataError(f"{said}; convert {them}, or train with config.Data(drop={(*drop, *words)!r})")
    return np.stack([column for column in made if column is not None], axis=1)


def _a_path(values: str | os.PathLike[str]) -> DataError:
    mend = f'read it first, or name it as a source, config.Data(source="csv:{values}")'
    return DataError(f"{values} names a file where an array or a data frame is needed; {mend}")


def as_floats(column: np.ndarray) -> np.ndarray | None:
    """A column [N] of numbers and truth values as float64, what is missing as NaN; None for one of anything else."""
    if column.dtype.kind in "uifb":
        return column.astype(np.float64)
    if column.dtype != object:
        return None
    made = np.empty(len(column))
    for place, value in enumerate(column):
        if _is_missing(value):
            made[place] = np.nan
        elif isinstance(value, (bool, int, float, np.bool_, np.number)):
            made[place] = value
        else:
            return None
    return made
