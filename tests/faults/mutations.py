"""Changes of an input: in its bytes, or in its structure, so that a checksum around a changed part still holds."""

import copy
import gzip
import io
import json
import random
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from faults import forged, valid

TOKENS = (
    *(b"", b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0", b"\n", b"\r", b",", b'"', b"'", b"\\"),
    *(b"NaN", b"Infinity", b"-1e999", b"null", b"true", b"{", b"}", b"[", b"]", b"(", b")", b"[" * 3000, b"{" * 200),
    *(b"9" * 30, b"9" * 5000, b"-1", b"0", b"1e308", b"\xc3\x28", "\u2028é𝟙".encode(), b"None", b"True", b"False"),
    *(b"|O", b"<f8", b">f4", b"<U9", b"|V3", b"<c8", b"<M8[s]", b"PK\x03\x04", b"label", b";", b"#", b"\x85", b"\x1c"),
)
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**31, 2**63, 10**400, 1.5, float("nan"), float("inf"), "", "x", "a\nb", "\0", "é" * 300),
    *([], [[]], {}, {"kind": "x"}, [1, "a", None], {"a": {"b": []}}, [float("inf")], [10**400]),
)


def mutated(content: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """Bytes changed in one to four places."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        size = len(content)
        at = chance.randrange(size + 1)
        end = min(size, at + chance.choice((1, 1, 2, 4, 16, 64)))
        match chance.randrange(8):
            case 0 if at < size:
                content = content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]
            case 1:
                content = content[:at] + chance.randbytes(end - at) + content[end:]
            case 2:
                content = content[:at] + content[end:]
            case 3:
                content = content[:at]
            case 4:
                content = content[:at] + content[at:end] * chance.choice((2, 3, 50)) + content[end:]
            case 5:
                content = content[:at] + chance.choice(TOKENS) + content[at:]
            case 6:
                content = content[:at] + chance.choice(TOKENS) + content[end:]
            case _:
                other = chance.choice(others)
                content = content[:at] + other[chance.randrange(len(other) + 1) :]
    return content


def in_gzip(content: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    if chance.random() < 0.5:
        return gzip.compress(mutated(content, chance, others), mtime=0)
    return mutated(gzip.compress(content, mtime=0), chance, others)


def in_zip(content: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """Members changed, with the checksums that they then have."""
    if chance.random() < 0.4:
        return mutated(content, chance, others)
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        parts = {name: old.read(name) for name in old.namelist()}
        victim = chance.choice(list(parts))
        for name, part in parts.items():
            if name == victim:
                name = chance.choice((name, name, name, name, "../../out.npy", name.removesuffix(".npy"), "labels.npy"))
                part = chance.choice((mutated(part, chance, list(parts.values())), chance.choice(valid.npy())))
            with warnings.catch_warnings(action="ignore"):  # of a name that is there twice
                new.writestr(zipfile.ZipInfo(name), part)
    return made.getvalue()


def in_chunks(content: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """Chunks of a PNG changed, with the checksums that they then have."""
    if chance.random() < 0.4:
        return mutated(content, chance, others)
    chunks, at = [], 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append([content[at + 4 : at + 8], content[at + 8 : at + 8 + size]])
        at += 12 + size
    victim = chance.choice(chunks)
    if victim[0] == b"IDAT" and chance.random() < 0.5:
        victim[1] = zlib.compress(mutated(zlib.decompress(victim[1]), chance, others))
    else:
        victim[1] = mutated(victim[1], chance, others)
    if chance.random() < 0.2:
        kind = chance.choice((b"tRNS", b"PLTE", b"gAMA", b"acTL", b"iCCP", b"zTXt", b"eXIf", b"cICP", b"fdAT"))
        chunks.insert(chance.randrange(1, len(chunks)), [kind, chance.randbytes(chance.randrange(40))])
    return content[:8] + b"".join(forged.png_chunk(kind, body) for kind, body in chunks)


def in_json(content: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """Values of an object replaced, taken away, renamed; of lines, in one of them."""
    if chance.random() < 0.4:
        return mutated(content, chance, others)
    lines = content.splitlines()
    line = chance.randrange(len(lines))
    whole = copy.deepcopy(json.loads(lines[line]))
    for _ in range(chance.choice((1, 1, 3))):
        here, depth = whole, chance.randrange(6)
        while depth and (inner := [value for value in here.values() if isinstance(value, dict) and value]):
            here, depth = chance.choice(inner), depth - 1
        name = chance.choice(list(here))
        match chance.randrange(4):
            case 0:
                del here[name]
            case 1:
                here[chance.choice((name.upper(), "a\nb", "kind", "split", "step", ""))] = here.pop(name)
            case _:
                here[name] = chance.choice(ODD)
        if not here:
            break
    with suppress(ValueError):  # a number with more digits than Python writes
        lines[line] = json.dumps(whole).encode()
    return b"\n".join(lines)
