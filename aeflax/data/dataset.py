"""A data set ready for training: checked, split, with the scaling to the model's range and a fingerprint."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from aeflax import config
from aeflax.data import frames
from aeflax.data import missing as missings
from aeflax.data.checks import prepared, require_examples
from aeflax.data.fingerprint import fingerprint
from aeflax.data.inputs import columns_of
from aeflax.data.places import source_file
from aeflax.data.rows import Rows, fits_memory
from aeflax.data.sources import PLAIN, Examples, Raw, read, require_at_hand
from aeflax.data.splits import parted
from aeflax.data.survey import Survey, survey
from aeflax.data.tables import require_columns
from aeflax.errors import ConfigError, DataError


@dataclass(frozen=True)
class Scaling:
    """The affine map (stored - shift) / divisor to the model's range; [1] or one entry a feature [F], float32."""

    shift: np.ndarray
    divisor: np.ndarray
    fitted: bool = False  # on the training split, so that other values may lie beyond the range that it maps to

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Stored rows [N, F] -> float32 in the model's range."""
        scaled: np.ndarray = (rows.astype(np.float32) - self.shift) / self.divisor
        return scaled

    def invert(self, rows: np.ndarray) -> np.ndarray:
        """Rows [N, F] in the model's range -> stored units, float32."""
        stored: np.ndarray = rows * self.divisor + self.shift
        return stored


@dataclass(frozen=True)
class Domain:
    """What a run was trained on, as far as using it needs.

    Attributes:
      dtype: of the stored values, uint8 or float32.
      scaling: to the model's range.
      unit_range: whether the values lay in [0, 1] there.
      fill: what stands for a missing value of each feature, [F] as stored; None where none may be missing.
    """

    dtype: np.dtype[Any]
    scaling: Scaling
    unit_range: bool
    fill: np.ndarray | None = None

    def scaling_of(self, values: np.ndarray) -> Scaling:
        """How such values come to the model's range: floats where uint8 was trained on are in [0, 1] already."""
        if self.dtype == np.uint8 and not self.scaling.fitted and values.dtype.kind == "f":
            return Scaling(self.scaling.shift, np.ones(1, np.float32))
        return self.scaling


@dataclass(frozen=True)
class Dataset:
    """Splits of one source. Values are [N, H, W, C] or [N, D], uint8 or float32, as stored, in memory or not.

    `surveys` holds what is known already of splits that were gone over; `fill` is as in `Domain`, and is in its places;
    `missing` says how many values of the training split were missing, and in which features. `columns` are the names of
    a table's features, None where it has none; `version` is that of a set that has versions.
    `computed` keeps, by name, what many models of these data would compute alike.
    """

    source: str
    train: Examples
    validation: Examples | None
    test: Examples
    scaling: Scaling
    surveys: Mapping[str, Survey] = field(default_factory=dict)
    fill: np.ndarray | None = None
    missing: str | None = None
    columns: tuple[str, ...] | None = None
    version: str | None = None
    computed: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __str__(self) -> str:
        counts = ", ".join(f"{len(split):,} {name}" for name, split in self.splits.items())
        shape = "×".join(map(str, self.shape))
        of = f"{called(self.shape)} of {shape}{'' if len(self.shape) > 1 else ' features'}"
        labels = "no labels" if self.train.labels is None else "labels"
        filled = "" if self.missing is None else f"; in training {self.missing}"
        version = "" if self.version is None else f" (version {self.version})"
        return f"{self.source}{version}: {counts} {of}, {self.train.values.dtype.name}, {labels}{filled}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, (H, W, C) or (D,)."""
        return self.train.values.shape[1:]

    @functools.cached_property
    def span(self) -> tuple[float, float]:
        """Smallest and largest value in the model's range, of the training split alone where the scaling was fitted.

        Of bytes that are not in memory, and whose scaling was not fitted: of all that they could hold, 0 and 255.
        """
        names = ["train"] if self.scaling.fitted else list(self.splits)
        extremes = self.scaling.apply(np.concatenate([self._extremes(name) for name in names]))
        return float(extremes.min()), float(extremes.max())

    def _extremes(self, name: str) -> np.ndarray:
        """Stored values [2, F] between which those of a split lie."""
        examples, known = self.splits[name], self.surveys.get(name)
        if known is None and examples.lazy:
            return np.repeat(np.array([[0], [255]], np.uint8), math.prod(self.shape), axis=1)
        found = known or survey(examples.values, self.source)
        return np.stack([found.low, found.high])

    @property
    def unit_range(self) -> bool:
        """Whether the span lies in [0, 1], up to the rounding of the scaling."""
        low, high = self.span
        return low >= -1e-6 and high <= 1.0 + 1e-6

    @property
    def domain(self) -> Domain:
        """What using a model that was trained on it needs to know."""
        return Domain(self.train.values.dtype, self.scaling, self.unit_range, self.fill)

    @property
    def splits(self) -> dict[str, Examples]:
        """The splits that there are, by name: train, validation where some were withheld, test."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    def split(self, name: str) -> Examples:
        """The split called train, validation or test.

        Raises:
          ConfigError: if there is no such split.
        """
        if name not in self.splits:
            mend = "; withhold one with --data.validation N" if name == "validation" else ""
            raise ConfigError(f"{self.source} has no split {name!r}, only {', '.join(self.splits)}{mend}")
        return self.splits[name]

    def fingerprint(self) -> dict[str, Any]:
        """Shape, dtype and SHA-256 of each split, which a resumed run must find again."""
        if "fingerprint" not in self.computed:
            self.computed["fingerprint"] = {name: fingerprint(split.values) for name, split in self.splits.items()}
        found: dict[str, Any] = self.computed["fingerprint"]
        return found


def called(shape: tuple[int, ...]) -> str:
    """What examples of a shape are called."""
    return "images" if len(shape) > 1 else "rows"


def load(settings: config.Data, array: Any = None) -> Dataset:
    """Reads, checks, splits and scales the data that a configuration names, or an array of examples.

    What takes under a quarter of the host's memory is read into it, unless `settings.resident` is False; anything
    larger is read when it is asked for, and gone over in blocks where a scaling is fitted or floats are checked.

    Args:
      settings: the section `data` of an experiment.
      array: examples [N, D], [N, H, W] or [N, H, W, C] to use in place of `settings.source`; or a data frame, whose
        column `settings.label`, where it has one, holds labels and is no feature.

    Raises:
      ConfigError: for settings that do not fit the data.
      DataError: for data that is unreadable or unfit.
    """
    if array is None:
        require_at_hand(settings.source)
        for option, names in {"data.drop": settings.drop, "data.label": {settings.label} - {PLAIN.label}}.items():
            if names and (path := source_file(settings.source)) is not None:
                require_columns(path, [*names], option)
        columns = columns_of(settings.source, settings)
        raw = _resident(read(settings.source, settings), settings)
    else:
        values, labels, columns = frames.read(array, settings.drop, settings.label)
        raw = Raw(Examples(values, labels))
    name = settings.source if array is None else "the array"
    for split, label in ((raw.train, name), (raw.test, f"{name} (test)")):
        if split is not None:
            require_examples(split.values, label)
    train, test = raw.train, raw.test
    fill, missing = None, None
    if settings.impute == "none":
        train, test = _prepared(train, name), None if test is None else _prepared(test, f"{name} (test)")
    if test is not None and test.values.shape[1:] != train.values.shape[1:]:
        raise DataError(
            f"{name}: training examples have the shape {train.values.shape[1:]}, test examples "
            f"{test.values.shape[1:]}; they must agree"
        )
    train, validation, test = parted(train, test, settings, name)
    if settings.impute != "none":
        fill = missings.fill_in(settings.impute, train.values, name, columns, settings.drop)
        missing = missings.summary(train.values, columns)
        train, test = _prepared(train, name, fill), _prepared(test, f"{name} (test)", fill)
        validation = None if validation is None else _prepared(validation, f"{name} (validation)", fill)
    plain = Scaling(np.zeros(1, np.float32), np.ones(1, np.float32))
    whole = Dataset(
        name, train, validation, test, plain, fill=fill, missing=missing, columns=columns, version=raw.version
    )
    surveys = _surveys(whole.splits, settings.scale, name)
    scaling = _scaling(settings.scale, train.values, surveys.get("train"), raw.divisor)
    return replace(whole, scaling=scaling, surveys=surveys)


def _resident(raw: Raw, settings: config.Data) -> Raw:
    """In memory where that is allowed and takes under a quarter of it, or where the source is there already."""
    size = sum(split.values.nbytes for split in (raw.train, raw.test) if split is not None)
    if not raw.train.lazy or settings.resident is False or not fits_memory(size):
        return raw
    return replace(raw, train=raw.train.in_memory(), test=None if raw.test is None else raw.test.in_memory())


def _prepared(examples: Examples, name: str, fill: np.ndarray | None = None) -> Examples:
    """Fills and checks the values of what is in memory; of what is not, they are checked later."""
    values = examples.values
    if not isinstance(values, np.ndarray):
        return examples
    gaps = None if fill is None else np.isnan(values).reshape(len(values), -1)
    missing = gaps if gaps is not None and gaps.any() else None
    return replace(examples, values=prepared(values, name, fill=fill), missing=missing)


def _surveys(splits: Mapping[str, Examples], scale: str, name: str) -> dict[str, Survey]:
    """One pass over each split that has to be read.

    That is to fit a scaling to it, and to check values that are not in memory, which bytes need not.
    """
    found = {}
    for split, examples in splits.items():
        fitted = scale != "none" and split == "train"
        if fitted or (examples.lazy and examples.values.dtype != np.uint8):
            found[split] = survey(examples.values, f"{name} ({split})", moments=fitted and scale == "standard")
    return found


def _scaling(scale: str, values: Rows, found: Survey | None, divisor: float | None) -> Scaling:
    if found is None or scale == "none":
        if divisor is None:
            divisor = 255.0 if values.dtype == np.uint8 else 1.0
        return Scaling(np.zeros(1, np.float32), np.array([divisor], np.float32))
    vectors = len(values.shape) == 2
    if found.mean is not None and found.deviation is not None:
        low, span = found.mean, found.deviation
    else:
        low, high = (found.low, found.high) if vectors else (found.low.min(), found.high.max())
        low = np.asarray(low, np.float64)
        span = np.asarray(high, np.float64) - low
    repeat = 1 if vectors or low.ndim == 0 else values.shape[1] * values.shape[2]
    shift, divisors = (np.tile(np.atleast_1d(part), repeat).astype(np.float32) for part in (low, span))
    # A constant feature maps to 0; so does one whose spread is below float32.
    return Scaling(shift, np.where(divisors > 0, divisors, np.float32(1)), fitted=True)
