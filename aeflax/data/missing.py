"""What stands for missing values, learnt from the training split."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from aeflax.data.columns import dropped
from aeflax.data.rows import BLOCK_VALUES, Rows
from aeflax.errors import ConfigError, DataError

SHOWN = 3  # features that miss the most


def fill_in(
    kind: Literal["mean", "median"],
    values: Rows,
    name: str,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
) -> np.ndarray:
    """The mean or median of each feature of examples [N, ...] over the values that are not NaN, [F] float32.

    Args:
      kind: which of them.
      values: the examples.
      name: of the data, for messages.
      columns: names of a table's features.
      drop: its columns that are left out already.

    Raises:
      ConfigError: for bytes, of which none can be missing, and for examples that are not in memory.
      DataError: for a feature without any value.
    """
    if values.dtype == np.uint8:
        raise ConfigError(f"data.impute={kind} fills missing values, and the bytes of {name} have none; leave it out")
    if not isinstance(values, np.ndarray):
        raise ConfigError(
            f"data.impute={kind} needs the examples in memory, and {name} is read from its file when it is asked for; "
            "fill in beforehand what is missing"
        )
    rows = values.reshape(len(values), -1)
    absent = _by_feature(rows, lambda part: np.isnan(part).all(axis=0))
    if absent.any():
        empty = [int(place) for place in np.flatnonzero(absent)]
        first = f"the column {columns[empty[0]]!r}" if columns else f"feature {empty[0]}"
        more = "" if len(empty) == 1 else f" ({len(empty)} features have none)"
        mend = dropped([columns[place] for place in empty], drop) if columns else "drop it"
        raise DataError(f"{name}: {first} has no value in the training split{more}; {mend}")
    middle: Callable[..., np.ndarray] = np.nanmean if kind == "mean" else np.nanmedian
    return _by_feature(rows, lambda part: middle(part.astype(np.float64), axis=0)).astype(np.float32)


def summary(values: Rows, columns: Sequence[str] | None) -> str | None:
    """How many values of examples [N, ...] are missing, of which features the most or all; None where none are.

    Only floats in memory are looked at.
    """
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        return None
    counts = _by_feature(values.reshape(len(values), -1), lambda part: np.isnan(part).sum(axis=0))
    if not counts.any():
        return None
    worst = [int(place) for place in np.argsort(-counts, kind="stable")[:SHOWN] if counts[place]]
    names = [f"{counts[place]:,} of {columns[place] if columns else f'feature {place}'}" for place in worst]
    more = ", ..." if np.count_nonzero(counts) > len(worst) else ""
    said = f"{counts.sum():,} of {values.size:,} values are missing and filled: {', '.join(names)}{more}"
    return "; ".join(filter(None, (said, unknown(values, columns))))


def unknown(values: Rows, columns: Sequence[str] | None) -> str | None:
    """Of which features several examples [N, ...] have no value at all; None where there are none such."""
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or len(values) < 2:
        return None
    absent = _by_feature(values.reshape(len(values), -1), lambda part: np.isnan(part).all(axis=0))
    empty = [columns[place] if columns else f"feature {place}" for place in np.flatnonzero(absent).tolist()]
    if not empty:
        return None
    return f"nothing at all is known of {', '.join(empty[:SHOWN])}{', ...' if len(empty) > SHOWN else ''}"


def _by_feature(rows: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What a function finds of each feature of rows [N, F], a few features at once: it works on copies."""
    width = max(1, BLOCK_VALUES // max(1, len(rows)))
    return np.concatenate([of(rows[:, first : first + width]) for first in range(0, rows.shape[1], width)])
