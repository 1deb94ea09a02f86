"""Sources by name: one string -> examples with their labels, split where the source says how.

What may be larger than memory, `npy:`, `tfds:` and `images:`, is read when it is asked for.
"""

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from aeflax.config import Data
from aeflax.config.sources import ARRAY, TABULAR, source_fault
from aeflax.data import files, images, npy, tables, tfds
from aeflax.data.rows import Rows, Spaced, Where, take
from aeflax.errors import ConfigError, DataError

PLAIN = Data()


@dataclass(frozen=True)
class Examples:
    """Examples [N, ...] as they came and their labels [N], None where there are none; in memory or not.

    `index` tells where in its source each one stands, of a part of one that brings no splits; `missing` which values
    [N, F] were not there and have been filled, None where none were.
    """

    values: Rows
    labels: Rows | None = None
    index: Rows | None = None
    missing: Rows | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def lazy(self) -> bool:
        """Whether the examples are read when they are asked for."""
        return not isinstance(self.values, np.ndarray)

    def take(self, where: Where) -> "Examples":
        """The examples and labels that `where` names."""
        others = (rows if rows is None else take(rows, where) for rows in (self.labels, self.index, self.missing))
        return Examples(take(self.values, where), *others)

    def every(self, n: int) -> "Examples":
        """Every n-th example, from the first one on."""
        return self if n == 1 else self.take(Spaced(0, -(-len(self) // n), n))

    def in_memory(self) -> "Examples":
        """The same as arrays."""
        return replace(self, values=self.values[:], labels=None if self.labels is None else self.labels[:])


@dataclass(frozen=True)
class Raw:
    """What a source delivers; `test` is None where it brings no test split of its own, `version` where it has none."""

    train: Examples
    test: Examples | None = None
    divisor: float | None = None  # of the stored values; None: 255 for uint8, else 1
    version: str | None = None


def read(source: str, how: Data = PLAIN, take: tuple[str, ...] | None = None) -> Raw:
    """Reads the source that a string names.

    Args:
      source: as `data.source` takes it.
      how: its `size` and `grey` are looked at for `images:`; `drop`, `label` and whether to `impute` for tables, where
        what is missing then becomes NaN.
      take: of a table, columns by name that are the features; None: all of them.

    Raises:
      ConfigError: for a string that names no source.
      DataError: for data that cannot be read.
    """
    if fault := source_fault(source):
        raise ConfigError(fault)
    require_at_hand(source)
    kind, _, place = source.partition(":")
    if kind == "images":
        found = {split: Examples(*of) for split, of in images.read(Path(place), how.size, how.grey).items()}
        return Raw(found["train"], found.get("test"))
    if kind in TABULAR:
        missing = how.impute != "none"
        return Raw(Examples(*tables.read(Path(place), missing=missing, drop=how.drop, label=how.label, take=take)))
    return _PLACED[kind](place) if place else _NAMED[source]()


def require_at_hand(source: str) -> None:
    """Raises ConfigError for examples that were passed from Python, and are not there any more."""
    if source == ARRAY:
        raise ConfigError("data.source=array: the examples were passed from Python; pass them again with data=")


def _digits() -> Raw:
    """scikit-learn's, from its file: to import the package takes as long as a small model trains."""
    found = find_spec("sklearn")
    path = Path((found and found.origin) or "").parent / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():
        table = np.loadtxt(path, np.uint8, delimiter=",")
    else:  # a version that keeps it elsewhere
        from sklearn.datasets import load_digits

        digits = load_digits()
        table = np.column_stack([digits.data, digits.target]).astype(np.uint8)
    return Raw(Examples(table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)), divisor=16.0)


def _mnist_like(name: str) -> Raw:
    root = os.environ.get("AEFLAX_DATA_DIR")
    wanted = "train-images-idx3-ubyte.gz and the three files beside it"
    if root:
        folder = Path(root) / name
        if not Path(root).is_dir():
            raise DataError(f"AEFLAX_DATA_DIR={root} is no folder; set it to one whose {name}/ holds {wanted}")
        if not folder.is_dir():
            raise DataError(f"AEFLAX_DATA_DIR={root} holds no folder {name}; put {wanted} into {folder}")
        return _idx(str(folder))
    try:
        return _tfds(name)
    except DataError as error:
        raise DataError(
            f"{name} is not at hand: set AEFLAX_DATA_DIR to a folder whose {name}/ holds {wanted}, "
            f"or {tfds.preparation(name)}"
        ) from error


def _idx(place: str) -> Raw:
    return Raw(_idx_split(Path(place), "train"), _idx_split(Path(place), "t10k"))


def _idx_split(folder: Path, prefix: str) -> Examples:
    images_path = _find(folder, prefix, "images", 3)
    labels_path = _find(folder, prefix, "labels", 1)
    images, labels = files.idx(images_path), files.idx(labels_path)
    if labels.ndim != 1 or images.shape[:1] != labels.shape:
        raise DataError(
            f"{images_path.name} has the shape {images.shape} and {labels_path.name} {labels.shape}; "
            f"there must be one label an example: fetch both files in {folder} again"
        )
    return Examples(images, labels)


def _find(folder: Path, prefix: str, what: str, rank: int) -> Path:
    stem = f"{prefix}-{what}"
    names = [f"{stem}{joint}idx{rank}-ubyte{end}" for joint in "-." for end in (".gz", "")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} holds no file {names[0]} or {names[1]}; put the IDX files there")


def _npz(place: str) -> Raw:
    path, _, name = place.partition("#")
    return Raw(Examples(files.npz(Path(path), name or None)))


def _tfds(name: str) -> Raw:
    splits = tfds.read(name)
    test = Examples(*splits["test"]) if "test" in splits else None
    return Raw(Examples(*splits["train"]), test, version=tfds.version(name))


def _synthetic(place: str) -> Raw:
    """HxWxC:N uint8 images: random mixtures of eight smooth patterns, the same at every call."""
    height, width, channels, examples = (int(size) for size in re.findall(r"\d+", place))
    random = np.random.RandomState(0)
    y, x = np.mgrid[:height, :width] / max(height, width)
    phases = random.uniform(0, 2 * math.pi, (8, channels, 1, 1))
    frequencies = random.uniform(2, 12, (8, channels, 2, 1, 1))
    waves = np.sin(frequencies[:, :, 0] * y + frequencies[:, :, 1] * x + phases)
    patterns = (127.5 * (1 + waves)).transpose(0, 2, 3, 1).reshape(8, -1).astype(np.float32)
    values = np.empty((examples, patterns.shape[1]), np.uint8)
    for start in range(0, examples, 4096):  # bounds the float32 intermediate
        weights = random.dirichlet(np.full(8, 0.3), min(4096, examples - start)).astype(np.float32)
        values[start : start + 4096] = np.rint(weights @ patterns)
    return Raw(Examples(values.reshape(examples, height, width, channels)))


_NAMED: dict[str, Callable[[], Raw]] = {
    "digits": _digits,
    "mnist": lambda: _mnist_like("mnist"),
    "fashion_mnist": lambda: _mnist_like("fashion_mnist"),
}
_PLACED: dict[str, Callable[[str], Raw]] = {
    "idx": _idx,
    "npy": lambda place: Raw(Examples(npy.rows(Path(place)))),
    "npz": _npz,
    "tfds": _tfds,
    "synthetic": _synthetic,
}
