"""Runs that are trained for a record, and the figures that a record keeps of one."""

from pathlib import Path
from typing import Any

import aeflax
from aeflax.config import Experiment
from aeflax.run import SUMMARY

KEPT = ("step", "seconds", "images_per_second", "parameters", "test", "pca", "state_sha256")


def measured(experiment: Experiment, path: Path, preset: str) -> tuple[aeflax.Run, dict[str, Any]]:
    """Trains an experiment in a run directory; returns the run and its figures.

    What was interrupted goes on. What is finished is trained again: it may be the work of other code than the record
    will name.
    """
    finished = (path / SUMMARY).exists()
    run = aeflax.train(experiment, run_dir=path, resume=not finished, overwrite=finished, preset=preset)
    assert run.summary is not None
    return run, {name: run.summary[name] for name in KEPT}
