"""Small inputs that are valid, of every kind that is read."""

import io
import json
import struct

import numpy as np


def idx() -> list[bytes]:
    values = np.arange(5 * 4 * 3, dtype=np.uint8)
    floats = np.linspace(0, 1, 12, dtype=">f4")
    return [
        b"\0\0\x08\x03" + struct.pack(">iii", 5, 4, 3) + values.tobytes(),
        b"\0\0\x0d\x02" + struct.pack(">ii", 3, 4) + floats.tobytes(),
    ]


def npy() -> list[bytes]:
    found = []
    for values in (np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.ones((4, 5), ">f8"), np.ones((3, 2), order="F")):
        file = io.BytesIO()
        np.save(file, values)
        found.append(file.getvalue())
    return found


def npz() -> list[bytes]:
    found = []
    for write in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        write(file, values=np.zeros((3, 8, 8, 1), np.uint8), index=np.arange(3, dtype=np.int32), labels=np.arange(3))
        found.append(file.getvalue())
    return found


def csv() -> list[bytes]:
    return [b"a,b,label\n1,2.5,0\n3,-4e3,1\n5,6,2\n", b'\xef\xbb\xbf"1","2"\r\n3,4\r\n', b"1\n2\n3\n"]


def png() -> list[bytes]:
    from PIL import Image

    found = []
    for mode, shape in (("L", (6, 5)), ("RGB", (6, 5, 3)), ("RGBA", (6, 5, 4))):
        file = io.BytesIO()
        values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        Image.fromarray(values, mode).save(file, "PNG") if mode == "L" else Image.fromarray(values).save(file, "PNG")
        found.append(file.getvalue())
    palette = io.BytesIO()
    Image.fromarray(np.arange(30, dtype=np.uint8).reshape(6, 5)).convert("P").save(palette, "PNG", transparency=0)
    return [*found, palette.getvalue()]


def experiment() -> list[bytes]:
    return [
        b"from aeflax import presets\n\nCONFIG = presets.vae(latent_dim=4)\n",
        b"from dataclasses import replace\n\nfrom aeflax import presets\nfrom aeflax.config import Train\n\n"
        b"CONFIG = replace(presets.conv(latent_dim=None), train=Train(steps=10, seed=1))\n",
    ]


def manifest() -> list[bytes]:
    from aeflax import presets
    from aeflax.config.plain import to_dict

    found = []
    for preset in (presets.vae(latent_dim=4), presets.conv(), presets.denoising()):
        plain = to_dict(preset)
        found.append(
            {
                "preset": "vae",
                "experiment": plain,
                "resolved": plain,
                "data": {"train": {"shape": [10, 8, 8, 1], "dtype": "uint8", "sample_sha256": "0"}},
                "inputs": {"shape": [8, 8], "dtype": "uint8", "shift": [0], "divisor": [16], "unit_range": True},
                "init_from": None,
                "versions": {"python": "3.11", "jax": "0.10"},
                "random": {"implementation": "threefry2x32", "threefry_partitionable": True, "order_sha256": "0"},
                "created": "2026-01-01T00:00:00Z",
            }
        )
    return [json.dumps(one).encode() for one in found]


def summary() -> list[bytes]:
    metrics = {"loss": 1.0, "mse": 0.5}
    return [
        json.dumps({"status": "done", "step": 3, "train": metrics, "test": metrics, "pca": {"dim": 2}}).encode(),
        json.dumps({"files": {"state/a": "0" * 64, "meta/b": "1" * 64}}).encode(),
    ]


def metrics() -> list[bytes]:
    lines = [{"step": step, "epoch": step / 3, "split": "train", "loss": 1 / step, "mse": None} for step in (1, 2, 3)]
    return ["".join(json.dumps(line) + "\n" for line in lines).encode()]
