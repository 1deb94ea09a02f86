"""Run directories and data made to attack whoever uses them: nothing runs, is written outside or fills memory."""

import atexit
import functools
import io
import json
import os
import pickle
import random
import shutil
import signal
import struct
import tempfile
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from faults import harness
from faults.harness import Fault, Outcome

WORDS = (
    *("train", "vae", "--data.validation", "100", "--model.latent-dim", "4", "--train.digest-every", "10"),
    *("--train.checkpoint-every", "10", "--no-report", "--run-dir", "run"),
)
STEPS = 20
MEMORY = 1536 * 2**20  # that a command may take, of which JAX takes about a third
BOMB = 2**32 - 2**20  # bytes that one unpacks to
EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7*7}}--><svg/onload=alert(1)>&lt;"


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@functools.cache
def kept() -> Path:
    """A finished run, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="aeflax-hostile-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    done = harness.run(*WORDS, "--train.steps", STEPS, cwd=folder)
    assert not (fault := harness.wrong(done, 0)), fault
    return folder / "run"


class Scene:
    """A folder with the run, and beside it what must stay as it is."""

    def __init__(self, where: Path, chance: random.Random) -> None:
        self.where, self.run, self.chance = where, where / "run", chance
        self.outside, self.marker = where / "outside", where / "marker"
        shutil.copytree(kept(), self.run)
        (self.outside / "folder").mkdir(parents=True)
        (self.outside / "precious").write_text('{"step": 1, "precious": 1}\n{"step": 99}\n')
        (self.outside / "folder" / "12.orbax-checkpoint-tmp-1").mkdir()
        (self.outside / "folder" / "events.out.tfevents.1").write_text("precious")

    def said(self, *words: object, codes: tuple[int, ...], run: str = "run") -> str:
        """What is wrong with how a command takes it."""
        before = self._beside()
        command = harness.start(*words, cwd=self.where)
        stop, peak = threading.Event(), [0]
        watch = threading.Thread(target=_watch, args=(command.process.pid, stop, peak))
        watch.start()
        code = command.ended(90)
        stop.set()
        watch.join()
        sentences = [line for line in command.err.splitlines() if line.startswith("aeflax: ")]
        if self.marker.exists():
            return "it ran what it read"
        if self._beside() != before:
            after = self._beside()
            changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
            return f"it wrote outside of the run directory: {changed[:3]}"
        if "Traceback" in command.err:
            return f"a traceback: {command.err.strip()[-300:]}"
        if code not in codes:
            return f"exit {code}, not {codes}, {peak[0] >> 20} MiB: {command.err.strip()[-300:]}"
        if code and not sentences:
            return f"no sentence: {command.err.strip()[-300:]}"
        return f"{peak[0] >> 20} MiB of memory" if peak[0] > MEMORY else ""

    def _beside(self) -> dict[str, Any]:
        """Everything but the run directory: names, kinds and contents."""
        found = {}
        for path in self.where.rglob("*"):
            name = str(path.relative_to(self.where))
            if name.partition("/")[0] in ("run", "given", "out.npy") or name.startswith(".phases"):
                continue
            found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"
        return found

    def edit(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Changes a JSON file of the run, without the digest that would give it away."""
        content = json.loads((self.run / name).read_text())
        content.pop("sha256", None)
        change(content)
        (self.run / name).write_text(json.dumps(content))

    def given(self, name: str, content: bytes) -> Path:
        """A file of data."""
        path = self.where / "given" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
        return path

    def train(self, source: str, *words: object, codes: tuple[int, ...] = (5,)) -> str:
        """Trains on a source, in a new run directory inside `given`."""
        more = ("--train.steps", 2, "--no-report", "--run-dir", "given/new")
        return self.said("train", "--data.source", source, *more, *words, codes=codes)

    def resume(self, codes: tuple[int, ...] = (0, 2, 4, 5)) -> str:
        """Trains the run for longer."""
        return self.said(*WORDS, "--train.steps", STEPS + 10, "--resume", codes=codes)


def _watch(process: int, stop: threading.Event, peak: list[int]) -> None:
    """Notes the most memory that a process has had, and ends it before it fills the machine."""
    while not stop.wait(0.01):
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            return
        for line in lines:
            if line.startswith("VmHWM:"):
                peak[0] = max(peak[0], 1024 * int(line.split()[1]))
        if peak[0] > 3 * MEMORY:
            os.kill(process, signal.SIGKILL)


# Python objects


def _pickled(scene: Scene) -> io.BytesIO:
    file = io.BytesIO()
    np.save(file, np.array([Payload(scene.marker)] * 3, object), allow_pickle=True)
    return file


def _zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _plain(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def pickles(scene: Scene) -> Iterator[tuple[str, Callable[[], str]]]:
    """Objects whose unpickling runs code."""
    objects, raw = _pickled(scene).getvalue(), pickle.dumps(Payload(scene.marker))
    npy, npz = scene.given("a.npy", objects), scene.given("a.npz", _zipped({"values.npy": objects}))
    yield "an NPY of objects", lambda: scene.train(f"npy:{npy}")
    yield "an NPZ of objects", lambda: scene.train(f"npz:{npz}")
    plain = scene.given("b.npy", raw)
    yield "a pickle called .npy", lambda: scene.train(f"npy:{plain}")
    loose = scene.given("b.npz", raw)
    yield "a pickle called .npz", lambda: scene.said("encode", "run", loose, "out.npy", codes=(5,))
    member = scene.given("c.npz", _zipped({"values.npy": raw}))
    yield "a pickle in an NPZ", lambda: scene.said("encode", "run", member, "out.npy", codes=(5,))

    def of_a_run() -> str:
        members = {"values.npy": objects, "index.npy": _plain(np.arange(3)), "labels.npy": objects}
        (scene.run / "examples.npz").write_bytes(_zipped(members))
        return scene.said("report", "run", codes=(0, 5))

    yield "objects in examples.npz", of_a_run


# Paths that lead outside


def paths(scene: Scene) -> Iterator[tuple[str, Callable[[], str]]]:
    """Names and fields that point out of the run directory."""
    values = _plain(np.zeros((40, 8), np.uint8))
    for name in ("../outside/precious.npy", "/../../outside/precious.npy"):
        archive = scene.given("a.npz", _zipped({name: values}))
        yield f"the member {name}", lambda archive=archive: scene.train(f"npz:{archive}", codes=(0, 5))

    def of_a_run() -> str:
        members = dict.fromkeys(("../../outside/x.npy", "values.npy", "index.npy"), values)
        (scene.run / "examples.npz").write_bytes(_zipped(members))
        return scene.said("report", "run", codes=(0, 5))

    yield "members of examples.npz", of_a_run

    def sealed() -> str:
        for step in (scene.run / "checkpoints").iterdir():
            files = {"../../../outside/precious": "0" * 64, str(scene.outside / "precious"): "1" * 64}
            (step / "seal.json").write_text(json.dumps({"files": files}))
        return scene.said("verify", "run", codes=(4,)) or scene.said("evaluate", "run", codes=(4,))

    yield "names in seals", sealed
    for source in ("npy:../outside/precious", "csv:/proc/self/mem", "idx:../outside", "tfds:../outside/precious"):

        def elsewhere(source: str = source) -> str:
            def change(content: dict[str, Any]) -> None:
                for part in ("experiment", "resolved"):
                    content[part]["data"]["source"] = source

            scene.edit("experiment.json", change)
            return scene.said("evaluate", "run", codes=(2, 5))

        yield f"data.source={source}", elsewhere

    def begun() -> str:
        origin = {"run": "../../outside", "step": 1, "state_sha256": EVIL}
        scene.edit("experiment.json", lambda content: content.update(init_from=origin))
        return scene.said("report", "run", codes=(0, 2)) or scene.resume((2,))

    yield "init_from", begun


# Small files that become large ones


@functools.cache
def _deflated() -> tuple[bytes, bytes, bytes]:
    """16 MiB of zeros deflated, to be repeated; what ends a stream; an NPY header before them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return part, zlib.compressobj(9, zlib.DEFLATED, -15).flush(), _header((BOMB // 64 - 8, 64))


def _header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


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


def bombs(scene: Scene) -> Iterator[tuple[str, Callable[[], str]]]:
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


# Sizes that are not there


def shapes(scene: Scene) -> Iterator[tuple[str, Callable[[], str]]]:
    """Headers, tables and images that claim to be huge."""
    for shape in ((2**40, 28, 28), (2**62, 2), (-1, 5), (3,) * 40, (10**30, 2), (0, 2**40), (2**31, 0)):
        npy = scene.given(f"{len(str(shape))}{shape[0]}.npy", _header(shape) + bytes(100))
        yield f"an NPY of the shape {shape[:3]}", lambda npy=npy: scene.train(f"npy:{npy}")
    npz = scene.given("a.npz", _zipped({"values.npy": _header((2**36, 8)) + bytes(100)}))
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
        scene.given(f"{folder}/a.png", _picture(width, height, b""))
        yield (
            f"a PNG of {width}x{height}",
            lambda folder=folder: scene.train(f"images:given/{folder}", "--data.size", 8),
        )
    rows = zlib.compress(bytes(8001 * 8000), 9)
    scene.given("large/a.png", _picture(8000, 8000, rows))
    scene.given("large/b.png", _picture(8000, 8000, rows))
    yield "PNGs of 64 million pixels", lambda: scene.train("images:given/large", "--data.size", 8, codes=(0, 2, 5))
    text = _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**28), 9)) + _chunk(
        b"iCCP", b"a\0\0" + zlib.compress(bytes(2**28), 9)
    )
    scene.given("text/a.png", _picture(8, 8, zlib.compress(bytes(72)), text))
    scene.given("text/b.png", _picture(8, 8, zlib.compress(bytes(72)), text))
    yield "PNGs with a text of 256 MiB", lambda: scene.train("images:given/text", "--data.size", 8, codes=(0, 2, 5))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def _picture(width: int, height: int, rows: bytes, more: bytes = b"") -> bytes:
    start = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + more + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


# JSON


def deep(scene: Scene) -> Iterator[tuple[str, Callable[[], str]]]:
    """Objects in objects in objects, and values of the wrong kind."""
    levels = scene.chance.choice((900, 5_000, 1_000_000))
    nested = '{"a":' * levels + "1" + "}" * levels
    for name, codes in (("experiment.json", (2,)), ("summary.json", (0, 2)), ("metrics.jsonl", (0,))):

        def replaced(name: str = name, codes: tuple[int, ...] = codes) -> str:
            (scene.run / name).write_text(nested + "\n")
            told = scene.said("evaluate", "run", codes=codes)
            return told or scene.said("report", "run", codes=codes)

        yield f"{name} of {levels:,} levels", replaced

    def inside() -> str:
        text = (scene.run / "experiment.json").read_text()
        content = json.loads(text)
        content.pop("sha256")
        content["resolved"]["model"]["backbone"] = "HERE"
        (scene.run / "experiment.json").write_text(json.dumps(content).replace('"HERE"', nested))
        return scene.said("evaluate", "run", codes=(2,)) or scene.said("verify", "run", codes=(0, 4))

    yield f"a backbone of {levels:,} levels", inside

    def sealed() -> str:
        for step in (scene.run / "checkpoints").iterdir():
            (step / "seal.json").write_text(nested)
        return scene.said("verify", "run", codes=(4,)) or scene.said("evaluate", "run", codes=(4,))

    yield f"seals of {levels:,} levels", sealed
    odd = scene.chance.choice(("text", None, -1, 10**30, [1, "a"], {"a": {}}, float("inf"), True))
    field = scene.chance.choice(("preset", "data", "inputs", "init_from", "versions", "random", "created"))

    def made_up() -> str:
        scene.edit("experiment.json", lambda content: content.update({field: odd}))
        return scene.said("evaluate", "run", codes=(0, 2)) or scene.said("report", "run", codes=(0, 2))

    yield f"{field}={odd!r} in experiment.json", made_up
    name = scene.chance.choice(("step", "status", "seconds", "parameters", "best", "pca", "test", "state_sha256"))

    def summary() -> str:
        scene.edit("summary.json", lambda content: content.update({name: odd}))
        return scene.said("report", "run", codes=(0, 2))

    yield f"{name}={odd!r} in summary.json", summary

    def metrics() -> str:
        lines = [
            {"step": step, "epoch": odd, "split": split, "loss": odd} for step in (1, 20) for split in ("train", 1)
        ]
        (scene.run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"step": 20}]))
        (scene.run / "summary.json").unlink()
        return scene.said("report", "run", codes=(0, 2))

    yield f"{odd!r} in metrics.jsonl", metrics


# Links


def links(scene: Scene) -> Iterator[tuple[str, Callable[[], str]]]:
    """Parts of a run directory that are links to what lies outside."""
    single = ("experiment.json", "metrics.jsonl", "digests.jsonl", "summary.json", "run.lock", "report.html")
    for name in (*single, "examples.npz"):

        def file(name: str = name) -> str:
            if (scene.run / name).exists() and name != "run.lock":
                shutil.copy(scene.run / name, scene.outside / "precious")
            (scene.run / name).unlink(missing_ok=True)
            (scene.run / name).symlink_to(scene.outside / "precious")
            return scene.resume() or scene.said("report", "run", codes=(0, 2, 5))

        yield f"{name} is a link", file
    for name in ("checkpoints", "damaged", "figures"):

        def folder(name: str = name) -> str:
            if (scene.run / name).exists():
                shutil.copytree(scene.run / name, scene.outside / "folder", dirs_exist_ok=True)
                shutil.rmtree(scene.run / name)
            (scene.run / name).symlink_to(scene.outside / "folder")
            if name == "damaged":
                seal = next((scene.run / "checkpoints" / str(STEPS)).glob("seal.json"))
                seal.write_text("{}")
            return scene.resume() or scene.said("report", "run", codes=(0, 2, 4, 5))

        yield f"{name} is a link", folder

    def step() -> str:
        place = scene.run / "checkpoints" / str(STEPS)
        shutil.copytree(place, scene.outside / "folder", dirs_exist_ok=True)
        shutil.rmtree(place)
        place.symlink_to(scene.outside / "folder")
        told = scene.said("evaluate", "run", codes=(0, 2, 4)) or scene.said("verify", "run", codes=(0, 4))
        return told or scene.resume()

    yield "a checkpoint is a link", step

    def inner() -> str:
        place = scene.run / "checkpoints" / str(STEPS)
        path = scene.chance.choice(sorted(path for path in place.rglob("*") if path.is_file()))
        shutil.copy(path, scene.outside / "precious")
        path.unlink()
        path.symlink_to(scene.outside / "precious")
        told = scene.said("evaluate", "run", codes=(0, 2, 4)) or scene.said("verify", "run", codes=(0, 4))
        return told or scene.resume()

    yield "a file of a checkpoint is a link", inner

    def temporary() -> str:
        (scene.run / "checkpoints" / "30.orbax-checkpoint-tmp-7").symlink_to(scene.outside / "folder")
        return scene.resume()

    yield "an unfinished checkpoint is a link", temporary
    pipe = scene.where / "given" / "pipe.csv"
    pipe.parent.mkdir(exist_ok=True)
    os.mkfifo(pipe)
    yield "data are a pipe", lambda: scene.train(f"csv:{pipe}")


# Pages


class Page(HTMLParser):
    """The tags of a page, each with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag, tuple(sorted(name for name, _ in attrs))] += 1
        self.found["javascript", ()] += sum((value or "").lower().startswith("javascript:") for _, value in attrs)


def page_fault(path: Path) -> str:
    """What in a page comes from who gave the words, and not from who wrote the page."""
    tags = Page(path.read_text()).found
    banned = ("script", "img", "iframe", "object", "embed", "link", "base", "form", "foreignobject", "javascript")
    found = [tag for tag, attributes in tags if tag in banned and tags[tag, attributes]]
    found += [name for _, attributes in tags for name in attributes if name.startswith("on")]
    return f"the page has {found}" if found else "" if "{{7*7}}" in path.read_text() else "the words are not in it"


def pages(scene: Scene) -> Iterator[tuple[str, Callable[[], str]]]:
    """Words that are HTML."""

    def manifest() -> str:
        def change(content: dict[str, Any]) -> None:
            for part in ("experiment", "resolved"):
                content[part]["data"]["source"] = f"npy:{EVIL}"
            content |= {"preset": EVIL, "init_from": {"run": EVIL, "step": 1, "state_sha256": EVIL}}
            content["versions"] |= {EVIL: EVIL}
            content["data"] |= {EVIL: {"shape": [EVIL], "dtype": EVIL, "sha256": EVIL}, "source": EVIL}

        scene.edit("experiment.json", change)
        return scene.said("report", "run", codes=(0,)) or page_fault(scene.run / "report.html")

    yield "experiment.json", manifest

    def summary() -> str:
        def change(content: dict[str, Any]) -> None:
            content["test"][EVIL] = 1.0
            content |= {"state_sha256": EVIL, "status": EVIL}
            content["best"] = {"step": 20, "value": 1.0, "monitor": EVIL}

        scene.edit("summary.json", change)
        lines = [
            {"step": step, "epoch": 1.0, "split": split, "loss": 1.0, EVIL: 2.0}
            for split in ("train", EVIL)
            for step in (1, 2)
        ]
        (scene.run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return scene.said("report", "run", codes=(0,)) or page_fault(scene.run / "report.html")

    yield "summary.json and metrics.jsonl", summary

    def directory() -> str:
        name = EVIL.replace("/", "∕")
        (scene.where / "given").mkdir()
        scene.run.rename(scene.where / "given" / name)
        told = scene.said("report", f"given/{name}", codes=(0,))
        return told or page_fault(scene.where / "given" / name / "report.html")

    yield "the name of the run directory", directory

    def source() -> str:
        name = EVIL.replace("/", "∕")
        values = np.random.default_rng(0).integers(0, 255, (200, 6, 6), np.uint8)
        scene.given(f"{name}.npy", _plain(values))
        more = ("--data.source", f"npy:given/{name}.npy", "--train.steps", 2, "--model.latent-dim", 2)
        told = scene.said("train", *more, "--run-dir", "given/new", codes=(0,))
        return told or page_fault(scene.where / "given/new/report.html")

    yield "the name of a data file", source

    def classes() -> str:
        name = EVIL.replace("/", "∕")
        for kind in range(3):
            for number in range(20):
                rows = zlib.compress(bytes([0, *[9 * kind + number] * 8] * 8))
                scene.given(f"{name}/{name}{kind}/{number}.png", _picture(8, 8, rows))
        more = ("--data.source", f"images:given/{name}", "--train.steps", 2, "--model.latent-dim", 2)
        told = scene.said("train", *more, "--run-dir", "given/new", codes=(0,))
        return told or page_fault(scene.where / "given/new/report.html")

    yield "the names of classes", classes


ATTACKS = (pickles, paths, bombs, shapes, deep, links, pages)


def attempt(seed: int, where: Path) -> list[Outcome]:
    """One attack of one kind."""
    make = ATTACKS[seed % len(ATTACKS)]
    scene = Scene(where, random.Random(seed))
    cases = list(make(scene))
    case, attack = cases[seed // len(ATTACKS) % len(cases)]
    trouble = attack()
    return [Outcome(case, make.__name__, not trouble, trouble)]


FAULTS = [
    Fault(
        "hostile",
        "run directories and data made to attack: objects, paths, bombs, shapes, deep JSON, links, HTML",
        "nothing runs, nothing is written outside, memory stays bounded; exit 2, 4 or 5 with one sentence",
        attempt,
        short=4,
        long=140,
    )
]
