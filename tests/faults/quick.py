"""A run of a second, for the rows in which little depends on how it is trained."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from faults import harness

TRAIN = (
    *("train", "vae", "--model.latent-dim", "4", "--train.steps", "60", "--train.checkpoint-every", "20"),
    *("--no-report", "--run-dir"),
)


@functools.cache
def kept(source: str = "digits") -> Path:
    """A folder with the run of TRAIN, and `a.npy`, on which it is trained where the source is that."""
    folder = harness.lasting_folder()
    np.save(folder / "a.npy", np.random.default_rng(0).random((600, 8, 8), np.float32))
    done = harness.run(*TRAIN, "run", "--data.source", source, cwd=folder)
    assert not (fault := harness.wrong(done, 0)), fault
    return folder


def whole(words: tuple[Any, ...], where: Path, name: str = "run", **options: Any) -> str:
    """Why a command did not train a whole run in the directory of this name."""
    trouble = harness.wrong(harness.run(*words, cwd=where, **options), 0)
    return trouble or harness.wrong(harness.run("verify", name, cwd=where), 0)
