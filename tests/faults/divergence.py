"""Losses and gradients that are not finite: in some batches, in too many, and from a learning rate that is too high."""

import json
import random
from pathlib import Path

import jax
from faults import harness
from faults.harness import Fault, Outcome

# An experiment of a user with a penalty of his own that goes wrong when told to.
EXPERIMENT = """
from dataclasses import dataclass

import jax.numpy as jnp

from aeflax import config, factories, presets


@dataclass(frozen=True, kw_only=True)
class Bad:
    first: float = {first}
    count: float = {count}


@dataclass(frozen=True, kw_only=True)
class Penalties(config.Penalties, kind="with-a-fault"):
    bad: Bad | None = Bad()


@factories.penalty.register
def _(part: Bad):
    def cost(outputs, mean, values, step):
        now = (step >= values["first"]) & (step < values["first"] + values["count"])
        code = outputs.latent.code.sum(axis=-1)
        cost = {cost}
        return cost, cost

    return cost


CONFIG = config.Experiment(model=config.Model(latent_dim=4, penalties=Penalties()))
"""
COSTS = {
    "loss NaN": "jnp.where(now, jnp.nan, 0.0) * code",
    "loss infinite": "jnp.where(now, jnp.inf, 0.0) + 0 * code",
    "gradient NaN": "jnp.sqrt(jnp.where(now, 0.0, 1.0) + 0 * code)",  # at 0 a root is finite, its derivative not
}
STEPS, LIMIT = 80, 10
WORDS = (
    "--train.steps",
    STEPS,
    "--train.checkpoint-every",
    10,
    "--train.log-every",
    7,
    "--no-report",
    "--run-dir",
    "run",
)


def batches(seed: int, where: Path) -> list[Outcome]:
    """From 1 to 30 bad batches in a row, beginning anywhere."""
    chance, kinds = random.Random(seed), list(COSTS)
    count, kind = (1, 9, LIMIT, 30, chance.randint(2, 8))[seed % 5], kinds[seed % len(kinds)]
    first = chance.randint(0, STEPS - 31)
    (where / "bad.py").write_text(EXPERIMENT.format(first=first, count=count, cost=COSTS[kind]))
    done = harness.run("train", "bad.py", *WORDS, "--json", cwd=where)
    case = f"{kind} from step {first} on, {count} batches"
    if count < LIMIT:
        trouble = harness.wrong(done, 0)
        if not trouble and (skipped := json.loads(done.out)["skipped_updates"]) != count:
            trouble = f"{skipped} updates were counted as skipped"
        phase = "some"
    else:
        trouble = harness.wrong(done, 3, "before step", *SAID)
        phase = "too many"
    return harness.outcomes(case, phase, trouble or _usable(where))


def rate(seed: int, where: Path) -> list[Outcome]:
    """A learning rate of 1e6 and more."""
    chance = random.Random(seed)
    name, preset = ("adam", "sgd", "adamw")[seed % 3], ("vanilla", "vae", "denoising")[seed // 3 % 3]
    value = 10.0 ** chance.randint(6, 30)
    words = ("--optimizer.name", name, "--optimizer.learning-rate", value)
    done = harness.run("train", preset, *words, *WORDS, cwd=where)
    case = f"{preset}, {name} at {value:g}"
    if done.process.returncode == 0:  # Adam's step is as long as the rate: enormous weights, all finite
        trouble = harness.wrong(done, 0)
    else:
        trouble = harness.wrong(done, 3, "at step" if "weights" in done.err else "step", *SAID[1:])
    return harness.outcomes(case, name, trouble or _usable(where))


SAID = ("a loss of", "a gradient norm of", "optimizer.learning_rate")


def _usable(where: Path) -> str:
    """What is wrong with what a run left behind: every checkpoint is sound, and every number in it finite."""
    import numpy as np
    import orbax.checkpoint as ocp

    audit = json.loads(harness.run("verify", "run", "--json", cwd=where).out)
    for held in audit["checkpoints"]:
        place = where / "run" / "checkpoints" / str(held["step"])
        with ocp.StandardCheckpointer() as reader:
            state = reader.restore(place / "state")
        if held["faults"] or not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state["params"])):
            return f"the checkpoint of step {held['step']} is not finite or not sound: {held['faults']}"
    return ""


FAULTS = [
    Fault(
        "non-finite",
        "a loss or a gradient that is NaN or infinite, in 1 to 30 batches in a row",
        "the update is left out and counted; ten in a row: exit 3, the last good state saved",
        batches,
        short=1,
        long=45,
    ),
    Fault(
        "learning-rate",
        "a learning rate of 1e6 to 1e30",
        "exit 3 that names step, loss, gradient norm and what to try; no state that is not finite is saved",
        rate,
        short=1,
        long=18,
    ),
]
