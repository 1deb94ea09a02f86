"""The examples that a run directory keeps, so that its reports can be drawn where its data are not."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aeflax.data import files, writers
from aeflax.data.checks import prepared, require_examples
from aeflax.data.dataset import Dataset
from aeflax.data.rows import evenly
from aeflax.errors import DataError

EXAMPLES, BYTES = 2000, 4 * 2**20  # kept at most


@dataclass(frozen=True)
class Kept:
    """Some examples of the test split as stored, [N, ...], with their labels [N] and their indices in it [N].

    `missing` [N, F] says which values have been filled; None: none, or a run of before, which does not tell.
    """

    values: np.ndarray
    labels: np.ndarray | None
    index: np.ndarray
    missing: np.ndarray | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> "Kept":
        """Evenly spaced examples, few enough to be kept beside every run."""
        values, labels = dataset.test.values, dataset.test.labels
        count = min(len(values), EXAMPLES, max(16, BYTES * len(values) // values.nbytes))
        index = evenly(len(values), count).astype(np.int32)
        labels, missing = (rows if rows is None else np.asarray(rows[index]) for rows in (labels, dataset.test.missing))
        return cls(np.asarray(values[index]), labels, index, missing)

    def save(self, path: Path) -> None:
        """Replaces an NPZ file. Raises ConfigError where it cannot be written."""
        others = {"labels": self.labels, "missing": self.missing}
        told = {name: array for name, array in others.items() if array is not None}
        if path.is_symlink():  # a run directory does not lead outside of itself
            path.unlink()
        writers.write(path, [{"values": self.values, "index": self.index, **told}])

    @classmethod
    def load(cls, path: Path) -> "Kept":
        """Reads them back. Raises DataError where the file is missing, damaged or made up."""
        arrays = files.npz_arrays(path)
        try:
            found = cls(arrays["values"], arrays.get("labels"), arrays["index"], arrays.get("missing"))
        except KeyError as error:
            raise DataError(f"{path} lacks the array {error}; write it again") from error
        name = f"the array values in {path}"
        require_examples(found.values, name)
        prepared(found.values, name)
        count = len(found.values)
        fitting = found.index.shape == (count,) and (found.labels is None or found.labels.shape[:1] == (count,))
        if found.missing is not None:
            fitting &= found.missing.dtype == bool and found.missing.shape == found.values.reshape(count, -1).shape
        if found.index.dtype.kind not in "iu" or not fitting:
            raise DataError(f"{path} holds arrays that do not fit together; write it again")
        return found
