"""Examples of any file or source, read in batches; what is larger than memory is never held whole."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from aeflax.config import Data
from aeflax.config.sources import TABULAR
from aeflax.data import files, npy, parquet, tables
from aeflax.data.checks import prepared, require_examples
from aeflax.data.columns import LABEL
from aeflax.data.places import is_source, require_readable, source_file, split_array
from aeflax.data.rows import Listed, Rows, joined, take
from aeflax.data.sources import PLAIN, Examples, read
from aeflax.errors import ConfigError, DataError

Split = Literal["train", "test", "all"]
ALL = slice(None)


@dataclass(frozen=True)
class Inputs:
    """Examples to be put through a model.

    Attributes:
      name: what errors call them.
      values: [N, D], [N, H, W] or [N, H, W, C] as stored, or read when they are asked for.
      labels: [N], None where there are none.
      columns: names of the features of a table with a header, else None.
      fill: what stands for a missing value of each feature, [F]; None: none may be missing.
      carried: columns [N] of a table that are no features and go along to what is made of the examples, by name.
      rows: where in its source each example stands [N], of a part of one; None: in this order.
    """

    name: str
    values: Rows
    labels: Rows | None = None
    columns: tuple[str, ...] | None = None
    fill: np.ndarray | None = None
    carried: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example in a batch, (H, W, C) or (D,)."""
        shape = self.values.shape[1:]
        return (*shape, 1) if len(shape) == 2 else shape

    def part(self, name: str, rows: np.ndarray) -> "Inputs":
        """Those that stand at some rows [K], under a name of their own."""
        return replace(
            self,
            name=name,
            values=take(self.values, Listed(rows)),
            labels=None if self.labels is None else take(self.labels, Listed(rows)),
            carried={column: values[rows] for column, values in self.carried.items()},
            rows=rows,
        )

    def at(self, where: slice | np.ndarray, name: str | None = None) -> np.ndarray:
        """Some of the values, [B, D] or [B, H, W, C], uint8 as stored, else float32; what is missing is filled.

        Args:
          where: which.
          name: what an error calls them; None: as all of them.

        Raises:
          DataError: for a value that is not finite.
        """
        return self.read(where, name)[0]

    def read(self, where: slice | np.ndarray, name: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """The same, and which of the values were missing [B, F]; None where none may be. Errors as `at`."""
        index = where if isinstance(where, np.ndarray) else where.start or 0
        stored = np.asarray(self.values[where])
        gaps = self.fill is not None and stored.dtype.kind == "f"
        missing = np.isnan(stored).reshape(len(stored), -1) if gaps else None
        return prepared(stored, name or self.name, index, self.fill), missing

    def described(self, made: Mapping[str, np.ndarray], rows: slice = ALL) -> dict[str, np.ndarray]:
        """What was made of some of the examples, arrays [B, ...] by name, with what is carried along and their `label`.

        Raises:
          ConfigError: where a column that is carried along has the name of what was made.
        """
        if twice := [name for name in self.carried if name in (*made, LABEL)]:
            raise ConfigError(f"what is written has a {twice[0]!r} of its own; leave it out of --carry, or rename it")
        labels = {} if self.labels is None else {LABEL: np.asarray(self.labels[rows])}
        return {**made, **{name: column[rows] for name, column in self.carried.items()}, **labels}


def open_examples(
    place: str,
    split: Split = "all",
    *,
    how: Data = PLAIN,
    fill: np.ndarray | None = None,
    take: tuple[str, ...] | None = None,
) -> Inputs:
    """Opens the examples that a word of the command line names.

    Args:
      place: a path to an NPY, NPZ (FILE.npz#ARRAY where it holds several), CSV, Parquet or IDX file, CSV and IDX
        also gzipped; or a source as `data.source` takes it.
      split: of a source that brings its own; `all` joins them.
      how: as the data of the run were read that the examples are for; columns to `drop` may be gone already.
      fill: what stands for missing values, as in `Inputs`.
      take: of a table, columns by name that are the features; None: all of them, as they stand.

    Raises:
      ConfigError: for a split that the source does not bring.
      DataError: for examples that cannot be read, or that their type and shape rule out.
    """
    require_readable(place)
    found = _of_source(place, split, how, take) if is_source(place) else _of_file(place, split, how, take)
    require_examples(found.values, place)
    return Inputs(place, found.values, found.labels, take or columns_of(place, how), fill)


def columns_of(place: str, how: Data = PLAIN) -> tuple[str, ...] | None:
    """Names of the features of the table that a word of the command line names; None for what is no such table.

    Args:
      place: the word.
      how: as the data of a run are read, whose `drop` and `label` are no features.

    Raises:
      DataError: where it cannot be read.
    """
    path = _table(place)
    header = None if path is None else tables.columns(path)
    if header is None:
        return None
    return tuple(name for name in header if name not in (*how.drop, how.label))


def labels_of(place: str, name: str, *, needed: bool) -> np.ndarray | None:
    """The column [N] of a table that holds labels, whatever the run that it is for has left out; None: there is none.

    Args:
      place: a word of the command line.
      name: of the column.
      needed: whether it must be there.

    Raises:
      ConfigError: where it must be, and the word names no table.
      DataError: where it must be, and the table has no such column.
    """
    path = _table(place)
    if path is None and needed:
        raise ConfigError(f"{place} is no table, which could have a column {name!r} of labels; leave --label out")
    if path is None or not (needed or name in (tables.columns(path) or ())):
        return None
    return tables.labels(path, name)


def carried(place: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns [N] of the table that a word of the command line names, as they stand.

    Raises:
      ConfigError: where it names no table.
      DataError: where the table has no such columns.
    """
    path = _table(place)
    if path is None:
        raise ConfigError(f"{place} is no table, whose columns could be carried along; leave --carry out")
    return tables.carried(path, names)


def batches(inputs: Inputs, size: int) -> Iterator[Examples]:
    """The examples in order, `size` at a time (the last may be fewer), each read when it is asked for.

    Values are [B, D] or [B, H, W, C], uint8 as stored, else float32.

    Raises:
      DataError: at the first batch with a value that is not finite.
    """
    if size < 1:
        raise ValueError(f"size={size}: a batch holds at least one example")
    for first in range(0, len(inputs), size):
        rows = slice(first, first + size)
        last = min(first + size, len(inputs)) - 1
        of = "" if size >= len(inputs) else f" (examples {first} to {last})"
        values, missing = inputs.read(rows, inputs.name + of)
        yield Examples(values, None if inputs.labels is None else inputs.labels[rows], missing=missing)


def _table(place: str) -> Path | None:
    """The file of the table that a word of the command line names; None for what is no table."""
    path = source_file(place)
    kind = place.partition(":")[0] if is_source(place) or path is None else _kind(path)
    return path if kind in TABULAR else None


def _of_source(source: str, split: Split, how: Data, take: tuple[str, ...] | None) -> Examples:
    raw = read(source, how, take)
    if raw.test is None:
        _require_all(source, split)
        return raw.train
    if split != "all":
        return raw.train if split == "train" else raw.test
    train, test = raw.train, raw.test
    if train.values.shape[1:] != test.values.shape[1:]:
        raise DataError(
            f"{source}: training examples have the shape {train.values.shape[1:]}, test examples "
            f"{test.values.shape[1:]}; they must agree to be joined"
        )
    labels = None if train.labels is None or test.labels is None else joined(train.labels, test.labels)
    return Examples(joined(train.values, test.values), labels)


def _of_file(place: str, split: Split, how: Data, take: tuple[str, ...] | None) -> Examples:
    _require_all(place, split)
    path, array = split_array(place)
    match _kind(path):
        case "npy":
            return Examples(npy.rows(path))
        case "npz":
            return Examples(files.npz(path, array or None))
        case "csv" | "parquet":
            return Examples(*tables.read(path, missing=how.impute != "none", drop=how.drop, label=how.label, take=take))
        case _:
            return Examples(files.idx(path))


def _require_all(place: str, split: Split) -> None:
    if split != "all":
        raise ConfigError(f"{place} brings no split {split!r} of its own; take --split all")


def _kind(path: Path) -> str:
    """The format of a file by its suffix, else by its first bytes: npy, npz, csv, parquet or idx."""
    name = path.name.lower().removesuffix(".gz")
    kinds = {
        ".npy": "npy",
        ".npz": "npz",
        ".csv": "csv",
        ".tsv": "csv",
        ".parquet": "parquet",
        ".idx": "idx",
        "-ubyte": "idx",
    }
    for ending, kind in kinds.items():
        if name.endswith(ending):
            return kind
    start = files.first_bytes(path, 4)
    if start == b"\x93NUM":
        return "npy"
    if start == parquet.MAGIC:
        return "parquet"
    if start == b"PK\x03\x04":
        return "npz"
    if start[:2] == b"\0\0" and start[2:3] and start[2] in files.IDX_DTYPES:
        return "idx"
    raise DataError(f"{path} is of no kind that is read; give it as .npy, .npz, .csv, .parquet or IDX")
