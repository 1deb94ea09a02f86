"""Labels of examples [N]: whole numbers, as classes are, other numbers, or words."""

from collections.abc import Sequence

import numpy as np

from aeflax.data.columns import TRUTH
from aeflax.errors import ConfigError

SHOWN = 20  # labels in a sentence


def as_labels(column: np.ndarray) -> np.ndarray:
    """Labels [N]: int64 where all of them are whole numbers, as classes are, else as they stand."""
    if column.dtype.kind not in "iufb":
        return column
    whole = np.isfinite(column) & (np.abs(column) < 2**53) & (column == np.rint(column))
    return column.astype(np.int64) if whole.all() else column


def absent(labels: np.ndarray) -> np.ndarray:
    """Which examples have no label [N]: NaN among numbers, nothing among words."""
    found: np.ndarray = np.isnan(labels) if labels.dtype.kind == "f" else labels.astype(str) == ""
    return found


def among(labels: np.ndarray, wanted: Sequence[int | str]) -> np.ndarray:
    """Which labels [N] are among some that are named, as they are written: `1` names 1, 1.0 and true."""
    each, place = np.unique(labels, return_inverse=True)
    found: np.ndarray = np.isin([*map(_text, each.tolist())], [*map(_text, wanted)])[place.reshape(-1)]
    return found


def require_known(labels: np.ndarray, wanted: Sequence[int | str], name: str, option: str) -> None:
    """Raises ConfigError for a label among those that an option names which no example [N] of `name` has."""
    known = [_text(label) for label in np.unique(labels).tolist()]
    if unknown := [label for label in map(_text, wanted) if label not in known]:
        there = ", ".join(label for label in known[:SHOWN] if label)
        raise ConfigError(f"no example of {name} has the label {unknown[0]}, which {option} names; there are {there}")


def _text(label: float | str) -> str:
    """A label as it is written: 1 also for 1.0 and for a word that says true."""
    said = str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)
    return TRUTH.get(said.lower(), said)
