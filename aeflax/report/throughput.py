"""The figure of `aeflax bench`: images a second over the batch size, and the programs under the machine's roofline."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from aeflax.report.canvas import COLOURS, GREY, blank, png, styled

HEIGHT = 5.4  # inches
MARKERS = "osD^v"


def throughput(measurements: Sequence[Mapping[str, Any]]) -> bytes:
    """Draws measurements (`aeflax.bench.measurement.Measurement.as_dict`) as a PNG.

    The roofline (Williams, Waterman & Patterson 2009) is the operations a second that a program can reach at most,
    given how many operations it does for each byte that it moves.
    """
    with styled():
        figure = _draw(measurements)
    return png(figure)


def _draw(measurements: Sequence[Mapping[str, Any]]) -> Figure:
    figure = blank(", ".join(dict.fromkeys(one["devices"].partition(" (")[0] for one in measurements)), HEIGHT)
    speed, roof = figure.subplots(2)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in measurements:
        groups.setdefault(f"{one['placement']}, {one['precision']}", []).append(one)
    for (name, group), colour, marker in zip(groups.items(), COLOURS, MARKERS * 2, strict=False):
        style = {"color": colour, "marker": marker, "markersize": 4.5, "label": name}
        batch = np.array([one["batch_size"] for one in group])
        middle = np.array([one["images_per_second"] for one in group])
        low, high = (batch / np.array([one[key] for one in group]) * 1e3 for key in ("step_ms_p90", "step_ms_p10"))
        spread = np.maximum([middle - low, high - middle], 0)  # where all chunks took the same, rounding is below 0
        speed.errorbar(batch, middle, spread, capsize=2, **style)
        intensity = [one["flops_per_step"] / max(one["bytes_per_step"], 1.0) for one in group]
        roof.plot(intensity, [one["flops_per_second"] / 1e9 for one in group], linestyle="none", **style)
    fastest = max(one["images_per_second"] for one in measurements)
    speed.set(xscale="log", xlabel="batch size", ylabel="images/s", title="Speed, 10th to 90th percentile")
    speed.set_ylim(0, 1.2 * fastest)
    sizes = sorted({one["batch_size"] for one in measurements})
    speed.set_xticks(sizes[:: -(-len(sizes) // 6)], minor=False)
    _roof(roof, measurements)
    for axis in (speed.xaxis, speed.yaxis, roof.xaxis, roof.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())
    speed.xaxis.set_minor_locator(NullLocator())
    for axes in (speed, roof):
        axes.grid(visible=True)
    figure.legend(*speed.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    return figure


def _roof(axes: Axes, measurements: Sequence[Mapping[str, Any]]) -> None:
    """The highest rates for each number of operations a byte, of every peak that was measured against."""
    found = [one["flops_per_step"] / max(one["bytes_per_step"], 1.0) for one in measurements]
    for flops, moved in {(one["peak_flops_per_second"], one["peak_bytes_per_second"]) for one in measurements}:
        ridge = flops / moved
        low, high = min(*found, ridge) / 3, max(*found, ridge) * 3
        axes.plot([low, ridge, high], [low * moved / 1e9, flops / 1e9, flops / 1e9], color=GREY, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="GFLOP/s", title="Roofline")
    axes.set_ylim(min(one["flops_per_second"] for one in measurements) / 5e9)
