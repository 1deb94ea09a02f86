"""A data set ready for training: checked, split, with the scaling to the model's range and a fingerprint."""

import functools
import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aeflax import config
from aeflax.data.checks import prepared, require_examples
from aeflax.data.sources import Examples, Raw, read
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
    """What a run was trained on, as far as using it needs: dtype, scaling, whether its data lay in [0, 1]."""

    dtype: np.dtype[Any]
    scaling: Scaling
    unit_range: bool

    def scaling_of(self, values: np.ndarray) -> Scaling:
        """How such values come to the model's range: floats where uint8 was trained on are in [0, 1] already."""
        if self.dtype == np.uint8 and not self.scaling.fitted and values.dtype.kind == "f":
            return Scaling(self.scaling.shift, np.ones(1, np.float32))
        return self.scaling


@dataclass(frozen=True)
class Dataset:
    """Splits of one source. Values are [N, H, W, C] or [N, D], uint8 or float32, as stored."""

    source: str
    train: Examples
    validation: Examples | None
    test: Examples
    scaling: Scaling

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, (H, W, C) or (D,)."""
        return self.train.values.shape[1:]

    @functools.cached_property
    def span(self) -> tuple[float, float]:
        """Smallest and largest value in the model's range, of the training split alone where the scaling was fitted."""
        splits = [self.train] if self.scaling.fitted else list(self.splits.values())
        rows = [split.values.reshape(len(split.values), -1) for split in splits]
        extremes = self.scaling.apply(np.stack([f(axis=0) for part in rows for f in (part.min, part.max)]))
        return float(extremes.min()), float(extremes.max())

    @property
    def unit_range(self) -> bool:
        """Whether the span lies in [0, 1], up to the rounding of the scaling."""
        low, high = self.span
        return low >= -1e-6 and high <= 1.0 + 1e-6

    @property
    def domain(self) -> Domain:
        """What using a model that was trained on it needs to know."""
        return Domain(self.train.values.dtype, self.scaling, self.unit_range)

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
        return {name: _fingerprint(split) for name, split in self.splits.items()}


def _fingerprint(examples: Examples) -> dict[str, Any]:
    values = np.ascontiguousarray(examples.values)
    return {
        "shape": list(values.shape),
        "dtype": str(values.dtype),
        "sha256": hashlib.sha256(values.data).hexdigest(),
    }


def load(settings: config.Data, array: np.ndarray | None = None) -> Dataset:
    """Reads, checks, splits and scales the data that a configuration names, or an array of examples.

    Args:
      settings: the section `data` of an experiment.
      array: examples [N, D], [N, H, W] or [N, H, W, C] to use in place of `settings.source`.

    Raises:
      ConfigError: for settings that do not fit the data.
      DataError: for data that is unreadable or unfit.
    """
    raw = read(settings.source) if array is None else Raw(Examples(np.asarray(array)))
    name = settings.source if array is None else "the array"
    train = _checked(raw.train, name)
    test = None if raw.test is None else _checked(raw.test, f"{name} (test)")
    if test is not None and test.values.shape[1:] != train.values.shape[1:]:
        raise DataError(
            f"{name}: training examples have the shape {train.values.shape[1:]}, test examples "
            f"{test.values.shape[1:]}; they must agree"
        )
    if settings.classes:
        train = _of_classes(train, settings.classes, name)
        test = None if test is None else _of_classes(test, settings.classes, f"{name} (test)")
    if test is None:
        train, test = _hold_out(train, settings.holdout, name)
    train = _take(train, slice(0, settings.limit))
    validation = None
    if settings.validation:
        keep = len(train.values) - settings.validation
        if keep < 1:
            raise ConfigError(
                f"data.validation={settings.validation} leaves none of {len(train.values)} training examples; lower it"
            )
        train, validation = _take(train, slice(0, keep)), _take(train, slice(keep, None))
    scaling = _scaling(settings.scale, train.values, raw.divisor)
    return Dataset(name, train, validation, test, scaling)


def _checked(examples: Examples, name: str) -> Examples:
    require_examples(examples.values, name)
    return replace(examples, values=prepared(examples.values, name))


def _take(examples: Examples, index: Any) -> Examples:
    labels = None if examples.labels is None else examples.labels[index]
    return Examples(examples.values[index], labels)


def _of_classes(examples: Examples, classes: tuple[int, ...], name: str) -> Examples:
    if examples.labels is None:
        raise ConfigError(f"data.classes needs labels, and {name} has none; leave it out")
    chosen = np.isin(examples.labels, classes)
    if not chosen.any():
        known = ", ".join(str(label) for label in np.unique(examples.labels)[:20])
        raise ConfigError(f"data.classes={classes} matches no example of {name}, whose labels are {known}")
    return _take(examples, chosen)


def _hold_out(examples: Examples, share: float, name: str) -> tuple[Examples, Examples]:
    """Every k-th example is test, k = round(1 / share)."""
    total, every = len(examples.values), max(2, round(1.0 / share))
    if total < every:
        raise DataError(
            f"{name} has {total} examples, too few to hold out every {every}th for testing; raise data.holdout"
        )
    test = np.arange(total) % every == every - 1
    return _take(examples, ~test), _take(examples, test)


def _scaling(scale: str, values: np.ndarray, divisor: float | None) -> Scaling:
    if scale == "none":
        if divisor is None:
            divisor = 255.0 if values.dtype == np.uint8 else 1.0
        return Scaling(np.zeros(1, np.float32), np.array([divisor], np.float32))
    vectors = values.ndim == 2
    if scale == "unit":
        axes: tuple[int, ...] | None = (0,) if vectors else None
        low = np.min(values, axis=axes).astype(np.float64)
        span = np.max(values, axis=axes).astype(np.float64) - low
    else:
        axes = (0,) if vectors else (0, 1, 2)
        low = np.mean(values, axis=axes, dtype=np.float64)
        span = np.std(values, axis=axes, dtype=np.float64)
    repeat = 1 if vectors or low.ndim == 0 else values.shape[1] * values.shape[2]
    shift, divisors = (np.tile(np.atleast_1d(part), repeat).astype(np.float32) for part in (low, span))
    # A constant feature maps to 0; so does one whose spread is below float32.
    return Scaling(shift, np.where(divisors > 0, divisors, np.float32(1)), fitted=True)
