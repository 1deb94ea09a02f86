"""What the figures of measurements have in common."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from aeflax.report.canvas import BLUE


def curve(
    axes: Axes,
    x: Sequence[float],
    middle: Sequence[float],
    ranges: Sequence[Sequence[float]],
    room: float,
    **named: Any,
) -> None:
    """Medians over a logarithmic axis with a tick at every point, from 0 up.

    Args:
      axes: to draw on.
      x: where the points lie.
      middle: their medians.
      ranges: the least and the largest measurement of each.
      room: the height of the axes, of the largest measurement.
      **named: title and labels.
    """
    spread = [[at - low for at, (low, _) in zip(middle, ranges, strict=True)]]
    spread.append([high - at for at, (_, high) in zip(middle, ranges, strict=True)])
    axes.errorbar(x, middle, spread, color=BLUE, marker="o", markersize=4, capsize=2)
    axes.set(xscale="log", ylim=(0, room * max(high for _, high in ranges)), **named)
    axes.set_xticks(x)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(visible=True)
