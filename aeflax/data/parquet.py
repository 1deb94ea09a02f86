"""Tables of numbers in Parquet files; arguments and results are those of `tables`. Needs the extra `parquet`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aeflax.data.checks import require_values
from aeflax.data.columns import leave_out, require_distinct
from aeflax.errors import ConfigError, DataError

MAGIC = b"PAR1"  # the first bytes of a file, and the last


def read(
    path: Path, *, missing: bool, drop: Sequence[str], label: str, take: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a table -> ([N, D] float64, labels [N] or None)."""
    table = _open(path).read()
    features = [name for name in table.column_names if name not in (*drop, label)] if take is None else [*take]
    if not len(table) or not features:
        raise DataError(f"{path} holds no rows of numbers; a table needs at least one")
    if words := [name for name in features if not _is_numeric(table, name)]:
        them = (
            f"the column {words[0]!r} holds" if len(words) == 1 else f"the columns {', '.join(map(repr, words))} hold"
        )
        raise DataError(f"{path}: {them} {table.column(words[0]).type}, not numbers; {leave_out(words, drop)}")
    labels = None
    if label in table.column_names and label not in drop:
        labels = _labels(table, label)
    values = np.stack([_numbers(table, name) for name in features], axis=1)
    require_values(
        values,
        str(path),
        lambda row, column: f"row {row}, counted from 0, column {features[column]!r}",
        missing=missing,
    )
    return values, labels


def columns(path: Path) -> tuple[str, ...]:
    """Names of the columns, that of the labels among them."""
    return tuple(_open(path).schema_arrow.names)


def carried(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns by their names, [N] each: whole numbers as int64, anything else as text."""
    table = _open(path).read([*names])
    return {name: _plain(table.column(name)) for name in names}


def labels(path: Path, name: str) -> np.ndarray:
    """A column [N] as labels: numbers, or words."""
    return _labels(_open(path).read([name]), name)


def _labels(table: Any, name: str) -> np.ndarray:
    return _numbers(table, name) if _is_numeric(table, name) else _plain(table.column(name))


def _open(path: Path) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        mend = "pip install 'aeflax[parquet]'"
        raise ConfigError(f"{path} is a Parquet file, and what reads it is not installed; {mend}") from error
    try:
        found = parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} is no sound Parquet file ({error}); fetch or write it again") from error
    require_distinct(found.schema_arrow.names, str(path))
    return found


def _is_numeric(table: Any, name: str) -> bool:
    from pyarrow import types

    kind = table.column(name).type
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _numbers(table: Any, name: str) -> np.ndarray:
    """A column as float64, NaN where it has no value."""
    return np.asarray(table.column(name).to_numpy(), np.float64)


def _plain(column: Any) -> np.ndarray:
    from pyarrow import types

    cells = column.to_pylist()
    if types.is_integer(column.type) and None not in cells:
        return np.array(cells, np.int64)
    return np.array(["" if cell is None else str(cell) for cell in cells])
