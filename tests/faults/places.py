"""Run directories that cannot be used, or only look so."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from faults import disk, harness, quick
from faults.harness import Fault, Outcome


def refuses(*said: str) -> Callable[[Path, str], str]:
    """A look at a command that must say so before it trains."""

    def look(where: Path, name: str) -> str:
        command = harness.run(*quick.TRAIN, name, cwd=where)
        if "computing" in command.heard() or "compiling" in command.heard():
            return "it worked before it refused"
        return harness.refusal(command, 2, *said)

    return look


def works(where: Path, name: str) -> str:
    """A look at a command that must train."""
    return quick.whole((*quick.TRAIN, name), where, name)


def file_in_the_way(where: Path) -> str:
    (where / "file").write_text("mine")
    trouble = refuses("file", "Not a directory")(where, "file") or refuses("Not a directory")(where, "file/run")
    return trouble or ("" if (where / "file").read_text() == "mine" else "the file was changed")


def foreign(where: Path) -> str:
    (where / "folder").mkdir()
    (where / "folder" / "notes.txt").write_text("mine")
    return refuses("is not empty and holds no experiment.json")(where, "folder")


def read_only_folder(where: Path) -> str:
    with disk.read_only_disk(where / "disk"):
        trouble = refuses("cannot write to the run directory", "Read-only file system")(where, "disk/run")
        return trouble or refuses("Read-only file system")(where, "disk")


def read_only_run(where: Path) -> str:
    """A run that was kept on what can no more be written: it is not resumed, and it is read."""
    with disk.small_disk(where / "disk") as small:
        shutil.copytree(quick.kept() / "run", small / "run")
        disk.forbid_writing(small)
        words = (*quick.TRAIN, "disk/run", "--train.steps", "80", "--resume")
        trouble = harness.refusal(harness.run(*words, cwd=where), 2, "Read-only file system")
        trouble = trouble or harness.wrong(harness.run("verify", "disk/run", cwd=where), 0)
        return trouble or harness.wrong(harness.run("evaluate", "disk/run", cwd=where), 0)


def full_disk(where: Path) -> str:
    with disk.small_disk(where / "disk") as small:
        disk.fill(small, 0)
        return refuses("cannot write to the run directory", "No space left on device")(where, "disk/run")


def linked(where: Path) -> str:
    (where / "real").mkdir()
    (where / "link").symlink_to("real")
    return works(where, "link") or ("" if (where / "real" / "summary.json").exists() else "the run is not in it")


def dangling(where: Path) -> str:
    (where / "link").symlink_to("nowhere")
    trouble = refuses("link is a link to nowhere, which is not there")(where, "link")
    trouble = trouble or refuses("link is a link to nowhere")(where, "link/run")
    return trouble or ("" if not (where / "nowhere").exists() else "its target was created")


def circle(where: Path) -> str:
    (where / "link").symlink_to("link")
    return refuses("link cannot be a run directory: Too many levels of symbolic links")(where, "link")


PLACES: dict[str, Callable[[Path], str]] = {
    "a file in the way": file_in_the_way,
    "a read-only folder": read_only_folder,
    "a full disk": full_disk,
    "a missing parent": lambda where: works(where, "a/b/c"),
    "a dangling link": dangling,
    "a link": linked,
    "blanks": lambda where: works(where, " my first  run "),
    "letters that are not ASCII": lambda where: works(where, "Läufe/第一次 🙂"),
    "a newline": lambda where: works(where, "two\nlines"),
    "quotes, brackets and stars": lambda where: works(where, "a'b\"[red]$(c)*?%s{}"),
    "a name of 255 letters": lambda where: works(where, "x" * 255),
    "a name of 256 letters": lambda where: refuses("File name too long")(where, "x" * 256),
    "a path of 5,000 letters": lambda where: refuses("File name too long")(where, "/".join(["x" * 99] * 50)),
    "a name that is not UTF-8": lambda where: refuses("is no UTF-8 name")(where, os.fsdecode(b"run\xff")),
    "a folder of somebody else": foreign,
    "a link to itself": circle,
    "a device": lambda where: refuses("/dev/null", "Not a directory")(where, "/dev/null"),
    "a kept run on a read-only disk": read_only_run,
    "a URL": lambda where: works(where, "file:run"),
    "a name like an option": lambda where: quick.whole((*quick.TRAIN, "-run"), where, "./-run"),
}


def place(seed: int, where: Path) -> list[Outcome]:
    """One place for a run."""
    case = list(PLACES)[seed % len(PLACES)]
    return harness.outcomes(f"{case}, seed {seed}", "", PLACES[case](where))


FAULTS = [
    Fault(
        "place",
        "a run directory that cannot be used, or has an unusual name",
        "exit 2 with one sentence before anything is computed, or a whole run",
        place,
        short=2,
        long=40,
    ),
]
