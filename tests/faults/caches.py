"""A compilation cache that is damaged, misplaced, read-only or on a full disk: a run works and says so at most."""

import functools
import random
import shutil
from pathlib import Path

from faults import disk, harness
from faults.harness import Fault, Outcome

WORDS = (
    *("train", "vae", "--model.latent-dim", "4", "--train.steps", "20", "--train.digest-every", "5"),
    *("--no-report", "--run-dir"),
)
DAMAGES = ("emptied", "halved", "bits flipped", "replaced by folders", "replaced by garbage", "links to nothing")
PLACES = ("a file in the way", "a folder that is a file", "read-only", "full", "full at first", "a name too long")
CASES = [*DAMAGES, *PLACES]


@functools.cache
def filled() -> Path:
    """A cache that a run has filled, in a folder of its own, beside the run."""
    folder = harness.lasting_folder()
    assert not (fault := _run(folder, folder / "cache", "run")), fault
    return folder / "cache"


def _run(where: Path, cache: Path, name: str, *, silent: bool = False) -> str:
    """What is wrong with a run that uses a cache; `silent` where it may say nothing about it."""
    done = harness.run(*WORDS, name, cwd=where, environment={"AEFLAX_COMPILATION_CACHE": str(cache)})
    said = [line for line in done.err.splitlines() if "cache" in line.lower()]
    if not (fault := harness.wrong(done, 0)) and silent and said:
        fault = f"it still warns: {said[:2]}"
    return fault or next((f"not our sentence: {line}" for line in said if not line.startswith("aeflax: ")), "")


def _differs(where: Path, name: str) -> str:
    wrong = harness.differing(harness.digests(where / name), harness.digests(filled().parent / "run"))
    return f"other digests than with a sound cache: {wrong[:3]}" if wrong else ""


def damaged(case: str, chance: random.Random, where: Path) -> str:
    """Damages every entry of a cache, or some of them; two runs use it."""
    cache = where / "cache"
    shutil.copytree(filled(), cache)
    entries = sorted(path for path in cache.rglob("*-cache") if path.is_file())
    assert entries
    for path in entries if chance.random() < 0.5 else chance.sample(entries, max(1, len(entries) // 2)):
        content = bytearray(path.read_bytes())
        for _ in range(chance.choice((1, 8)) if case == "bits flipped" else 0):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        if case == "replaced by garbage":
            content = bytearray(chance.randbytes(len(content)))
        path.write_bytes(content[: {"emptied": 0, "halved": len(content) // 2}.get(case, len(content))])
        if case == "replaced by folders":
            path.unlink()
            (path / "inner").mkdir(parents=True)
        if case == "links to nothing":
            path.unlink()
            path.symlink_to(where / "nothing")
    trouble = _run(where, cache, "first") or _differs(where, "first")
    return trouble or _run(where, cache, "second", silent=True) or _differs(where, "second")


def misplaced(case: str, where: Path) -> str:
    """A run whose cache has no place."""
    (where / "file").write_text("precious")
    cache = {"a file in the way": where / "file" / "cache", "a folder that is a file": where / "file"}.get(case)
    if cache is None and case == "a name too long":
        cache = where / ("a" * 300)
    if cache is not None:
        trouble = _run(where, cache, "run") or _differs(where, "run")
        return trouble or ("" if (where / "file").read_text() == "precious" else "it changed the file")
    with disk.small_disk(where / "disk") as small:
        if case == "read-only":
            disk.forbid_writing(small)
            return _run(where, small / "cache", "run") or _differs(where, "run")
        hog = disk.fill(small, 20_000)
        trouble = _run(where, small / "cache", "first") or _differs(where, "first")
        if case == "full at first" and not trouble:
            hog.unlink()
            trouble = _run(where, small / "cache", "second") or _differs(where, "second")
            trouble = trouble or _run(where, small / "cache", "third", silent=True)
        return trouble


def attempt(seed: int, where: Path) -> list[Outcome]:
    """One cache."""
    case = CASES[seed % len(CASES)]
    trouble = damaged(case, random.Random(seed), where) if case in DAMAGES else misplaced(case, where)
    return harness.outcomes(f"{case}, seed {seed}", case, trouble)


FAULTS = [
    Fault(
        "cache",
        "the compilation cache: entries damaged, its place in the way, read-only or full",
        "a warning or nothing, exit 0 and equal digests; damaged entries are made anew",
        attempt,
        short=1,
        long=24,
    )
]
