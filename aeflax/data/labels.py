"""Labels of examples [N]: whole numbers, as classes are, other numbers, or words."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from aeflax.data.columns import TRUTH
from aeflax.errors import ConfigError

SHOWN = 20  # labels in a sentence
WHOLE = re.compile(r"(-?\d+)\.0+$")  # a whole number as pandas writes it beside missing ones


def as_labels(column: np.ndarray) -> np.ndarray:
    """Labels [N]: int64 where all of them are whole numbers, as classes are, else as they stand."""
    if column.dtype.kind not in "iufb":
        return column
    whole = np.isfinite(column) & (np.abs(column) < 2**53) & (column == np.rint(column))
    return column.astype(np.int64) if whole.all() else column


def absent(labels: np.ndarray) -> np.ndarray:
    """Which examples have no label [N]: NaN among numbers, nothing among words."""
    if labels.dtype.kind in "iub":
        return np.zeros(len(labels), bool)
    found: np.ndarray = np.isnan(labels) if labels.dtype.kind == "f" else labels == labels.dtype.type()
    return found


def written(labels: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The labels that there are, as they are written, and which of them each example [N] has; none is the empty one."""
    each, place = np.unique(labels, return_inverse=True)
    return [*map(_text, each.tolist())], place.reshape(-1)


def among(labels: np.ndarray, wanted: Sequence[str], name: str, option: str) -> np.ndarray:
    """Which labels [N] are among some that are named, as they are written: `1` names 1, 1.0 and true.

    Args:
      labels: of the examples.
      wanted: the ones that are named.
      name: of the data, for messages.
      option: that names the labels, for messages.

    Raises:
      ConfigError: for a label that no example has.
    """
    known, place = written(labels)
    named = [*map(_text, wanted)]
    if unknown := [label for label in named if label not in known]:
        there = ", ".join(dict.fromkeys(label for label in known[:SHOWN] if label))
        parted = "; names are parted by spaces" if "," in unknown[0] else ""
        said = f"no example of {name} has the label {unknown[0]}, which {option} names; there are {there}{parted}"
        raise ConfigError(said)
    found: np.ndarray = np.isin(known, named)[place]
    return found


def _text(label: float | str | bytes) -> str:
    """A label as it is written: 1 also for 1.0 and for a word that says true."""
    if isinstance(label, float):
        return "" if label != label else WHOLE.sub(r"\1", str(label))
    said = label.decode(errors="replace") if isinstance(label, bytes) else str(label)
    said = unicodedata.normalize("NFC", said.strip())  # a file system has an accent in a place of its own
    said = WHOLE.sub(r"\1", said)
    return TRUTH.get(said.lower(), said)
