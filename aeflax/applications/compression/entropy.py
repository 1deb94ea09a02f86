"""Integers [N, K] as bytes and back: asymmetric numeral systems (Duda 2013), coded by `constriction`.

Each column has a table that says how often each integer comes, in integers that sum to 2^16. Nothing else decides what
a byte means, so that every machine decodes the same integers. Columns of like entropy share a table where that makes
the whole smaller; a column with one value takes no bits beside its table.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

TOTAL = 2**16  # what the frequencies of a table sum to
MAX_LEVELS = 2**12  # of a table; integers that come least often are outliers
_CODER_BITS = 24  # constriction's probabilities are multiples of 2^-24
_OUTLIER_BITS = 32

Counts = tuple[np.ndarray, np.ndarray]  # integers that occur, ascending, and how often


@dataclass(frozen=True)
class Table:
    """How often integers come.

    Attributes:
      levels: the integers, ascending [L].
      frequencies: of each, and last of outliers [L + 1]; they sum to 2^16, and only that of outliers may be 0.
    """

    levels: np.ndarray
    frequencies: np.ndarray

    @property
    def certain(self) -> bool:
        """Whether there is nothing to tell apart."""
        return bool(self.frequencies[0] == TOTAL)

    def places(self, column: np.ndarray) -> np.ndarray:
        """Integers [N] -> their places in the table [N] int32, that of outliers behind those of the levels."""
        found = np.searchsorted(self.levels, column)
        known = self.levels[np.minimum(found, len(self.levels) - 1)] == column
        return np.where(known, found, len(self.levels)).astype(np.int32)

    def bits(self, counts: Counts) -> float:
        """What integers that come so often take, outliers included."""
        places = self.places(counts[0])
        information = np.log2(TOTAL) - np.log2(self.frequencies[places])
        outliers = _OUTLIER_BITS * (places == len(self.levels))
        return float(np.sum(counts[1] * (information + outliers)))

    def model(self) -> Any:
        """The same for constriction, exactly.

        It gives each of n symbols 1 / 2^24, and the rest of 2^24 - n in proportion to what it is handed. Handed
        frequencies of 2^24 less 1, which sum to 2^24 - n, it scales by exactly 1, and all its sums are integers.
        """
        import constriction  # type: ignore[import-untyped]

        scaled = self.frequencies[self.frequencies > 0] * (2**_CODER_BITS // TOTAL)
        return constriction.stream.model.Categorical((scaled - 1).astype(np.float64), perfect=False, lazy=False)


@dataclass(frozen=True)
class Coded:
    """Coded integers, as `docs/container.md` describes them.

    Attributes:
      count: of tables.
      tables: the tables, and which column has which, deflated.
      outliers: integers that their table does not hold, column by column [E] int32.
      words: of the entropy coder [W] uint32.
    """

    count: int
    tables: bytes
    outliers: np.ndarray
    words: np.ndarray


def encode(symbols: np.ndarray) -> Coded:
    """Codes integers [N, K] int32 with N, K >= 1; equal integers give equal bytes."""
    import constriction

    counts = [np.unique(column, return_counts=True) for column in symbols.T]
    packed, tables, of = _smallest(counts)
    coder, outliers = constriction.stream.stack.AnsCoder(), []
    for column, table in reversed(list(zip(symbols.T, (tables[index] for index in of), strict=True))):
        place = table.places(column)
        outliers.append(column[place == len(table.levels)])
        if not table.certain:
            coder.encode_reverse(place, table.model())  # onto a stack: what is put last comes first
    joined = np.concatenate(outliers[::-1]).astype(np.int32)
    return Coded(len(tables), packed, joined, coder.get_compressed())


def decode(coded: Coded, count: int, width: int) -> np.ndarray:
    """The integers [count, width] int32 that were coded.

    Raises:
      ValueError: for what `encode` does not make.
    """
    import constriction

    tables, of = _unpacked(coded, width)
    coder = constriction.stream.stack.AnsCoder(np.asarray(coded.words, np.uint32))
    symbols, used = np.empty((width, count), np.int32), 0
    for column, index in zip(symbols, of, strict=True):
        table = tables[index]
        if table.certain:
            column[:] = table.levels[0]
            continue
        place = np.asarray(coder.decode(table.model(), count))
        outlying = place == len(table.levels)
        column[:] = np.append(table.levels, 0)[place]
        found = coded.outliers[used : (used := used + int(outlying.sum()))]
        if len(found) < outlying.sum():
            raise ValueError("outliers are missing")
        column[outlying] = found
    if not coder.is_empty() or used != len(coded.outliers):
        raise ValueError("more is coded than its integers take")
    return symbols.T


def _smallest(counts: Sequence[Counts]) -> tuple[bytes, list[Table], list[int]]:
    """The tables that make the whole smallest: deflated, as they are, and which column has which."""
    best, least = None, np.inf
    for groups in _groupings(counts):
        tables = [_table(_joined([counts[column] for column in group])) for group in groups]
        of = {column: index for index, group in enumerate(groups) for column in group}
        packed = _packed(tables, [of[column] for column in range(len(counts))])
        size = 8 * len(packed) + sum(tables[of[column]].bits(each) for column, each in enumerate(counts))
        if size < least:
            best, least = (packed, tables, [of[column] for column in range(len(counts))]), size
    assert best is not None
    return best


def _groupings(counts: Sequence[Counts]) -> Iterator[list[list[int]]]:
    """Columns that share a table: the constant ones by value, the others in 1, 2, 4, ... groups of like entropy."""
    constant: dict[int, list[int]] = {}
    varying = []
    for column, (levels, _) in enumerate(counts):
        if len(levels) == 1:
            constant.setdefault(int(levels[0]), []).append(column)
        else:
            varying.append(column)
    ordered = sorted(varying, key=lambda column: _entropy(counts[column][1]))
    number = 1
    while number < 2 * max(1, len(ordered)):
        groups = [ordered[part[0] : part[-1] + 1] for part in _parts(len(ordered), number)]
        yield [*constant.values(), *groups]
        number *= 2


def _parts(total: int, number: int) -> list[np.ndarray]:
    """0 .. total - 1 cut into so many runs of like length, none of them empty."""
    return [part for part in np.array_split(np.arange(total), min(number, max(total, 1))) if len(part)]


def _entropy(counts: np.ndarray) -> float:
    shares = counts / counts.sum()
    return float(-np.sum(shares * np.log2(shares)))


def _joined(counts: Sequence[Counts]) -> Counts:
    levels, place = np.unique(np.concatenate([each for each, _ in counts]), return_inverse=True)
    total = np.zeros(len(levels), np.int64)
    np.add.at(total, place, np.concatenate([each for _, each in counts]))
    return levels, total


def _table(counts: Counts) -> Table:
    """The table of integers that come so often."""
    levels, often = counts
    kept = np.sort(np.lexsort((np.abs(levels.astype(np.int64)), -often))[:MAX_LEVELS])
    rare = int(often.sum() - often[kept].sum())
    frequencies = _frequencies(np.append(often[kept], rare) if rare else often[kept])
    return Table(levels[kept].astype(np.int64), frequencies if rare else np.append(frequencies, 0))


def _frequencies(counts: np.ndarray) -> np.ndarray:
    """Counts [L] -> integers [L] in proportion that sum to 2^16, each at least 1."""
    spare = TOTAL - len(counts)
    shares, rest = np.divmod(counts.astype(np.int64) * spare, counts.sum())
    short = spare - int(shares.sum())
    shares[np.argsort(-rest, kind="stable")[:short]] += 1
    found: np.ndarray = 1 + shares
    return found


def _packed(tables: Sequence[Table], of: Sequence[int]) -> bytes:
    """Deflated int32, little-endian, first all lowest bytes, then all second ones, ...: most of the others are 0."""
    sizes = [len(table.levels) for table in tables]
    steps = [np.diff(table.levels, prepend=0) for table in tables]
    numbers = np.concatenate([of, sizes, *steps, *(table.frequencies for table in tables)]).astype("<i4")
    return zlib.compress(numbers.view(np.uint8).reshape(-1, 4).T.tobytes(), 9)


def _unpacked(coded: Coded, width: int) -> tuple[list[Table], list[int]]:
    most = 4 * (width + coded.count * (2 * MAX_LEVELS + 2))
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(coded.tables, most + 1)
    except zlib.error as error:
        raise ValueError(f"its tables are damaged: {error}") from error
    if not inflate.eof or inflate.unused_data or len(raw) % 4 or len(raw) > most:
        raise ValueError("its tables have another length")
    planes = np.frombuffer(raw, np.uint8).reshape(4, -1)
    numbers = np.ascontiguousarray(planes.T).view("<i4")[:, 0].astype(np.int64)
    of, sizes, rest = np.split(numbers, [width, width + coded.count])
    if len(of) < width or len(sizes) < coded.count or of.min() < 0 or of.max() >= coded.count:
        raise ValueError("its tables are not those of its columns")
    if sizes.min() < 1 or sizes.max() > MAX_LEVELS or len(rest) != 2 * sizes.sum() + len(sizes):
        raise ValueError("its tables have another length")
    steps, shares = np.split(rest, [int(sizes.sum())])
    levels = [np.cumsum(part) for part in np.split(steps, np.cumsum(sizes)[:-1])]
    frequencies = np.split(shares, np.cumsum(sizes + 1)[:-1])
    for table in map(Table, levels, frequencies):
        _require(table)
    return list(map(Table, levels, frequencies)), of.tolist()


def _require(table: Table) -> None:
    """Raises ValueError for a table that no integers have."""
    levels, frequencies = table.levels, table.frequencies
    bounds = np.iinfo(np.int32)
    if np.any(np.diff(levels) < 1) or levels[0] < bounds.min or levels[-1] > bounds.max:
        raise ValueError("its tables are not in order")
    if np.any(frequencies[:-1] < 1) or frequencies[-1] < 0 or frequencies.sum() != TOTAL:
        raise ValueError(f"the frequencies of a table do not sum to {TOTAL:,}")
