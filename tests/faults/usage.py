"""Commands that cannot work, places that cannot be used, two at once, another resume, terminals that are not there."""

import atexit
import contextlib
import functools
import json
import os
import pty
import random
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from faults import disk, harness
from faults.harness import Fault, Outcome

QUICK = ("train", "vae", "--model.latent-dim", "4", "--train.steps", "60", "--train.checkpoint-every", "20")
TRAIN = (*QUICK, "--no-report", "--run-dir")
HARD_LIMIT = 3.0  # seconds; on an idle machine it takes under one, as `median` tells


def outcome(case: str, phase: str, trouble: str) -> list[Outcome]:
    """One, which holds where there is no trouble."""
    return [Outcome(case, phase, not trouble, trouble)]


def sentence(command: harness.Command, code: int, *said: str) -> str:
    """Why a command that ended did not refuse with one sentence that says so."""
    trouble = harness.wrong(command, code, *said)
    lines = command.err.strip().splitlines()
    if not trouble and (len(lines) != 1 or not lines[0].startswith("aeflax: ")):
        trouble = f"not one sentence: {command.err.strip()[-300:]}"
    return trouble or ("" if not command.out else f"on standard output: {command.out[-100:]}")


@functools.cache
def kept(source: str = "digits") -> Path:
    """A folder with the run of TRAIN, and `a.npy`, on which it is trained where the source is that."""
    folder = Path(tempfile.mkdtemp(prefix="aeflax-kept-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    np.save(folder / "a.npy", np.random.default_rng(0).random((600, 8, 8), np.float32))
    done = harness.run(*TRAIN, "run", "--data.source", source, cwd=folder)
    assert not (fault := harness.wrong(done, 0)), fault
    return folder


# Command lines that cannot work.

Wrong = tuple[list[str], str]  # words of a command, and what the answer must say of them


def leaves(cls: Any, prefix: str = "", kinds: tuple[str, ...] = ()) -> Iterator[tuple[str, Any, list[str]]]:
    """(dotted path, annotation, words that make the option one) of every field of a configuration and its parts."""
    from aeflax.schema import Part, hints, options

    for name, hint in hints(cls).items():
        part = next((option for option in options(hint) if isinstance(option, type) and is_dataclass(option)), None)
        slot = next((option for option in options(hint) if isinstance(option, type) and issubclass(option, Part)), None)
        if slot is not None and slot not in slot.kinds.values():
            for kind, filling in slot.kinds.items():
                yield from leaves(filling, f"{prefix}{name}.", (*kinds, f"--{prefix}{name}", kind))
        elif part is not None:
            yield from leaves(part, f"{prefix}{name}.", kinds)
        else:
            yield prefix + name, hint, list(kinds)


def intervals(hint: Any) -> Iterator[tuple[type, Any]]:
    """(int or float, interval) of the numbers that an annotation allows."""
    from aeflax.schema import Interval, options

    items = [item for option in options(hint) if typing.get_origin(option) is tuple for item in option.__args__]
    for option in (*options(hint), *items):
        if typing.get_origin(option) is Annotated:
            base, *marks = typing.get_args(option)
            yield from ((base, mark) for mark in marks if isinstance(mark, Interval))


def outside(base: type, interval: Any) -> list[Any]:
    """Numbers that an interval does not hold: beside its ends, and far away."""
    step = 1 if base is int else 1e-6
    near = [interval.low - step, interval.high + step]
    near += [interval.low] if interval.open_left else []
    near += [interval.high] if interval.open_right else []
    far = [-(10**9), *([] if base is int else [float("nan"), float("inf")])]
    # None of what is infinite or too large for float32, whose neighbours are itself.
    return [value for value in near if abs(value) < 1e12 and value not in interval] + far


@functools.cache
def out_of_range() -> list[Wrong]:
    """Every number of the configuration, at every value beside its ends."""
    from aeflax.config import Experiment

    found = []
    for path, hint, kinds in leaves(Experiment):
        for base, interval in intervals(hint):
            for value in outside(base, interval):
                found.append(([*kinds, f"--{path.replace('_', '-')}", str(value)], f"{path}="))
    return found


@functools.cache
def known() -> list[tuple[str, Any, list[str]]]:
    """Every option of `aeflax train` below an experiment."""
    from aeflax.config import Experiment

    return list(leaves(Experiment))


def typo(chance: random.Random) -> Wrong:
    """An option with one letter more, less, or swapped; the answer names the right one."""
    path, _, kinds = chance.choice(known())
    right = f"--{path.replace('_', '-')}"
    others = {f"--{name.replace('_', '-')}" for name, _, _ in known()}
    while (wrong := misspelt(right, chance)) in others:
        pass
    return [*kinds, wrong, "3"], f"did you mean {right}?"


def misspelt(option: str, chance: random.Random) -> str:
    """A letter of the last word is missing, twice there, or changes places with the one before it."""
    head, _, last = option.rpartition(".")
    at = chance.randrange(min(1, len(last) - 1), len(last))
    missing, twice = last[:at] + last[at + 1 :], last[: at + 1] + last[at:]
    swapped = last[: at - 1] + last[at] + last[at - 1] + last[at + 1 :]
    return f"{head}.{chance.choice((missing, twice, swapped) if len(last) > 2 else (twice,))}"


def wrong_type(chance: random.Random) -> Wrong:
    """A word where a number, a choice or a switch belongs."""
    path, _, kinds = chance.choice([leaf for leaf in known() if leaf[0] not in ("data.source", "train.sharding")])
    option = f"--{path.replace('_', '-')}"
    return [*kinds, option, chance.choice(("many", "1.2.3", "0x", "ja"))], f"{option}="


# Words, and what the answer must say; the options of different groups, so that two may be on one line.
IMPOSSIBLE: list[Wrong] = [
    (["--train.epochs", "1", "--train.steps", "2"], "train.epochs and train.steps are both given"),
    (["--model.penalties.kl", "on", "--model.bottleneck", "deterministic"], "model.penalties.kl needs a posterior"),
    (["--model.penalties.rate", "on", "--model.bottleneck", "posterior"], "model.penalties.rate needs activations"),
    (["--model.bottleneck.k", "9", "--model.latent-dim", "8"], "model.bottleneck.k=9 exceeds model.latent_dim=8"),
    (["--model.corruption", "masking", "--model.corruption.rate-min", "0.9"], "the lower corruption level 0.9 exceeds"),
    (["--optimizer.schedule", "piecewise"], "needs optimizer.boundaries"),
    (["--optimizer.boundaries", "5", "9"], "optimizer.boundaries have no meaning for the constant schedule"),
    (["--optimizer.schedule", "exponential", "--optimizer.final", "0"], "never reaches optimizer.final=0"),
    (["--optimizer.schedule", "piecewise", "--optimizer.boundaries", "9", "5"], "optimizer.boundaries must rise"),
    (["--model.backbone", "conv", "--model.backbone.features"], "model.backbone.features is empty"),
    (["--train.patience", "3"], "train.patience needs a validation split"),
    (["--train.monitor", "elbo", "--data.validation", "9"], "train.monitor=elbo is no metric of this model"),
    (["--train.accumulate", "3"], "data.batch_size=128 does not divide into train.accumulate=3 pieces"),
    (["--train.exact", "True", "--data.batch-size", "9"], "data.batch_size=9 does not divide into the 8 parts"),
    (["--train.exact", "True", "--train.placement", "mesh"], "train.exact adds up in one order"),
    (["--train.fsdp", "2"], "train.fsdp spreads the model over devices"),
    (["--train.placement", "mesh", "--train.sharding", "x"], "train.sharding='x' has the form"),
    (["--data.size", "8"], "data.size is for images:DIR alone"),
    (["--data.grey", "True"], "data.grey is for images:DIR alone"),
    (["--data.source", "synthetic:8"], "has the form synthetic:HxWxC:N"),
    (["--data.source", "npy:"], "is not complete; it has the form npy:FILE"),
    (["--data.source", "minst"], "did you mean mnist?"),
    (["--data.scale", "standard"], "--data.scale standard leaves that range"),
    (["--resume"], "--resume needs --run-dir"),
    (["--init-from", "missing"], "missing holds no run"),
    (["--num-processes", "2"], "--coordinator, --process-id and --num-processes go together"),
    (["--model.corruption", "maskin"], "did you mean masking?"),
    (["surplus", "--json"], "'surplus' belongs to no option"),
]
SINGLE: dict[str, Callable[[random.Random, int], Wrong]] = {
    "a misspelt option": lambda chance, _: typo(chance),
    "a wrong type": lambda chance, _: wrong_type(chance),
    "out of range": lambda _, turn: out_of_range()[turn % len(out_of_range())],
    "impossible together": lambda _, turn: IMPOSSIBLE[turn % len(IMPOSSIBLE)],
}
RANGES = 5  # attempts that go through the ranges at one seed: there are many


def several(chance: random.Random) -> list[Wrong]:
    """Two or three faults, of options that do not disturb each other."""
    from aeflax.config import Data, Model, Optimizer, Train

    groups = [("model", Model), ("data", Data), ("optimizer", Optimizer), ("train", Train)]
    chosen: list[Wrong] = []
    for prefix, cls in chance.sample(groups, chance.choice((2, 3))):
        ranges = [wrong for wrong in out_of_range() if wrong[0][0].startswith(f"--{prefix}.")]
        name = chance.choice([field.name for field in fields(cls)])
        option = f"--{prefix}.{name.replace('_', '-')}"
        misspelt = ([f"{option}x", "3"], f"unknown option {option}x; did you mean {option}?")
        chosen.append(chance.choice((misspelt, chance.choice(ranges))))
    return chosen


def configuration(seed: int, where: Path) -> list[Outcome]:
    """Bad command lines: each is refused with all of its faults, at once, and nothing is created."""
    chance = random.Random(seed)
    kinds = [*SINGLE, "several"]
    kind = kinds[seed % len(kinds)]
    turn = seed // len(kinds)
    if kind == "several":
        tried = [several(chance)]
    elif kind == "out of range":
        tried = [[SINGLE[kind](chance, turn * RANGES + step)] for step in range(RANGES)]
    else:
        tried = [[SINGLE[kind](chance, turn)]]
    return [found for wrongs in tried for found in refused(kind, wrongs, where)]


TOOK: list[float] = []  # seconds of every such command


def refused(kind: str, wrongs: list[Wrong], where: Path) -> list[Outcome]:
    """What a command line with these faults comes to."""
    words = [word for wrong, _ in wrongs for word in wrong]
    command = harness.start("train", *([] if words[0] != "surplus" else ["vanilla"]), *words, cwd=where)
    began = time.monotonic()
    command.ended()
    took = time.monotonic() - began
    TOOK.append(took)
    trouble = sentence(command, 2, *(said for _, said in wrongs))
    if not trouble and took > HARD_LIMIT:
        trouble = f"it took {took:.1f} s, {statistics.median(TOOK):.2f} s at the median"
    command.phases.unlink(missing_ok=True)
    if not trouble and (left := os.listdir(where)):
        trouble = f"it created {left}"
    return outcome(" ".join(words), kind, trouble)


# Places that cannot be used, or only look so.


def whole(words: tuple[Any, ...], where: Path, name: str = "run", **options: Any) -> str:
    """Why a command did not train a whole run in the directory of this name."""
    trouble = harness.wrong(harness.run(*words, cwd=where, **options), 0)
    return trouble or harness.wrong(harness.run("verify", name, cwd=where), 0)


def refuses(*said: str) -> Callable[[Path, str], str]:
    """A look at a command that must say so before it trains."""

    def look(where: Path, name: str) -> str:
        command = harness.run(*TRAIN, name, cwd=where)
        if "computing" in command.heard() or "compiling" in command.heard():
            return "it worked before it refused"
        return sentence(command, 2, *said)

    return look


def works(where: Path, name: str) -> str:
    """A look at a command that must train."""
    return whole((*TRAIN, name), where, name)


def file_in_the_way(where: Path) -> str:
    (where / "file").write_text("mine")
    trouble = refuses("file", "Not a directory")(where, "file") or refuses("Not a directory")(where, "file/run")
    return trouble or ("" if (where / "file").read_text() == "mine" else "the file was changed")


def foreign(where: Path) -> str:
    (where / "folder").mkdir()
    (where / "folder" / "notes.txt").write_text("mine")
    return refuses("is not empty and holds no experiment.json")(where, "folder")


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[Path]:
    """A folder that nobody can write to, not even root."""
    with disk.small_disk(place):
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        yield place


def read_only_folder(where: Path) -> str:
    with read_only(where / "disk"):
        trouble = refuses("cannot write to the run directory", "Read-only file system")(where, "disk/run")
        return trouble or refuses("Read-only file system")(where, "disk")


def read_only_run(where: Path) -> str:
    """A run that was kept on what can no more be written: it is not resumed, and it is read."""
    with disk.small_disk(where / "disk") as small:
        shutil.copytree(kept() / "run", small / "run")
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        words = (*TRAIN, "disk/run", "--train.steps", "80", "--resume")
        trouble = sentence(harness.run(*words, cwd=where), 2, "Read-only file system")
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
    "a name like an option": lambda where: whole((*TRAIN, "-run"), where, "./-run"),
}


def place(seed: int, where: Path) -> list[Outcome]:
    """One place for a run."""
    case = list(PLACES)[seed % len(PLACES)]
    return outcome(f"{case}, seed {seed}", "", PLACES[case](where))


# Two commands and one directory.


def two(seed: int, where: Path) -> list[Outcome]:
    """Two commands at once, or one shortly after the other; every third time the first one is killed."""
    chance, words = random.Random(seed), (*TRAIN[: TRAIN.index("--train.steps")], "--train.steps", "8000")
    words = (*words, "--train.checkpoint-every", "500", "--no-report", "--run-dir", "run", "--resume")
    kind = ("at once", "shortly after", "the first is killed")[seed % 3]
    first = harness.start(*words, cwd=where)
    if kind != "at once":
        first.reached("computing" if kind == "the first is killed" else "hearing")
        time.sleep(chance.uniform(0, 0.5))
    if kind == "the first is killed":
        first.send(signal.SIGKILL)
        first.ended()
        trouble = "" if first.process.pid == holder(where / "run") else "its lock does not name it"
        return outcome(f"seed {seed}", kind, trouble or whole(words, where))
    second = harness.start(*words, cwd=where)
    for command in (first, second):
        command.ended()
    winner, loser = sorted((first, second), key=lambda command: command.process.returncode)
    told = f"run is in use by process {winner.process.pid} on {socket.gethostname()}"
    trouble = harness.wrong(winner, 0) or harness.wrong(loser, 6, told)
    return outcome(f"seed {seed}", kind, trouble or harness.wrong(harness.run("verify", "run", cwd=where), 0))


def holder(run_directory: Path) -> int:
    """The process that the lock names."""
    return int((run_directory / "run.lock").read_text().split()[1])


# Another experiment, other data, other versions than those of the run that is resumed.

# Words, and what is named of them; each field that decides a result, or what is logged and kept of it.
CHANGES: list[Wrong] = [
    (["--data.batch-size", "64"], "data.batch_size: 128 -> 64"),
    (["--data.holdout", "0.3"], "data.holdout: 0.2 -> 0.3"),
    (["--data.validation", "50"], "data.validation: 0 -> 50"),
    (["--data.scale", "unit"], "data.scale: 'none' -> 'unit'"),
    (["--data.binarize", "dynamic"], "data.binarize: 'none' -> 'dynamic'"),
    (["--data.limit", "500"], "data.limit: None -> 500"),
    (["--data.classes", "1", "2"], "data.classes: () -> (1, 2)"),
    (["--model.latent-dim", "5"], "model.latent_dim: 4 -> 5"),
    (["--model.backbone.widths", "9"], "model.backbone.widths: () -> (9,)"),
    (["--model.backbone.activation", "tanh"], "model.backbone.activation: 'relu' -> 'tanh'"),
    (["--model.backbone", "conv"], "model.backbone.kind: 'dense' -> 'conv'"),
    (["--model.corruption", "masking"], "model.corruption.kind: 'none' -> 'masking'"),
    (["--model.likelihood", "gaussian"], "model.likelihood.kind: 'bernoulli' -> 'gaussian'"),
    (["--model.penalties.l1", "on"], "model.penalties.l1: None -> {'weight': 0.1}"),
    (["--model.penalties.kl.beta", "2"], "model.penalties.kl.beta: 1.0 -> 2.0"),
    (["--model.penalties.kl.warmup-steps", "7"], "model.penalties.kl.warmup_steps: 0 -> 7"),
    (["--model.penalties.kl.free-bits", "0.1"], "model.penalties.kl.free_bits: None -> 0.1"),
    (["--optimizer.name", "adamw"], "optimizer.name: 'adam' -> 'adamw'"),
    (["--optimizer.learning-rate", "0.01"], "optimizer.learning_rate: 0.001 -> 0.01"),
    (["--optimizer.b1", "0.8"], "optimizer.b1: None -> 0.8"),
    (["--optimizer.b2", "0.9"], "optimizer.b2: None -> 0.9"),
    (["--optimizer.eps", "1e-06"], "optimizer.eps: 1e-08 -> 1e-06"),
    (["--optimizer.schedule", "cosine"], "optimizer.schedule: 'constant' -> 'cosine'"),
    (["--optimizer.warmup-steps", "3"], "optimizer.warmup_steps: 0 -> 3"),
    (["--optimizer.final", "0.5"], "optimizer.final: 0.01 -> 0.5"),
    (["--optimizer.schedule", "piecewise", "--optimizer.boundaries", "9"], "optimizer.boundaries: () -> (9,)"),
    (["--optimizer.factor", "0.5"], "optimizer.factor: 0.1 -> 0.5"),
    (["--optimizer.weight-decay", "0.1"], "optimizer.weight_decay: None -> 0.1"),
    (["--optimizer.clip-norm", "1"], "optimizer.clip_norm: None -> 1.0"),
    (["--optimizer.ema", "0.9"], "optimizer.ema: None -> 0.9"),
    (["--train.seed", "1"], "train.seed: 0 -> 1"),
    (["--train.precision", "bfloat16"], "train.precision: 'float32' -> 'bfloat16'"),
    (["--train.accumulate", "2"], "train.accumulate: 1 -> 2"),
    (["--train.exact", "True"], "train.exact: False -> True"),
    (["--train.log-every", "3"], "train.log_every: None -> 3"),
    (["--train.eval-every", "7"], "train.eval_every: None -> 7"),
    (["--train.checkpoint-every", "30"], "train.checkpoint_every: 20 -> 30"),
    (["--data.validation", "60", "--train.patience", "3"], "train.patience: None -> 3"),
    (["--data.validation", "70", "--train.monitor", "mse"], "train.monitor: None -> 'mse'"),
    (["--train.max-nonfinite", "3"], "train.max_nonfinite: 10 -> 3"),
]
# What may change, and with how many devices.
FREE: list[tuple[list[str], int]] = [
    (["--train.steps", "80"], 1),
    (["--train.steps", "None", "--train.epochs", "7"], 1),
    (["--train.steps", "80", "--train.placement", "pmap"], 2),
    (["--train.steps", "80", "--train.placement", "mesh", "--train.fsdp", "2"], 2),
    (["--train.steps", "80", "--train.placement", "mesh", "--train.sharding", "kernel=none"], 2),
    (["--train.steps", "80", "--train.rematerialize", "True"], 1),
    (["--train.steps", "80", "--data.resident", "False"], 1),
    (["--train.steps", "80", "--data.resident", "False", "--data.workers", "2"], 1),
    (["--train.steps", "80", "--train.digest-every", "10"], 1),
]
VERSIONS = ("python", "jax", "numpy", "aeflax")


def resume(seed: int, where: Path) -> list[Outcome]:
    """A finished run, and a command that goes on with it in another way."""
    kinds = {"another configuration": changed, "other data": elsewhere, "what may change": free, "other versions": aged}
    kind = list(kinds)[seed % len(kinds)]
    folder = kept("npy:a.npy") if kind == "other data" else kept()
    shutil.copytree(folder, where, dirs_exist_ok=True)
    case, trouble = kinds[kind](random.Random(seed), seed // len(kinds), where)
    return outcome(f"{case}, seed {seed}", kind, trouble)


def resumes(where: Path, *words: str, **options: Any) -> harness.Command:
    """The command of the kept run, with other words."""
    return harness.run(*TRAIN, "run", *words, "--resume", cwd=where, **options)


def tree(run_directory: Path) -> dict[str, bytes]:
    """All files but the lock."""
    found = (path for path in sorted(run_directory.rglob("*")) if path.is_file() and path.name != "run.lock")
    return {str(path): path.read_bytes() for path in found}


def changed(chance: random.Random, turn: int, where: Path) -> tuple[str, str]:
    """Three changes, of which each is named; the run stays as it was. Fifteen turns go through all of them."""
    chosen = [CHANGES[(turn + apart) % len(CHANGES)] for apart in (0, 14, 28)]
    chance.shuffle(chosen)
    words, before = [word for words, _ in chosen for word in words], tree(where / "run")
    done = resumes(where, *words)
    trouble = harness.wrong(done, 2, "--resume finds another experiment", *(said for _, said in chosen))
    if not trouble and done.err.count("aeflax: ") != 1:
        trouble = f"not one sentence: {done.err[-300:]}"
    return " ".join(words), trouble or ("" if tree(where / "run") == before else "the run was changed")


def elsewhere(_: random.Random, turn: int, where: Path) -> tuple[str, str]:
    """Other examples, another file, no file, fewer steps."""
    case = ("other content", "one value", "another name", "gone", "fewer steps", "fewer examples")[turn % 6]
    source, file, words = "npy:a.npy", where / "a.npy", []
    examples, said, code = np.load(file), "train: the data differ", 2
    if case == "other content":
        np.save(file, examples[::-1])
    elif case == "one value":
        examples[7, 3, 3] = 1 - examples[7, 3, 3]
        np.save(file, examples)
    elif case == "fewer examples":
        np.save(file, examples[:500])
    elif case == "another name":
        file.rename(where / "b.npy")
        source, said = "npy:b.npy", "data.source: 'npy:a.npy' -> 'npy:b.npy'"
    elif case == "gone":
        file.unlink()
        said, code = "cannot read a.npy", 5
    else:
        words, said = ["--train.steps", "40"], "train.steps: 60 -> 40"
    before = tree(where / "run")
    trouble = sentence(resumes(where, "--data.source", source, *words), code, said)
    return case, trouble or ("" if tree(where / "run") == before else "the run was changed")


def free(_: random.Random, turn: int, where: Path) -> tuple[str, str]:
    """What may change: the run is trained to its new end."""
    words, devices = FREE[turn % len(FREE)]
    trouble = harness.wrong(resumes(where, *words, devices=devices), 0, "from step 60")
    trouble = trouble or harness.wrong(harness.run("verify", "run", cwd=where), 0)
    if not trouble and (step := json.loads((where / "run" / "summary.json").read_text())["step"]) <= 60:
        trouble = f"it ended at step {step}"
    return " ".join(words), trouble


def aged(chance: random.Random, _: int, where: Path) -> tuple[str, str]:
    """A run of other versions goes on with one warning, and its manifest keeps both."""
    from aeflax.run import MANIFEST, read_json, write_json

    place = where / "run" / MANIFEST
    manifest = read_json(place) or {}
    now = manifest["versions"]
    others = chance.sample(VERSIONS, chance.randint(1, len(VERSIONS)))
    old = now | dict.fromkeys(others, "0.0.1")
    write_json(place, manifest | {"versions": old})
    first, second = (resumes(where, "--train.steps", steps) for steps in ("80", "100"))
    told = [line for line in first.err.splitlines() if line.startswith("aeflax: ")]
    trouble = harness.wrong(first, 0, *(f"{name} {now[name]}" for name in others)) or harness.wrong(second, 0)
    if not trouble and not (len(told) == 1 and all(f"{name} 0.0.1" in told[0] for name in others)):
        trouble = f"it warned {told}"
    if not trouble and "aeflax: " in second.err:
        trouble = f"it warned again: {second.err}"
    kept_now = read_json(place) or {}
    if not trouble and (kept_now["versions"], kept_now.get("resumed_with")) != (old, [now]):
        trouble = f"the manifest says {kept_now['versions']}, {kept_now.get('resumed_with')}"
    return ", ".join(others), trouble or harness.wrong(harness.run("verify", "run", cwd=where), 0)


# Terminals, streams and homes that are not there.

FIRST = ("importing", "hearing", "compiling", "computing", "evaluating")


def left(stream: str) -> Callable[[Path, random.Random], harness.Command]:
    """A reader that closes a stream (or both: stdout and stderr) while the command works."""

    def run(where: Path, chance: random.Random) -> harness.Command:
        reading, writing = os.pipe()
        streams = dict.fromkeys(stream.split(), writing)
        command = harness.start(*TRAIN, "run", "--json", cwd=where, **streams)
        os.close(writing)
        command.reached(chance.choice(FIRST))
        os.close(reading)
        command.ended()
        return command

    return run


def closed(*numbers: int) -> Callable[[Path, random.Random], harness.Command]:
    """File descriptors that are closed from the start."""

    def close() -> None:
        for number in numbers:
            os.close(number)

    return lambda where, _: harness.run(*TRAIN, "run", "--json", cwd=where, before=close)


def terminal(rows: int, columns: int, *, goes: bool = False) -> Callable[[Path, random.Random], harness.Command]:
    """A terminal of a size, which may go away without a word."""

    def run(where: Path, chance: random.Random) -> harness.Command:
        ours, theirs = pty.openpty()
        subprocess.run(["stty", "rows", str(rows), "cols", str(columns)], stdin=theirs, check=True)
        command = harness.start(*TRAIN, "run", cwd=where, stdout=theirs, stderr=theirs, environment={"TERM": "xterm"})
        os.close(theirs)
        reader = threading.Thread(target=drain, args=(ours,))
        if goes:
            command.reached(chance.choice(FIRST))
            os.close(ours)
            command.ended()
        else:
            reader.start()
            command.ended()
            reader.join()
            os.close(ours)
        return command

    return run


def drain(number: int) -> None:
    """Reads until there is nobody who writes."""
    with contextlib.suppress(OSError):
        while os.read(number, 4096):
            pass


def without(*names: str, **given: str) -> Callable[[Path, random.Random], harness.Command]:
    """An environment that lacks some variables and has others; `{}` in a value is the folder."""

    def run(where: Path, _: random.Random) -> harness.Command:
        prefix = ["env", *(word for name in names for word in ("-u", name))]
        environment = {name: value.replace("{}", str(where)) for name, value in given.items()}
        return harness.run(*TRAIN, "run", cwd=where, prefix=prefix, environment=environment)

    return run


def read_only_home(where: Path, _: random.Random) -> harness.Command:
    with read_only(where / "disk"):
        return without("XDG_CACHE_HOME", HOME="{}/disk")(where, _)


def ascii_locale(where: Path, _: random.Random) -> harness.Command:
    (where / "Läufe").mkdir()
    (where / "run").symlink_to("Läufe")
    return harness.run(*TRAIN, "Läufe", cwd=where, environment={"LC_ALL": "C"})


TERMINALS: dict[str, Callable[[Path, random.Random], harness.Command]] = {
    "standard output is left by its reader": left("stdout"),
    "standard error is closed": closed(2),
    "no home": without("HOME", "XDG_CACHE_HOME", "TERM"),
    "standard output and error are closed": closed(1, 2),
    "standard error is left by its reader": left("stderr"),
    "both are left by their reader": left("stdout stderr"),
    "standard output is closed": closed(1),
    "all streams are closed": closed(0, 1, 2),
    "no terminal": without("TERM", "COLUMNS", "LINES"),
    "a dumb terminal": without(TERM="dumb", NO_COLOR="1"),
    "a terminal that goes away": terminal(24, 80, goes=True),
    "a terminal of one column": terminal(1, 1),
    "a wide terminal": terminal(50, 300),
    "a home that is not there": without("XDG_CACHE_HOME", HOME="{}/not/there"),
    "a home that is a file": without("XDG_CACHE_HOME", HOME="/dev/null"),
    "a home that cannot be written": read_only_home,
    "no bytecode is written": without(PYTHONDONTWRITEBYTECODE="1"),
    "letters that are not ASCII, in the locale C": ascii_locale,
    "ASCII alone": without(PYTHONIOENCODING="ascii"),
    "no folder for temporary files": without(TMPDIR="{}/not/there"),
    "a matplotlib that cannot keep its fonts": without(MPLCONFIGDIR="/dev/null/x"),
    "an environment that is nearly empty": without(*sorted({*os.environ} - {"PATH"})),
    "a console of no columns": without(COLUMNS="0", LINES="0"),
}


def streams(seed: int, where: Path) -> list[Outcome]:
    """A run in such surroundings: it ends with the values that it has in others."""
    case = list(TERMINALS)[seed % len(TERMINALS)]
    command = TERMINALS[case](where, random.Random(seed))
    command.out, command.err = command.out or "", command.err or ""
    trouble = harness.wrong(command, 0)
    if not trouble and "bug of ours" in command.err:
        trouble = command.err[-300:]
    trouble = trouble or harness.wrong(harness.run("verify", "run", cwd=where), 0)
    if not trouble and harness.last_digest(where / "run") != harness.last_digest(kept() / "run"):
        trouble = "another final state"
    return outcome(f"{case}, seed {seed}", "", trouble)


FAULTS = [
    Fault(
        "configuration",
        "a command line that cannot work: misspelt, of a wrong type, out of range, impossible together",
        "exit 2 in under a second, all faults in one sentence with their mend; nothing is created",
        configuration,
        short=4,
        long=300,
    ),
    Fault(
        "place",
        "a run directory that cannot be used, or has an unusual name",
        "exit 2 with one sentence before anything is computed, or a whole run",
        place,
        short=3,
        long=40,
    ),
    Fault(
        "two",
        "two commands in one run directory",
        "one trains to the end, the other says who holds it and exits with 6; the lock of a dead process is taken over",
        two,
        short=1,
        long=12,
    ),
    Fault(
        "resume",
        "resumed with another configuration, other data, other versions",
        "exit 2 with every difference, the run untouched; what may change goes on; with other versions it warns",
        resume,
        short=3,
        long=60,
    ),
    Fault(
        "terminal",
        "streams closed or left by their reader, no terminal, no home, another locale",
        "trains to its end, with the same final state",
        streams,
        short=3,
        long=24,
    ),
]
