"""What stands for missing values, learnt from the training split."""

from typing import Literal

import numpy as np

from aeflax.data.rows import Rows
from aeflax.errors import ConfigError, DataError


def fill_in(kind: Literal["mean", "median"], values: Rows, name: str) -> np.ndarray:
    """The mean or median of each feature of examples [N, ...] over the values that are not NaN, [F] float32.

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
    rows = values.reshape(len(values), -1).astype(np.float64, copy=False)
    absent = np.isnan(rows).all(axis=0)
    if absent.any():
        first, count = int(np.flatnonzero(absent)[0]), np.count_nonzero(absent)
        more = "" if count == 1 else f" ({count} features have none)"
        raise DataError(f"{name}: feature {first} has no value in the training split{more}; drop it")
    middle: np.ndarray = (np.nanmean if kind == "mean" else np.nanmedian)(rows, axis=0)
    return middle.astype(np.float32)
