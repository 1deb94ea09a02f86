"""Files that claim, or have, sizes that nobody should believe."""

import zlib

from faults import forged
from faults.scene import Attacks, Scene


def shapes(scene: Scene) -> Attacks:
    """Headers, tables and images that claim to be huge."""
    for shape in ((2**40, 28, 28), (2**62, 2), (-1, 5), (3,) * 40, (10**30, 2), (0, 2**40), (2**31, 0)):
        npy = scene.given(f"{len(str(shape))}{shape[0]}.npy", forged.npy_header(shape) + bytes(100))
        yield f"an NPY of the shape {shape[:3]}", lambda npy=npy: scene.train(f"npy:{npy}")
    npz = scene.given("a.npz", forged.npz({"values.npy": forged.npy_header((2**36, 8)) + bytes(100)}))
    yield "an NPZ", lambda: scene.train(f"npz:{npz}")

    def idx() -> str:
        for name in ("train", "t10k"):
            scene.given(f"{name}-images-idx3-ubyte", b"\0\0\x0e\x04" + b"\x7f\xff\xff\xff" * 4 + bytes(100))
            scene.given(f"{name}-labels-idx1-ubyte", b"\0\0\x08\x01" + b"\x7f\xff\xff\xff" + bytes(100))
        return scene.train("idx:given")

    yield "an IDX", idx
    cell = scene.given("cell.csv", b"1,2\n3," + b"9" * 20_000_000 + b"\n")
    yield "a CSV with a cell of 20 MB", lambda: scene.train(f"csv:{cell}")
    word = scene.given("word.csv", b"1,2\n3,x" + b"a" * 20_000_000 + b"\n")
    yield "a CSV with a word of 20 MB", lambda: scene.train(f"csv:{word}")
    wide = scene.given("wide.csv", (b",".join([b"1"] * 300_000) + b"\n") * 2 + b"1,2\n")
    yield "a CSV with 300,000 columns", lambda: scene.train(f"csv:{wide}")
    quoted = scene.given("quoted.csv", b'a,b\n1,"' + b"\n" * 5_000_000)
    yield "a CSV with an open quote", lambda: scene.train(f"csv:{quoted}")
    for width, height in ((100_000, 100_000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1), (9000, 9000), (0, 0)):
        folder = f"images-{width}-{height}"
        scene.given(f"{folder}/a.png", forged.png(width, height, b""))
        yield (
            f"a PNG of {width}x{height}",
            lambda folder=folder: scene.train(f"images:given/{folder}", "--data.size", 8),
        )
    rows = zlib.compress(bytes(8001 * 8000), 9)
    scene.given("large/a.png", forged.png(8000, 8000, rows))
    scene.given("large/b.png", forged.png(8000, 8000, rows))
    yield "PNGs of 64 million pixels", lambda: scene.train("images:given/large", "--data.size", 8, codes=(0, 2, 5))
    text = forged.png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**28), 9)) + forged.png_chunk(
        b"iCCP", b"a\0\0" + zlib.compress(bytes(2**28), 9)
    )
    scene.given("text/a.png", forged.png(8, 8, zlib.compress(bytes(72)), text))
    scene.given("text/b.png", forged.png(8, 8, zlib.compress(bytes(72)), text))
    yield "PNGs with a text of 256 MiB", lambda: scene.train("images:given/text", "--data.size", 8, codes=(0, 2, 5))
