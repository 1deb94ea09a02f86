"""Command lines that cannot work."""

import functools
import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from faults import harness, options
from faults.harness import Fault, Outcome

HARD_LIMIT = 3.0  # seconds; on an idle machine it takes under one, as `median` tells
Wrong = tuple[list[str], str]  # words of a command, and what the answer must say of them


@functools.cache
def out_of_range() -> list[Wrong]:
    """Every number of the configuration, at every value beside its ends."""
    from aeflax.config import Experiment

    found = []
    for path, hint, kinds in options.leaves(Experiment):
        for base, interval in options.intervals(hint):
            for value in options.outside(base, interval):
                found.append(([*kinds, f"--{path.replace('_', '-')}", str(value)], f"{path}="))
    return found


def typo(chance: random.Random) -> Wrong:
    """An option with one letter more, less, or swapped; the answer names the right one."""
    path, _, kinds = chance.choice(options.known())
    right = f"--{path.replace('_', '-')}"
    others = {f"--{name.replace('_', '-')}" for name, _, _ in options.known()}
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
    path, _, kinds = chance.choice(
        [leaf for leaf in options.known() if leaf[0] not in ("data.source", "train.sharding")]
    )
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
    (["--data.drop", "id"], "data.drop is for csv:FILE and parquet:FILE"),
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
    trouble = harness.refusal(command, 2, *(said for _, said in wrongs))
    if not trouble and took > HARD_LIMIT:
        trouble = f"it took {took:.1f} s, {statistics.median(TOOK):.2f} s at the median"
    command.phases.unlink(missing_ok=True)
    if not trouble and (left := os.listdir(where)):
        trouble = f"it created {left}"
    return harness.outcomes(" ".join(words), kind, trouble)


FAULTS = [
    Fault(
        "configuration",
        "a command line that cannot work: misspelt, of a wrong type, out of range, impossible together",
        "exit 2 in under a second, all faults in one sentence with their mend; nothing is created",
        configuration,
        short=4,
        long=300,
    ),
]
