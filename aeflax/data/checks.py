"""What examples must be, whether they come whole or in batches. DataError says what they are instead."""

import math
from collections.abc import Callable

import numpy as np

from aeflax.data.columns import BEYOND, FILL
from aeflax.data.rows import Rows
from aeflax.errors import DataError


def require_examples(values: Rows, name: str) -> None:
    """Refuses what type and shape rule out, reading no values: examples are numbers of rank 2 to 4, one at least."""
    if values.dtype.kind not in "uifb":
        raise DataError(f"{name} holds values of type {values.dtype}, not numbers; convert them first")
    if len(values.shape) not in (2, 3, 4):
        raise DataError(f"{name} has the shape {values.shape}; expected [N, D], [N, H, W] or [N, H, W, C]")
    if 0 in values.shape:
        raise DataError(f"{name} is empty: its shape is {values.shape}; at least one example is needed")


def prepared(values: np.ndarray, name: str, index: int | np.ndarray = 0, fill: np.ndarray | None = None) -> np.ndarray:
    """Examples [N, D], [N, H, W] or [N, H, W, C] -> [N, D] or [N, H, W, C], uint8 as stored, else finite float32.

    Copies nothing that is of that type already.

    Args:
      values: what `require_examples` lets pass, or a slice of it.
      name: what an error calls them.
      index: of the first of them in the whole, or of each, for the error.
      fill: what stands for NaN in each feature, [F]; None: nothing may be missing.
    """
    if values.dtype != np.uint8:
        with np.errstate(over="ignore"):  # what overflows is found right below
            values = values.astype(np.float32, copy=False)
        if fill is not None and (absent := np.isnan(values)).any():
            if fill.size != math.prod(values.shape[1:]):
                raise DataError(
                    f"{name} has examples of the shape {values.shape[1:]}, the run has {fill.size} features"
                )
            values = np.where(absent, fill.reshape(values.shape[1:]), values)
        finite = np.isfinite(values)
        if not finite.all():
            wrong, kind, mend = np.isnan(values), "NaN", "remove what is missing, or train with --data.impute median"
            if not wrong.any():
                wrong, kind = ~finite, "infinite or beyond float32"
                mend = "correct it, or mark it as missing, as NaN, and train with --data.impute median"
            row, *place = (int(i) for i in np.argwhere(wrong)[0])
            row = int(index[row]) if isinstance(index, np.ndarray) else index + row
            count = np.count_nonzero(wrong)
            values_are = "1 value that is" if count == 1 else f"{count} values that are"
            raise DataError(f"{name} holds {values_are} {kind}, the first at index {[row, *place]}; {mend}")
    return values[..., None] if values.ndim == 3 else values


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


def as_examples(values: np.ndarray, fill: np.ndarray | None = None) -> np.ndarray:
    """An array from Python as examples [N, ...], as `prepared` makes and fills them; none at all is no mistake here.

    Raises:
      DataError: for what is no array of examples, and at the first value that is not finite.
    """
    found = np.asarray(values)
    if found.shape and not len(found):
        return found
    require_examples(found, "the array")
    return found if found.dtype == np.uint8 else prepared(found, "the array", fill=fill)
