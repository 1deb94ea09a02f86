"""Readers of array files. Each returns arrays or raises DataError with the file, what is wrong and the mend.

Nothing is ever unpickled.
"""

import contextlib
import gzip
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aeflax.errors import DataError

IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(path: Path) -> np.ndarray:
    """Reads one IDX file, gzipped or plain (the format of MNIST)."""
    payload = _bytes(path)
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
    return np.frombuffer(payload, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {os.strerror(error.errno or 0)}; check the path") from error
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is a damaged or truncated gzip file ({error}); fetch it again") from error


def npy(path: Path) -> np.ndarray:
    """Reads an NPY file, memory-mapped."""
    with _reading(path, b"\x93NUMPY", "NPY"):
        loaded: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return loaded


def npz(path: Path, name: str | None) -> np.ndarray:
    """Reads one array of an NPZ file; `name` may be left out where there is only one."""
    with _reading(path, b"PK", "NPZ"), np.load(path, allow_pickle=False) as archive:
        names = list(archive.files)
        if name is None and len(names) == 1:
            name = names[0]
        if name not in names:
            raise DataError(f"{path} holds the arrays {', '.join(names) or '(none)'}; name one as npz:{path}#ARRAY")
        return np.asarray(archive[name])


@contextlib.contextmanager
def _reading(path: Path, magic: bytes, kind: str) -> Iterator[None]:
    """Turns what NumPy raises on a bad file into one clear sentence."""
    try:
        with path.open("rb") as file:
            if not file.read(len(magic)) == magic:
                raise DataError(f"{path} is no {kind} file; write it with numpy.{'save' if kind == 'NPY' else 'savez'}")
        yield
    except DataError:
        raise
    except (OSError, ValueError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        if "pickle" in str(error).lower():
            raise DataError(f"{path} holds Python objects, which are never loaded; save plain numbers") from error
        if isinstance(error, OSError) and error.errno:
            raise DataError(f"cannot read {path}: {os.strerror(error.errno)}; check the path") from error
        raise DataError(f"{path} is damaged ({error}); write it again") from error


def csv(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a table of numbers -> ([N, D] float32, labels or None).

    A first line with a cell that is not a number is a header; a column headed `label` is taken as the labels.
    """
    text = _bytes(path)
    try:
        lines = [line for line in text.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    header = [cell.strip().strip('"') for cell in lines[0].split(",")] if lines else []
    has_header = any(_number(cell) is None for cell in header)
    body = lines[1:] if has_header else lines
    if not body:
        raise DataError(f"{path} holds no rows of numbers; a table needs at least one")
    try:
        values = np.loadtxt(body, delimiter=",", ndmin=2, comments=None, quotechar='"')
    except ValueError as error:
        raise DataError(f"{path}: {_csv_fault(body, len(header), has_header) or error}") from error
    if values.shape[1] != len(header):
        raise DataError(f"{path}: the header names {len(header)} columns, the rows hold {values.shape[1]}")
    if has_header and "label" in header:
        column = header.index("label")
        return np.delete(values, column, axis=1).astype(np.float32), values[:, column]
    return values.astype(np.float32), None


def _csv_fault(body: list[str], columns: int, has_header: bool) -> str | None:
    for row, line in enumerate(body, start=2 if has_header else 1):
        cells = line.split(",")
        if len(cells) != columns:
            return f"line {row} holds {len(cells)} cells, expected {columns}"
        for column, cell in enumerate(cells, start=1):
            if _number(cell.strip().strip('"')) is None:
                what = "is missing" if not cell.strip() else f"is {cell.strip()[:40]!r}, not a number"
                return f"the value in line {row}, column {column} {what}; fill it in or drop the line"
    return None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
