"""Files of data, written by hand, so that they can say what no library would write."""

import io
import struct
import zipfile
import zlib

import numpy as np


def npy(values: np.ndarray) -> bytes:
    """An NPY file, of objects too."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=values.dtype == object)
    return file.getvalue()


def npy_header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    """What an NPY file begins with."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def npz(members: dict[str, bytes]) -> bytes:
    """An archive of members with these contents."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def png(width: int, height: int, rows: bytes, more: bytes = b"") -> bytes:
    """A grey PNG with compressed rows, and with more chunks before them."""
    start = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + more + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with the checksum that it then has."""
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
