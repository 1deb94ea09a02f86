"""Files that run code or fill the memory when they are unpacked."""

import functools
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from faults import forged
from faults.scene import Attacks, Scene

BOMB = 2**32 - 2**20  # bytes that one unpacks to


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def pickles(scene: Scene) -> Attacks:
    """Objects whose unpickling runs code."""
    objects, raw = forged.npy(np.array([Payload(scene.marker)] * 3, object)), pickle.dumps(Payload(scene.marker))
    npy, npz = scene.given("a.npy", objects), scene.given("a.npz", forged.npz({"values.npy": objects}))
    yield "an NPY of objects", lambda: scene.train(f"npy:{npy}")
    yield "an NPZ of objects", lambda: scene.train(f"npz:{npz}")
    plain = scene.given("b.npy", raw)
    yield "a pickle called .npy", lambda: scene.train(f"npy:{plain}")
    loose = scene.given("b.npz", raw)
    yield "a pickle called .npz", lambda: scene.said("encode", "run", loose, "out.npy", codes=(5,))
    member = scene.given("c.npz", forged.npz({"values.npy": raw}))
    yield "a pickle in an NPZ", lambda: scene.said("encode", "run", member, "out.npy", codes=(5,))

    def of_a_run() -> str:
        members = {"values.npy": objects, "index.npy": forged.npy(np.arange(3)), "labels.npy": objects}
        (scene.run / "examples.npz").write_bytes(forged.npz(members))
        return scene.said("report", "run", codes=(0, 5))

    yield "objects in examples.npz", of_a_run


@functools.cache
def _deflated() -> tuple[bytes, bytes, bytes]:
    """16 MiB of zeros deflated, to be repeated; what ends a stream; an NPY header before them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return part, zlib.compressobj(9, zlib.DEFLATED, -15).flush(), forged.npy_header((BOMB // 64 - 8, 64))


def _stream(start: bytes) -> bytes:
    """Deflated: the start, then zeros, BOMB bytes in all or a little less."""
    part, end, _ = _deflated()
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    return packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH) + part * (BOMB // 2**24 - 1) + end


def zip_bomb(names: tuple[str, ...]) -> bytes:
    """An NPZ whose members unpack to BOMB bytes each."""
    packed, local, central = _stream(_deflated()[2]), b"", b""
    size = len(_deflated()[2]) + (BOMB // 2**24 - 1) * 2**24
    for name in (f"{name}.npy".encode() for name in names):
        shared = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, 0, len(packed), size, len(name), 0)
        central += b"PK\1\2" + b"\x14\0" + shared + struct.pack("<HHHII", 0, 0, 0, 0, len(local)) + name
        local += b"PK\3\4" + shared + name + packed
    end = struct.pack("<HHHHIIH", 0, 0, len(names), len(names), len(central), len(local), 0)
    return local + central + b"PK\5\6" + end


def gzip_bomb(start: bytes) -> bytes:
    """A gzip file of a start and zeros."""
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + _stream(start) + struct.pack("<II", 0, 0)


def bombs(scene: Scene) -> Attacks:
    """Archives that unpack to gigabytes."""
    single = scene.given("a.npz", zip_bomb(("values",)))
    yield "an NPZ", lambda: scene.train(f"npz:{single}")
    yield "an NPZ to encode", lambda: scene.said("encode", "run", f"{single}#values", "out.npy", codes=(5,))

    def of_a_run() -> str:
        (scene.run / "examples.npz").write_bytes(zip_bomb(("values", "index", "labels")))
        return scene.said("report", "run", codes=(0, 5))

    yield "examples.npz", of_a_run
    for count, what in ((BOMB // 784 - 10**5, "IDX, as its header says"), (10, "IDX, longer than its header says")):
        idx = b"\0\0\x08\x03" + struct.pack(">iii", count, 28, 28)

        def folder(idx: bytes = idx) -> str:
            for name in ("train", "t10k"):
                scene.given(f"{name}-images-idx3-ubyte.gz", gzip_bomb(idx))
                scene.given(f"{name}-labels-idx1-ubyte.gz", gzip_bomb(b"\0\0\x08\x01" + struct.pack(">i", 10)))
            return scene.train("idx:given")

        yield what, folder
    table = scene.given("a.csv.gz", gzip_bomb(b"1,2\n3,4\n"))
    yield "a CSV", lambda: scene.said("encode", "run", table, "out.npy", codes=(5,))
    other = scene.given("noname", gzip_bomb(b"\0\0\x08\x03"))
    yield "a file without a suffix", lambda: scene.said("encode", "run", other, "out.npy", codes=(5,))
