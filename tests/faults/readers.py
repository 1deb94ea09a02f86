"""What reads an input of each kind, from a file that is alone in its folder."""

import shutil
import types
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np


def of_idx(path: Path) -> None:
    from aeflax.data import files

    _usable(files.idx(path))


def of_npy(path: Path) -> None:
    from aeflax.data import npy

    rows = npy.rows(path)
    _usable(rows[:])


def of_npz(path: Path) -> None:
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


def of_csv(path: Path) -> None:
    from aeflax.data import tables

    values, labels = tables.read(path)
    assert values.ndim == 2, values.shape
    assert labels is None or len(labels) == len(values)


def of_png(path: Path) -> None:
    from aeflax.data import images
    from aeflax.errors import DataError

    with suppress(DataError):
        images.read(path.parent, 4, True)["train"][0][:]
    _usable(images.read(path.parent, None, False)["train"][0][:])


def of_experiment(path: Path) -> None:
    from aeflax.cli.naming import named_experiment
    from aeflax.config.validation import validate

    validate(named_experiment("train", [str(path)]).experiment)


def of_manifest(path: Path) -> None:
    from aeflax import config
    from aeflax.config.plain import from_dict
    from aeflax.rundir import audit, manifest, runs

    audit.verify(path.parent)
    found = runs.read_manifest(path.parent)
    from_dict(config.Experiment, found["experiment"])
    manifest.inputs(found, from_dict(config.Experiment, found["resolved"]))


def of_summary(path: Path) -> None:
    from aeflax.rundir import runs
    from aeflax.storage import seal
    from aeflax.storage.document import read_json

    runs.read_summary(path.parent)
    shutil.copy(path, path.parent / seal.NAME)
    assert all(isinstance(one, str) for one in seal.faults(path.parent))
    read_json(path)


def of_metrics(path: Path) -> None:
    from aeflax.report.sound import numbers
    from aeflax.rundir import runs
    from aeflax.storage.journal import Journal
    from aeflax.trained import Run

    history: Any = Run.history
    records = numbers(runs.read_metrics(path.parent))
    for found in history.fget(types.SimpleNamespace(_records=records)).values():
        assert all(values.dtype.kind in "if" for values in found.values()), found
    Journal(path, 2).close()


def _usable(values: np.ndarray) -> None:
    """Examples that came through: of a type and shape that training takes, or refused by the check that comes next."""
    from aeflax.data.checks import prepared, require_examples

    require_examples(values, "it")
    prepared(values, "it")
