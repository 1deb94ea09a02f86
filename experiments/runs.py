"""Runs that are trained for a record, and the figures that a record keeps of them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aeflax
from aeflax.config import Experiment
from aeflax.evaluation.intervals import interval
from aeflax.population.outcome import Sweep
from aeflax.rundir.runs import SUMMARY

KEPT = ("step", "seconds", "images_per_second", "parameters", "test", "pca", "state_sha256")


def measured(experiment: Experiment, path: Path, preset: str, **how: Any) -> tuple[aeflax.Run, dict[str, Any]]:
    """Trains an experiment in a run directory; returns the run and its figures.

    What was interrupted goes on. What is finished is trained again: it may be the work of other code than the record
    will name.
    """
    finished = (path / SUMMARY).exists()
    run = aeflax.train(experiment, run_dir=path, resume=not finished, overwrite=finished, preset=preset, **how)
    assert run.summary is not None
    return run, {name: run.summary[name] for name in KEPT}


def swept(experiment: Experiment, grid: Mapping[str, Iterable[Any]], path: Path, **how: Any) -> Sweep:
    """Trains a grid as `aeflax.sweep` does; what was interrupted goes on, what is finished is trained again."""
    finished = (path / "report.html").exists()
    begun = (path / "sweep.json").exists()
    return aeflax.sweep(experiment, grid, run_dir=path, resume=begun and not finished, overwrite=finished, **how)


def at_step(log: Sequence[Mapping[str, Any]], step: int, split: str = "test") -> Mapping[str, float]:
    """The evaluation of a split after a step, in a run's metrics."""
    return next(record for record in log if record["step"] == step and record["split"] == split)


def claim(
    number: str,
    what: str,
    values: Sequence[float],
    *,
    published: str,
    passes: tuple[float | None, float | None],
    beats: float | None = None,
) -> dict[str, Any]:
    """One published figure and what came out here, a value a seed.

    Args:
      number: of the figure in docs/results.md, e.g. "P2".
      what: is measured, in a few words with its unit.
      values: one a seed.
      published: the figure, with its source.
      passes: least and largest mean that agrees with it; None where there is no limit.
      beats: a mean under which, or above which where the least one alone is limited, the figure is beaten.
    """
    low, high = passes
    mean = interval(values)
    upward = high is None
    agrees = (low is None or mean["mean"] >= low) and (high is None or mean["mean"] <= high)
    beaten = beats is not None and (mean["mean"] >= beats if upward else mean["mean"] <= beats)
    return {
        "number": number,
        "what": what,
        "published": published,
        "passes": list(passes),
        "beats": beats,
        "values": list(values),
        **mean,
        "verdict": "beat" if beaten else "pass" if agrees else "short",
    }
