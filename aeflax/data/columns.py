"""What columns of a table are called, and the mends for those that cannot be features."""

import shlex
from collections.abc import Callable, Sequence

import numpy as np

from aeflax.errors import DataError

LABEL = "label"  # the column of a table that holds labels
FILL = "is missing; fill it in, drop the line, or train with --data.impute median"
BEYOND = "is infinite or beyond float32; correct it, or empty the cell and train with --data.impute median"


def require_distinct(names: Sequence[str], where: str) -> None:
    """Raises DataError for a name that several columns have; `where` says of what they are."""
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise DataError(f"{where} has several columns {twice[0]!r}; give each a name of its own")


def require_values(values: np.ndarray, name: str, place: Callable[[int, int], str], *, missing: bool) -> None:
    """Raises DataError at the first value that no feature can have.

    Args:
      values: [N, D] float64.
      name: of the table.
      place: says where a row and column of them stand in it.
      missing: whether values may be missing, as NaN.
    """
    with np.errstate(over="ignore"):
        beyond = np.isinf(values.astype(np.float32))
    faults = {FILL: np.isnan(values) & (not missing), BEYOND: beyond}
    for fault, found in faults.items():
        if found.any():
            row, column = map(int, np.argwhere(found)[0])
            more = f" ({np.count_nonzero(found):,} are)" if np.count_nonzero(found) > 1 else ""
            raise DataError(f"{name}: the value in {place(row, column)} {fault}{more}")


def numbered(drop: Sequence[str]) -> str:
    """The mend for labels that are words, beside columns that are left out already."""
    return f"labels are whole numbers: number them, or leave them out, {_option([*drop, LABEL])}"


def dropped(names: Sequence[str], drop: Sequence[str]) -> str:
    """How columns that can be features, and had better not, are left out beside those that are already."""
    return f"leave {'it' if len(names) == 1 else 'them'} out, {_option([*drop, *names])}"


def leave_out(names: Sequence[str], drop: Sequence[str], *, named: bool = True) -> str:
    """How columns are left out beside those that are already; of a table without names, only by hand."""
    option = f", or train with {_option([*drop, *names])}" if named else ""
    return f"take {'it' if len(names) == 1 else 'them'} out of the file{option}"


def _option(names: Sequence[str]) -> str:
    return f"--data.drop {shlex.join(dict.fromkeys(names))}"
