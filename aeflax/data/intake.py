"""How a run takes what Python gives it: arrays, and of data frames the columns that it was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aeflax.data.checks import as_examples
from aeflax.data.columns import to_take
from aeflax.data.dataset import Domain
from aeflax.data.frames import as_array, chosen, labels_of, names_of
from aeflax.data.inputs import Inputs
from aeflax.data.missing import unknown
from aeflax.errors import warn


@dataclass(frozen=True)
class Intake:
    """What a run was trained on, as far as taking examples needs.

    Attributes:
      domain: of its data.
      columns: names of its features; None where these were no columns of a table with a header.
      drop: columns that were left out.
      label: the column that held the labels, where there was one.
    """

    domain: Domain
    columns: tuple[str, ...] | None
    drop: Sequence[str]
    label: str

    def array(self, values: Any) -> np.ndarray:
        """Of a data frame the columns that the run was trained on, in their order, [N, F]; an array as it is."""
        names = names_of(values)
        if names is None:
            return as_array(values)
        idle = {*self.drop} | ({self.label} - {*(self.columns or ())})
        kept = tuple(name for name in names if name not in idle)
        return as_array(chosen(values, to_take(self.columns, kept, "the data frame") or kept))

    def examples(self, values: Any) -> np.ndarray:
        """The same as examples [N, ...], checked, and with what stands for missing values."""
        return self._checked(self.array(values))

    def inputs(self, values: Any) -> Inputs:
        """The same with the names of its columns, those of a data frame; `Inputs` as they are."""
        if isinstance(values, Inputs):
            return values
        found = self.array(values)
        self._checked(found)
        columns = None if names_of(values) is None else self.columns
        # As they are: what is missing is filled when it is read, and told from what was there.
        labels = None if self.label in (self.columns or ()) else labels_of(values, self.label)
        return Inputs("the array", found, labels=labels, columns=columns, fill=self.domain.fill)

    def _checked(self, values: np.ndarray) -> np.ndarray:
        """Values as examples, with a warning of features of which none is known."""
        made = as_examples(values, fill=self.domain.fill)
        if self.domain.fill is not None and (said := unknown(values, self.columns)):
            warn(f"{said}: what stands for missing values takes its place in every example")
        return made
