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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aeflax.errors import DataError, reason

UNPACKED, RATIO = 2**28, 100  # what unpacks to more bytes than this, and to so many times its size, is refused
OF_WORKBOOK = "save its sheet as CSV, or pass the data frame that pandas.read_excel makes of it"
IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(path: Path) -> np.ndarray:
    """Reads one IDX file, gzipped or plain (the format of MNIST)."""
    payload = content(path, _idx_size)
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


def content(path: Path, size_of: Callable[[bytes], int | None] = lambda _: None) -> bytes:
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


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file's content, unpacked where it is gzipped; fewer where there are no more."""
    try:
        _require_ordinary(path)
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return (gzip.GzipFile(fileobj=file) if packed else file).read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is a damaged or truncated gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {os.strerror(error.errno or 0)}; check the path") from error


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
            if any(name.endswith(".xml") for name in shown):
                raise DataError(f"{path} is a workbook, not an archive of arrays; {OF_WORKBOOK}")
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
