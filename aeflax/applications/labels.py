"""Labels as classes, and draws of so many labelled examples of each."""

from dataclasses import dataclass

import numpy as np

from aeflax.data.dataset import Dataset
from aeflax.data.labels import absent
from aeflax.data.sources import Examples
from aeflax.errors import ConfigError, DataError


@dataclass(frozen=True)
class Classes:
    """The classes of a run's data.

    Attributes:
      names: the labels of the training split, in order [C].
      train: class of each training example [N], 0 .. C - 1.
      held: of each example of the other split [M]; -1 where training has no such label.
    """

    names: np.ndarray
    train: np.ndarray
    held: np.ndarray

    @property
    def smallest(self) -> int:
        """Training examples of the rarest class."""
        return int(np.bincount(self.train).min())


def classes_of(dataset: Dataset, train: Examples, held: Examples) -> Classes:
    """The classes of two parts of a data set.

    Raises:
      DataError: where there are no labels, or they are no classes.
    """
    if train.labels is None or held.labels is None:
        raise DataError(f"{dataset.source} has no labels; this needs some, as a table's column that --data.label names")
    known, other = np.asarray(train.labels[:]), np.asarray(held.labels[:])
    if count := sum(int(np.count_nonzero(absent(labels))) for labels in (known, other)):
        mend = "name the labels that count when training, --data.classes"
        raise DataError(f"{count:,} examples of {dataset.source} have no label, and this needs one of each; {mend}")
    if known.dtype.kind == "f" and np.any(known != np.rint(known)):
        raise DataError(f"the labels of {dataset.source} are quantities such as {known[0]:g}; this needs classes")
    names, index = np.unique(known, return_inverse=True)
    if len(names) < 2:
        raise DataError(f"all training labels of {dataset.source} are {names[0]}; this needs two classes or more")
    place = np.minimum(np.searchsorted(names, other), len(names) - 1)
    return Classes(names, index, np.where(names[place] == other, place, -1))


def require_count(classes: Classes, per_class: int) -> None:
    """Raises ConfigError where a class has fewer training examples than that."""
    if per_class < 1:
        raise ConfigError(f"{per_class} labels per class are too few; take at least 1")
    if per_class > classes.smallest:
        rarest = classes.names[np.bincount(classes.train).argmin()]
        raise ConfigError(
            f"{per_class} labels per class are more than there are: class {rarest} has {classes.smallest} "
            f"training examples; take at most {classes.smallest}"
        )


def require_seeds(seeds: int) -> None:
    """Raises ConfigError unless there is one seed or more."""
    if not 1 <= seeds <= 1000:
        raise ConfigError(f"{seeds} seeds: take 1 to 1000; an interval needs 2 or more")


def draw(classes: Classes, per_class: int, seed: int) -> np.ndarray:
    """Training examples [C · per_class], as many of each class, class by class in turn; a larger draw begins alike."""
    order = np.random.default_rng(seed).permutation(len(classes.train))
    each = [order[classes.train[order] == index][:per_class] for index in range(len(classes.names))]
    return np.stack(each, axis=1).reshape(-1)


def accuracy(found: np.ndarray, classes: np.ndarray) -> float:
    """Share of classes [M] that were found [M]."""
    return float(np.mean(found == classes))
