"""Readers of array files. Each returns arrays or raises DataError with the file, what is wrong and the mend.

Nothing is ever unpickled, and nothing is unpacked that was made to fill memory.
"""

import contextlib
import gzip
import io
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from csv import Error as CsvError
from csv import reader
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aeflax.errors import DataError, reason

UNPACKED, RATIO = 2**28, 100  # what unpacks to more bytes than this, and to so many times its size, is refused
MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}  # cells of a table without a value, in small letters
MEND = "fill it in, drop the line, or let --data.impute fill it"
IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(path: Path) -> np.ndarray:
    """Reads one IDX file, gzipped or plain (the format of MNIST)."""
    payload = _bytes(path, _idx_size)
    if len(payload) < 4 or payload[:2] != b"\0\0" or payload[2] not in IDX_DTYPES:
        raise DataError(
            f"{path} is no IDX file: its magic number is 0x{payload[:4].hex()}, expected 0x0000 and a type code; "
            "fetch the file again"
        )
    dtype, rank = np.dtype(IDX_DTYPES[payload[2]]), payload[3]
    header = 4 + 4 * rank
    shape = [int.from_bytes(payload[i : i + 4], "big", signed=True) for i in range(4, header, 4)]
    if len(payload) < header or any(size < 0 for size in shape):
        raise DataError(f"{path} has a damaged IDX header with the sizes {shape}; fetch the file again")
    expected = header + math.prod(shape) * dtype.itemsize
    if len(payload) != expected:
        raise DataError(
            f"{path} holds {len(payload)} bytes where its header, sizes {shape}, asks for {expected}; "
            "fetch the file again"
        )
    try:
        values = np.frombuffer(payload, dtype, offset=header).reshape(shape)
    except ValueError as error:  # no bytes to hold, but more axes or larger sizes than NumPy takes
        raise DataError(f"{path} has a damaged IDX header ({error}); fetch the file again") from error
    return values.astype(dtype.newbyteorder("="))


def _idx_size(start: bytes) -> int | None:
    """Bytes of the IDX file that begins like this, by its header."""
    if len(start) < 4 or start[2] not in IDX_DTYPES:
        return None
    sizes = (int.from_bytes(start[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(start[3]))
    return 4 + 4 * start[3] + math.prod(sizes) * np.dtype(IDX_DTYPES[start[2]]).itemsize


def _bytes(path: Path, size_of: Callable[[bytes], int | None] = lambda _: None) -> bytes:
    """Content of a file, unpacked where it is gzipped; `size_of` tells from its first bytes how long it will be."""
    try:
        _require_ordinary(path)
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {os.strerror(error.errno or 0)}; check the path") from error
    if raw[:2] != b"\x1f\x8b":
        return raw
    parts, total = [], 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            while part := file.read(2**20):
                parts.append(part)
                total += len(part)
                _require_moderate(path, max(total, size_of(parts[0]) or 0), len(raw), "unpack it with gunzip first")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is a damaged or truncated gzip file ({error}); fetch it again") from error
    return b"".join(parts)


def _require_ordinary(path: Path) -> None:
    """Refuses what would be waited for or has no end, such as a pipe. Raises OSError where there is nothing."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder, reading it tells
        raise DataError(f"{path} is no ordinary file; store the examples in one")


def _require_moderate(path: Path, unpacked: int, packed: int, mend: str) -> None:
    """Refuses a small file that unpacks to a large one."""
    if unpacked > max(UNPACKED, RATIO * packed):
        raise DataError(
            f"{path} has {packed:,} bytes and unpacks to {unpacked:,} or more, as files do that are made to fill "
            f"memory; if it was not, {mend}"
        )


def npy(path: Path) -> np.ndarray:
    """Reads an NPY file, memory-mapped."""
    with _reading(path, b"\x93NUMPY", "NPY"):
        loaded: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        size, expected = path.stat().st_size, loaded.offset + loaded.nbytes  # type: ignore[attr-defined]
        if size != expected:  # less is found above
            raise DataError(
                f"{path} holds {size} bytes where its header, of the shape {loaded.shape}, asks for {expected}; "
                "write it again"
            )
        return loaded


def npz(path: Path, name: str | None) -> np.ndarray:
    """Reads one array of an NPZ file; `name` may be left out where there is only one."""
    # NumPy gets the open file: given the path, it leaves the file open where the archive is damaged.
    with _reading(path, b"PK\x03\x04", "NPZ") as file, np.load(file, allow_pickle=False) as archive:
        names = list(archive.files)
        if name is None and len(names) == 1:
            name = names[0]
        if name is None or name not in names:
            shown = [each if each.isprintable() else repr(each) for each in names[:20]]
            raise DataError(f"{path} holds the arrays {', '.join(shown) or '(none)'}; name one as npz:{path}#ARRAY")
        return _members(path, archive, [name])[name]


def npz_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads every array of an NPZ file."""
    with _reading(path, b"PK\x03\x04", "NPZ") as file, np.load(file, allow_pickle=False) as archive:
        return _members(path, archive, archive.files)


def _members(path: Path, archive: np.lib.npyio.NpzFile, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of an archive, as far as it was not made to fill memory."""
    wanted = {*names, *(f"{name}.npy" for name in names)}
    held: list[zipfile.ZipInfo] = archive.zip.infolist()  # type: ignore[union-attr]
    unpacked = sum(member.file_size for member in held if member.filename in wanted)
    _require_moderate(path, unpacked, path.stat().st_size, "save it with numpy.savez, uncompressed")
    found = {name: np.asarray(archive[name]) for name in names}
    for name, values in found.items():
        if values.dtype.kind == "S" and values.ndim == 0:  # what NumPy gives of a member that is no array
            raise DataError(f"{path} holds {name!r}, which is no array; write it with numpy.savez")
    return found


@contextlib.contextmanager
def _reading(path: Path, magic: bytes, kind: str) -> Iterator[BinaryIO]:
    """Opens the file and turns what NumPy raises on a bad one into one clear sentence."""
    try:
        _require_ordinary(path)
        with path.open("rb") as file:
            if not file.read(len(magic)) == magic:
                raise DataError(f"{path} is no {kind} file; write it with numpy.{'save' if kind == 'NPY' else 'savez'}")
            file.seek(0)
            yield file
    except DataError:
        raise
    except Exception as error:  # NumPy and zipfile raise a dozen kinds on damaged bytes, down to IndexError
        if "pickle" in str(error).lower() or "Python objects" in str(error):
            raise DataError(f"{path} holds Python objects, which are never loaded; save plain numbers") from error
        if isinstance(error, OSError) and error.errno:
            raise DataError(f"cannot read {path}: {os.strerror(error.errno)}; check the path") from error
        raise DataError(f"{path} is damaged ({reason(error)}); write it again") from error


def csv(path: Path, *, missing: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a table of numbers -> ([N, D] float64, labels [N] or None).

    A first line of names is a header, in which some may be numbers counted up from 0 or 1; a column headed `label` is
    taken as the labels: int64 where all of them are integers, as classes are, else float64. Where values may be
    `missing`, a cell that is empty or says so becomes NaN; else it is an error.
    """
    try:
        text = _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    lines = [(row, line) for row, line in enumerate(io.StringIO(text, newline=None), start=1) if line.strip()]
    header = _cells(lines[0][1]) if lines else []
    # An empty cell is a missing value, not text: a row that has one must not pass for a header and vanish.
    has_header = any(_is_text(cell) for cell in header)
    if has_header and (stray := _stray(header)) is not None:
        raise DataError(
            f"{path}: line {lines[0][0]} is neither a header nor numbers: column {stray + 1} is {header[stray][:40]!r} "
            "between numbers; mend the cell, or name all columns"
        )
    body = lines[1:] if has_header else lines
    if not body:
        raise DataError(f"{path} holds no rows of numbers; a table needs at least one")
    if missing:
        body = [(row, _line(_present(cell) or "nan" for cell in _cells(line))) for row, line in body]
    try:
        values = np.loadtxt([line for _, line in body], delimiter=",", ndmin=2, comments=None, quotechar='"')
    except ValueError as error:
        raise DataError(f"{path}: {_csv_fault(body, header, named=has_header) or error}") from error
    if values.shape[1] != len(header):
        raise DataError(f"{path}: the header names {len(header)} columns, the rows hold {values.shape[1]}")
    absent = np.argwhere(np.isnan(values) & (np.array(header) != "label"))
    if has_header and len(absent) and not missing:
        row, column = (int(i) for i in absent[0])
        place = f"line {body[row][0]}, column {_named(column, header)}"
        raise DataError(f"{path}: the value in {place} is missing; {MEND} ({len(absent)} are)")
    if has_header and "label" in header:
        column = header.index("label")
        return np.delete(values, column, axis=1), _labels(values[:, column])
    return values, None


def _labels(column: np.ndarray) -> np.ndarray:
    whole = np.isfinite(column) & (np.abs(column) < 2**53) & (column == np.rint(column))
    return column.astype(np.int64) if whole.all() else column


def csv_columns(path: Path) -> tuple[str, ...] | None:
    """Names of a table's columns without that of its labels; None where it has no header.

    Raises:
      DataError: where the file cannot be read.
    """
    start = _start_of_text(path)
    line = next((line for line in io.StringIO(start, newline=None) if line.strip()), "")
    header = _cells(line)
    if not any(_is_text(cell) for cell in header):
        return None
    if "label" in header:
        header.remove("label")
    return tuple(header)


def _start_of_text(path: Path) -> str:
    """The first MiB of a file of text, unpacked where it is gzipped."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            start = (gzip.GzipFile(fileobj=file) if packed else file).read(2**20)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is a damaged or truncated gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {os.strerror(error.errno or 0)}; check the path") from error
    return start.decode("utf-8-sig", errors="replace")


def _named(column: int, header: list[str]) -> str:
    """A column by its place, from 1 on, and its name."""
    return f"{column + 1} ({header[column][:40]!r})"


def _csv_fault(body: list[tuple[int, str]], header: list[str], *, named: bool) -> str | None:
    columns = len(header)
    rows = [(row, _cells(line)) for row, line in body]
    for row, cells in rows:
        if len(cells) != columns:
            return f"line {row} holds {len(cells)} cells, expected {columns}"
        for column, cell in enumerate(cells):
            if _number(cell) is not None:
                continue
            place = f"the value in line {row}, column {_named(column, header) if named else column + 1}"
            if not _present(cell):
                return f"{place} is missing; {MEND}"
            if named and header[column] == "label":
                return f"{place} is {cell[:40]!r}; labels are whole numbers: number them, or rename the column"
            if columns == 1 and ";" in cell:
                return f"{place} is {cell[:40]!r}; cells are separated by commas, not semicolons"
            wordy = [place for place in range(columns) if all(_is_text(_at(other, place)) for _, other in rows)]
            if len(wordy) > 1:
                names = ", ".join(_named(place, header) if named else str(place + 1) for place in wordy)
                return f"the columns {names} hold text, not numbers; drop them"
            mend = "column" if column in wordy else "line"
            return f"{place} is {cell[:40]!r}, not a number; drop the {mend} or write a number"
    return None


def _at(cells: list[str], column: int) -> str:
    return cells[column] if column < len(cells) else ""


def _cells(line: str) -> list[str]:
    try:
        cells = next(reader([line]))
    except CsvError:  # a cell beyond the reader's 131,072 characters, which is no number anyway
        cells = line.split(",")
    return [cell.strip() for cell in cells]


def _line(cells: Iterable[str]) -> str:
    """Cells as a line again, quoted where they hold what separates cells."""
    return ",".join(f'"{cell}"' if "," in cell else cell for cell in cells)


def _present(cell: str) -> str:
    """The cell, empty where it says that its value is missing."""
    return "" if cell.lower() in MISSING else cell


def _stray(header: list[str]) -> int | None:
    """The place of a cell of text in a first line that is data; None for names, or numbers counted up among them."""
    numbers = [found for cell in header if _present(cell) and (found := _number(cell)) is not None]
    if not numbers or numbers in (list(range(len(numbers))), list(range(1, len(numbers) + 1))):
        return None
    return next(place for place, cell in enumerate(header) if _is_text(cell))


def _is_text(cell: str) -> bool:
    """Whether a cell is neither a number nor a missing one."""
    return bool(_present(cell)) and _number(cell) is None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
