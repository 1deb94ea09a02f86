"""Malformed inputs for every reader: it gives something valid, or says in one sentence what is wrong.

    python tests/faults/fuzz.py --minutes 10     # with hypothesis; what finds something goes into tests/faults/corpus/

Valid inputs are changed: in their bytes, and in their structure, so that a checksum around a damaged part still holds.
`test_corpus.py` reads again whatever was found once.
"""

import argparse
import copy
import gzip
import hashlib
import io
import json
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import types
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent.parent)]

import numpy as np
from faults.harness import Fault, Outcome

CORPUS = Path(__file__).parent / "corpus"
SECONDS = 5  # until a reader counts as hung
MEMORY = 2**30  # that one input may take; an image of the most pixels that are read takes most of it
SENTENCE = 10_000  # characters of a message, at most
EACH = 20  # inputs of each kind that a seed tries


class Hung(BaseException):
    """A reader takes too long; not an Exception, which readers turn into sentences."""


# What is valid


def _valid_idx() -> list[bytes]:
    values = np.arange(5 * 4 * 3, dtype=np.uint8)
    floats = np.linspace(0, 1, 12, dtype=">f4")
    return [
        b"\0\0\x08\x03" + struct.pack(">iii", 5, 4, 3) + values.tobytes(),
        b"\0\0\x0d\x02" + struct.pack(">ii", 3, 4) + floats.tobytes(),
    ]


def _valid_npy() -> list[bytes]:
    found = []
    for values in (np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.ones((4, 5), ">f8"), np.ones((3, 2), order="F")):
        file = io.BytesIO()
        np.save(file, values)
        found.append(file.getvalue())
    return found


def _valid_npz() -> list[bytes]:
    found = []
    for write in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        write(file, values=np.zeros((3, 8, 8, 1), np.uint8), index=np.arange(3, dtype=np.int32), labels=np.arange(3))
        found.append(file.getvalue())
    return found


def _valid_csv() -> list[bytes]:
    return [b"a,b,label\n1,2.5,0\n3,-4e3,1\n5,6,2\n", b'\xef\xbb\xbf"1","2"\r\n3,4\r\n', b"1\n2\n3\n"]


def _valid_png() -> list[bytes]:
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


def _valid_experiment() -> list[bytes]:
    return [
        b"from aeflax import presets\n\nCONFIG = presets.vae(latent_dim=4)\n",
        b"from dataclasses import replace\n\nfrom aeflax import presets\nfrom aeflax.config import Train\n\n"
        b"CONFIG = replace(presets.conv(latent_dim=None), train=Train(steps=10, seed=1))\n",
    ]


def _valid_manifest() -> list[bytes]:
    from aeflax import presets
    from aeflax.schema import to_dict

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


def _valid_summary() -> list[bytes]:
    metrics = {"loss": 1.0, "mse": 0.5}
    return [
        json.dumps({"status": "done", "step": 3, "train": metrics, "test": metrics, "pca": {"dim": 2}}).encode(),
        json.dumps({"files": {"state/a": "0" * 64, "meta/b": "1" * 64}}).encode(),
    ]


def _valid_metrics() -> list[bytes]:
    lines = [{"step": step, "epoch": step / 3, "split": "train", "loss": 1 / step, "mse": None} for step in (1, 2, 3)]
    return ["".join(json.dumps(line) + "\n" for line in lines).encode()]


# What reads it: (path, folder that is empty but for it)


def _read_idx(path: Path) -> None:
    from aeflax.data import files

    _usable(files.idx(path))


def _read_npy(path: Path) -> None:
    from aeflax.data import npy

    rows = npy.rows(path)
    _usable(rows[:])


def _read_npz(path: Path) -> None:
    from aeflax.data import files
    from aeflax.data.kept import Kept
    from aeflax.errors import DataError

    for name in (None, "values"):
        with suppress(DataError):
            files.npz(path, name)
    files.npz(path, "values")
    kept = Kept.load(path)
    _usable(kept.values)
    assert len(kept.values) == len(kept.index), "lengths differ"


def _read_csv(path: Path) -> None:
    from aeflax.data import files

    values, labels = files.csv(path)
    assert values.ndim == 2, values.shape
    assert labels is None or len(labels) == len(values)


def _read_png(path: Path) -> None:
    from aeflax.data import images
    from aeflax.errors import DataError

    with suppress(DataError):
        images.read(path.parent, 4, True)["train"][0][:]
    _usable(images.read(path.parent, None, False)["train"][0][:])


def _read_experiment(path: Path) -> None:
    from aeflax.cli.naming import named_experiment
    from aeflax.validation import validate

    validate(named_experiment("train", [str(path)]).experiment)


def _read_manifest(path: Path) -> None:
    from aeflax import audit, config, manifest, run
    from aeflax.schema import from_dict

    audit.verify(path.parent)
    found = run.read_manifest(path.parent)
    from_dict(config.Experiment, found["experiment"])
    manifest.inputs(found, from_dict(config.Experiment, found["resolved"]))


def _read_summary(path: Path) -> None:
    from aeflax import run, seal

    run.read_summary(path.parent)
    shutil.copy(path, path.parent / seal.NAME)
    assert all(isinstance(one, str) for one in seal.faults(path.parent))
    run.read_json(path)


def _read_metrics(path: Path) -> None:
    from aeflax import run
    from aeflax.journal import Journal
    from aeflax.trained import Run, _numbers

    history: Any = Run.history
    records = _numbers(run.read_metrics(path.parent))
    for found in history.fget(types.SimpleNamespace(_records=records)).values():
        assert all(values.dtype.kind in "if" for values in found.values()), found
    Journal(path, 2).close()


def _usable(values: np.ndarray) -> None:
    """Examples that came through: of a type and shape that training takes, or refused by the check that comes next."""
    from aeflax.data.checks import prepared, require_examples

    require_examples(values, "it")
    prepared(values, "it")


# How it is changed

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


def _in_gzip(content: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    if chance.random() < 0.5:
        return gzip.compress(mutated(content, chance, others), mtime=0)
    return mutated(gzip.compress(content, mtime=0), chance, others)


def _in_zip(content: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
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
                part = chance.choice((mutated(part, chance, list(parts.values())), chance.choice(_valid_npy())))
            with warnings.catch_warnings(action="ignore"):  # of a name that is there twice
                new.writestr(zipfile.ZipInfo(name), part)
    return made.getvalue()


def _in_chunks(content: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
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
    return content[:8] + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks
    )


def _in_json(content: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
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


Change = Callable[[bytes, random.Random, Sequence[bytes]], bytes]
# kind -> name of the file, what is valid, how it is changed, what reads it
KINDS: dict[str, tuple[str, Callable[[], list[bytes]], Change, Callable[[Path], None]]] = {
    "idx": ("train-images-idx3-ubyte", _valid_idx, mutated, _read_idx),
    "idxgz": ("train-images-idx3-ubyte.gz", _valid_idx, _in_gzip, _read_idx),
    "npy": ("values.npy", _valid_npy, mutated, _read_npy),
    "npz": ("values.npz", _valid_npz, _in_zip, _read_npz),
    "csv": ("table.csv", _valid_csv, mutated, _read_csv),
    "csvgz": ("table.csv.gz", _valid_csv, _in_gzip, _read_csv),
    "png": ("image.png", _valid_png, _in_chunks, _read_png),
    "experiment": ("experiment.py", _valid_experiment, mutated, _read_experiment),
    "manifest": ("experiment.json", _valid_manifest, _in_json, _read_manifest),
    "summary": ("summary.json", _valid_summary, _in_json, _read_summary),
    "metrics": ("metrics.jsonl", _valid_metrics, _in_json, _read_metrics),
}


def fault_of(kind: str, content: bytes) -> str:
    """What is wrong with how a reader takes an input; nothing, if it gives something valid or one sentence."""
    from aeflax.errors import ConfigError, DataError

    name, *_, read = KINDS[kind]
    before = signal.signal(signal.SIGALRM, _hung)
    peak, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="aeflax-fuzz-") as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / name
        path.write_bytes(content)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            read(path)
            fault = ""
        except (DataError, ConfigError) as error:
            said = str(error)
            fault = "" if said.strip() and len(said.splitlines()) == 1 else f"no single line: {said[:200]!r}"
            if len(said) > SENTENCE + len(folder):
                fault = f"a message of {len(said)} characters: {said[:80]!r}"
        except Hung:
            fault = f"hung for {SECONDS} s"
        except Exception as error:
            fault = f"{_where(error)}: {type(error).__name__}: {str(error)[:150]!r}"
        except BaseException as error:
            fault = f"{_where(error)}: {type(error).__name__}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)
    if not fault and grown > MEMORY:
        fault = f"took {grown >> 20} MiB in {time.perf_counter() - started:.1f} s"
    return fault


def _hung(*_: object) -> None:
    raise Hung


def _where(error: BaseException) -> str:
    """The last line of aeflax that an error passed through."""
    found, trace = "", error.__traceback__
    while trace is not None:
        if "aeflax" in trace.tb_frame.f_globals.get("__name__", ""):
            found = f"{trace.tb_frame.f_globals['__name__']}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def attempt(seed: int, where: Path) -> list[Outcome]:
    """So many inputs of each kind."""
    chance, outcomes = random.Random(seed), []
    for kind, (_, valid, change, _) in KINDS.items():
        originals = valid()
        for number in range(EACH):
            content = change(chance.choice(originals), chance, originals)
            fault = fault_of(kind, content)
            outcomes.append(Outcome(f"seed {seed}, input {number}", kind, not fault, fault))
    return outcomes


def keep(kind: str, content: bytes) -> None:
    """Adds an input to the corpus, where `test_corpus.py` reads it again."""
    if len(content) <= 2**16:
        CORPUS.mkdir(exist_ok=True)
        (CORPUS / f"{kind}-{hashlib.sha256(content).hexdigest()[:12]}").write_bytes(content)


def search(minutes: float) -> int:
    """Tries inputs by hypothesis until the time is up, keeps the smallest of each fault, and returns their number."""
    import hypothesis
    from hypothesis import strategies

    deadline, known, tried = time.monotonic() + 60 * minutes, dict[str, str](), 0
    originals = {kind: valid() for kind, (_, valid, *_) in KINDS.items()}
    last: list[Any] = []

    @hypothesis.settings(
        max_examples=1000, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(
        kind=strategies.sampled_from(list(KINDS)),
        which=strategies.integers(0, 9),
        seeds=strategies.lists(strategies.integers(0, 2**32), min_size=1, max_size=3),
        tail=strategies.binary(max_size=40),
        cut=strategies.integers(0, 400),
    )
    def holds(kind: str, which: int, seeds: list[int], tail: bytes, cut: int) -> None:
        nonlocal tried
        if time.monotonic() > deadline:
            return
        content = originals[kind][which % len(originals[kind])]
        for number, seed in enumerate(seeds):
            change = KINDS[kind][2] if number == 0 else mutated
            content = change(content, random.Random(seed), originals[kind])
        if tail:
            content = content[:cut] + tail + content[cut + len(tail) :]
        tried += 1
        fault = fault_of(kind, content)
        signature = f"{kind} {':'.join(fault.split(':')[:3])}"
        if fault and signature not in known:
            last[:] = [kind, content, signature, fault]
            raise AssertionError(fault)

    while time.monotonic() < deadline:
        try:
            holds()
        except AssertionError:
            kind, content, signature, fault = last
            known[signature] = fault
            keep(kind, content)
            print(f"{kind}: {fault}", flush=True)  # noqa: T201
        except hypothesis.errors.Flaky as error:
            known[last[2]] = last[3]
            print(f"not every time: {last[0]}: {last[3]} ({error})"[:300], flush=True)  # noqa: T201
    print(f"{tried:,} inputs, {len(known)} faults", flush=True)  # noqa: T201
    return len(known)


FAULTS = [
    Fault(
        "malformed",
        "malformed IDX, NPY, NPZ, CSV, PNG, experiment files, run files",
        "something valid, or exit 2 or 5 with one sentence; no hang, bounded memory",
        attempt,
        short=2,
        long=50,
    )
]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    sys.exit(1 if search(parser.parse_args().minutes) else 0)
