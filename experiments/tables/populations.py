"""Tables and figures of sweeps."""

from typing import Any

from matplotlib.figure import Figure

from aeflax.evaluation.intervals import Interval
from aeflax.report.canvas import blank, drawing
from experiments.tables.markdown import best, machine, table

Record = dict[str, Any]

_HEIGHT = 3.4  # inches
_NAMED = 5  # every so many betas are written into the picture


def rate_distortion(record: Record) -> str:
    """One row a beta: what the code costs, what it loses, and the bound that is their sum."""
    rows = sorted(record["figures"]["rows"], key=lambda row: row["beta"])
    bounds = [row["elbo"]["mean"] for row in rows]
    marked = best([_shown(row["elbo"]) for row in rows], bounds)
    cells = [
        [f"{row['beta']:g}", _shown(row["kl"]), _shown(row["reconstruction_nats"]), bound]
        for row, bound in zip(rows, marked, strict=True)
    ]
    (group,) = record["figures"]["groups"]
    said = (
        f"Means over four seeds with 95 % intervals, test split: {len(group['members'])} models as one compiled "
        f"program, {group['seconds'] / 60:.1f} minutes on {machine(record)}."
    )
    return f"{table(['beta', 'rate, nats', 'distortion, nats', 'ELBO, nats'], cells)}\n\n{said}"


@drawing
def rate_distortion_figure(record: Record) -> Figure:
    """Distortion over rate with the intervals over seeds."""
    rows = sorted(record["figures"]["rows"], key=lambda row: row["beta"])
    figure = blank("What beta buys: a VAE on MNIST", _HEIGHT)
    axes = figure.subplots()
    rate, distortion = ([row[name]["mean"] for row in rows] for name in ("kl", "reconstruction_nats"))
    halves = [[_half(row[name]) for row in rows] for name in ("kl", "reconstruction_nats")]
    axes.errorbar(rate, distortion, xerr=halves[0], yerr=halves[1], marker="o", markersize=3, linewidth=1)
    for row, x, y in list(zip(rows, rate, distortion, strict=True))[::_NAMED]:
        axes.annotate(f"β = {row['beta']:g}", (x, y), xytext=(6, 4), textcoords="offset points")
    axes.margins(x=0.15)
    axes.set(xlabel="rate: KL to the prior, nats", ylabel="distortion, nats")
    return figure


def _half(found: Interval) -> float:
    return 0.0 if found["low"] is None else found["mean"] - found["low"]


def _shown(found: Interval) -> str:
    return f"{found['mean']:.1f} ± {_half(found):.1f}"
