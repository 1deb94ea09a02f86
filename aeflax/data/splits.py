"""How the examples of a source are parted: those of some classes, into training, validation and test splits."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from aeflax.config import Data
from aeflax.data.labels import among
from aeflax.data.rows import Between, Listed, Spaced, numbered
from aeflax.data.sources import Examples
from aeflax.errors import ConfigError, DataError

Splits = tuple[Examples, Examples | None, Examples]


def parted(train: Examples, test: Examples | None, settings: Data, name: str) -> Splits:
    """Training, validation (None where none is withheld) and test examples.

    Args:
      train: of the source.
      test: of it; None where it brings none, and some of the others are held out.
      settings: whose `classes`, `holdout`, `limit` and `validation` say how.
      name: of the source, for messages.

    Raises:
      ConfigError: for settings that leave a split empty, or name labels that no example has.
      DataError: for too few examples.
    """
    if test is None:
        train = replace(train, index=numbered(len(train)))
    if settings.classes:
        train, test = _of_classes(train, test, settings.classes, name)
    if test is None:
        train, test = _hold_out(train, settings.holdout, name)
    if settings.limit is not None:
        train = train.take(Spaced(0, min(settings.limit, len(train))))
    if not settings.validation:
        return train, None, test
    keep = len(train) - settings.validation
    if keep < 1:
        raise ConfigError(
            f"data.validation={settings.validation} leaves none of {len(train)} training examples; lower it"
        )
    return train.take(Spaced(0, keep)), train.take(Spaced(keep, settings.validation)), test


def _of_classes(
    train: Examples, test: Examples | None, classes: Sequence[str], name: str
) -> tuple[Examples, Examples | None]:
    """Of both the examples that have one of some labels; each label must be in one of them."""
    splits = {"train": train} if test is None else {"train": train, "test": test}
    labels = [split.labels[:] for split in splits.values() if split.labels is not None]
    if len(labels) < len(splits):
        mend = "name the column of a table that holds them, --data.label, or leave it out"
        raise ConfigError(f"data.classes needs labels, and {name} has none; {mend}")
    chosen, kept = among(np.concatenate(labels), classes, name, "data.classes"), []
    for which, split in splits.items():
        part, chosen = np.split(chosen, [len(split)])
        if not part.any():
            raise ConfigError(f"no {which} example of {name} has a label of data.classes, {', '.join(classes)}")
        kept.append(split.take(Listed(np.flatnonzero(part).astype(np.int32))))
    return kept[0], None if test is None else kept[1]


def _hold_out(examples: Examples, share: float, name: str) -> tuple[Examples, Examples]:
    """Every k-th example is test, k = round(1 / share)."""
    total, every = len(examples), max(2, round(1.0 / share))
    if total < 2:
        raise DataError(f"{name} has one example, which cannot both train and test; give more")
    if total < every:
        raise DataError(
            f"{name} has {total} examples, too few to hold out every {every}th for testing; raise data.holdout"
        )
    held = total // every
    return examples.take(Between(every, total - held)), examples.take(Spaced(every - 1, held, every))
