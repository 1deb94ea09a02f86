"""The container of a compressed data set; its bytes are laid out in `docs/container.md`.

Everything about a container that can be told without its model is told before anything is decoded. Needs NumPy and the
standard library; the entropy coder is imported when integers are coded.
"""

import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from aeflax.applications.compression.entropy import Coded, decode, encode
from aeflax.applications.compression.quantization import MAX_STEP
from aeflax.errors import ConfigError, DataError
from aeflax.storage.durable import replacing

SUFFIX = ".aez"
MAGIC = b"\x89AEZ\r\n\x1a\n"  # as PNG's: a transfer as text damages it
VERSION = 1
MAX_UNPACKED, MAX_RATIO = 2**28, 2**10  # more bytes of codes than both, for each byte of a container, are refused
DTYPES = ("uint8", "float32")
_HEAD = struct.Struct("<8sHI")  # magic, version, bytes of the header
_DIGEST = 32  # bytes of SHA-256 at the end
_MAX_HEADER = 2**16
_MAX_INTEGER = 2**40


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a container says of itself.

    Attributes:
      aeflax: the version that wrote it.
      state_sha256: digest of the model's state.
      shape: of an example, (D,) or (H, W, C).
      dtype: of the examples as they were read, uint8 or float32.
      count: of examples, N.
      code_size: integers of an example, K.
      step_size: between two quantised values of a code.
      tables: of the entropy coder.
      table_bytes: that they take.
      outliers: integers that are stored as they are.
      words: of 32 bits that the entropy coder wrote.
    """

    aeflax: str
    state_sha256: str
    shape: tuple[int, ...]
    dtype: str
    count: int
    code_size: int
    step_size: float
    tables: int
    table_bytes: int
    outliers: int
    words: int

    @property
    def payload_bytes(self) -> int:
        """Of coded integers, without what tells how they are coded."""
        return 4 * (self.outliers + self.words)


@dataclass(frozen=True)
class Container:
    """A container that is what was written.

    Attributes:
      name: what errors call it.
      header: what it says of itself.
      coded: the integers.
    """

    name: str
    header: Header
    coded: Coded

    def symbols(self) -> np.ndarray:
        """The integers [N, K] int32.

        Raises:
          DataError: for what `pack` does not make.
        """
        try:
            return decode(self.coded, self.header.count, self.header.code_size)
        except ValueError as error:
            raise _damaged(self.name, str(error)) from error

    def require(self, state_sha256: str, shape: tuple[int, ...], code_size: int) -> None:
        """Raises DataError unless a model of this state, with such examples and units of its code, wrote it."""
        header = self.header
        if header.state_sha256 != state_sha256:
            raise DataError(
                f"{self.name} was compressed by a model of the digest {header.state_sha256}, and this one's is "
                f"{state_sha256}; give the run, and the checkpoint by --step, that compressed it"
            )
        flat = (math.prod(shape),)  # as rows of a table give it
        if header.shape not in (shape, flat) or header.code_size != code_size:
            raise _damaged(self.name, "its shapes are not those of its model")


def pack(symbols: np.ndarray, *, state_sha256: str, shape: tuple[int, ...], dtype: str, step_size: float) -> bytes:
    """Integers [N, K] int32 as a container; equal arguments give equal bytes.

    Raises:
      DataError: for more of them than a container may hold.
    """
    coded = encode(symbols)
    count, code_size = symbols.shape
    header = Header(
        aeflax=version("aeflax"),
        state_sha256=state_sha256,
        shape=shape,
        dtype=dtype,
        count=count,
        code_size=code_size,
        step_size=float(step_size),
        tables=coded.count,
        table_bytes=len(coded.tables),
        outliers=len(coded.outliers),
        words=len(coded.words),
    )
    text = json.dumps(asdict(header), separators=(",", ":")).encode()
    parts = (coded.tables, coded.outliers.astype("<i4").tobytes(), coded.words.astype("<u4").tobytes())
    content = b"".join((_HEAD.pack(MAGIC, VERSION, len(text)), text, *parts))
    if (fault := _immoderate(header, len(content))) is not None:
        raise DataError(f"{fault}; compress the examples in several parts")
    return content + hashlib.sha256(content).digest()


def unpack(data: bytes, name: str) -> Container:
    """The container in bytes, all of which belong to it.

    Raises:
      DataError: for what is no container, damaged, or of a format to come.
    """
    if not data.startswith(MAGIC):
        raise DataError(f"{name} is no container of compressed codes, as aeflax compress writes them; check the path")
    content = memoryview(data)[:-_DIGEST]
    if len(content) < _HEAD.size or hashlib.sha256(content).digest() != data[-_DIGEST:]:
        raise _damaged(name, "its SHA-256 differs")
    _, number, length = _HEAD.unpack_from(data)
    if number != VERSION:
        mend = "install a newer aeflax" if number > VERSION else "compress the examples again"
        raise DataError(f"{name} has version {number} of the format, and this aeflax reads {VERSION}; {mend}")
    start = _HEAD.size + length
    if length > min(_MAX_HEADER, len(content)):
        raise _damaged(name, "its header is too long")
    try:
        header = _header(json.loads(bytes(content[_HEAD.size : start])))
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(name, f"its header cannot be read: {error}") from error
    if start + header.table_bytes + header.payload_bytes != len(content):
        raise _damaged(name, "its parts have other lengths")
    if (fault := _immoderate(header, len(data))) is not None:
        raise _damaged(name, fault)
    outliers, words = start + header.table_bytes, start + header.table_bytes + 4 * header.outliers
    coded = Coded(
        header.tables,
        bytes(content[start:outliers]),
        np.frombuffer(content[outliers:words], "<i4"),
        np.frombuffer(content[words:], "<u4"),
    )
    return Container(name, header, coded)


def read(path: Path) -> Container:
    """The container in a file.

    Raises:
      DataError: where there is none, or as `unpack` does.
    """
    if not path.is_file():
        raise DataError(f"cannot read {path}: it is no file; check the path")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {os.strerror(error.errno or 0)}; check the path") from error
    return unpack(data, str(path))


def write(path: Path, data: bytes) -> None:
    """Replaces a file, or what it points to where it is a link, once all is written.

    Raises:
      ConfigError: where it cannot be written.
    """
    try:
        with replacing(path, through_links=True) as file:
            file.write(data)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; choose another place") from error


def _immoderate(header: Header, size: int) -> str | None:
    """What is wrong with codes that take far more room than their container."""
    unpacked = 4 * header.count * header.code_size
    if unpacked <= max(MAX_UNPACKED, MAX_RATIO * size):
        return None
    return f"{header.count:,} examples of {header.code_size:,} integers are more than a container of its size may hold"


def _damaged(name: str, fault: str) -> DataError:
    return DataError(f"{name} is damaged ({fault}); compress the examples again, or fetch it again")


def _header(found: Any) -> Header:
    """A header from JSON. Raises ValueError or TypeError for one that no container has."""
    if not isinstance(found, Mapping) or set(found) != {field.name for field in fields(Header)}:
        raise ValueError("it has other fields")
    for name, sound in _SOUND.items():
        if not sound(found[name]):
            raise ValueError(f"{name} cannot be {str(found[name])[:40]!r}")
    if found["tables"] > found["code_size"]:
        raise ValueError("it has more tables than its codes have units")
    return Header(**{**found, "shape": tuple(found["shape"]), "step_size": found["step_size"]})


def _integer(least: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= _MAX_INTEGER


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (1, 3) and all(map(_integer(1), value))


def _is_step(value: Any) -> bool:
    return type(value) is float and 0.0 < value <= MAX_STEP


_SOUND: Mapping[str, Callable[[Any], bool]] = {
    "aeflax": lambda value: isinstance(value, str) and len(value) <= 64,
    "state_sha256": lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None,
    "shape": _is_shape,
    "dtype": lambda value: value in DTYPES,
    "count": _integer(1),
    "code_size": _integer(1),
    "step_size": _is_step,
    "tables": _integer(1),
    "table_bytes": _integer(1),
    "outliers": _integer(0),
    "words": _integer(0),
}
