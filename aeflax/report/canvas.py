"""What figures are drawn on: one style, and the two forms in which a figure is kept.

Everything is drawn with `matplotlib.figure.Figure` under a local style, so nothing process-wide is set and no
setting of the user's changes a figure. Text and axes have the colour INK, which the inline SVG replaces by
`currentColor`; every other colour reads on white and on black.
"""

import functools
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from aeflax.report.material import Material

WIDTH = 4.0  # inches: 384 CSS pixels, so a telephone of 360 shows the 10 points of the text as 8.5
NAMED = 16  # features whose names have room below an axis
LONGEST = 14  # letters of one
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
INK = "#0b0b0c"  # nothing else may have this colour
GREY = "#8c8c8c"
# Petroff (2021), "Accessible color sequences for data visualization": ten that the colour-blind can tell apart.
COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
BLUE, ORANGE, PINK = COLOURS[0], COLOURS[6], "#c2569f"  # of lines: the purple above is dim on black
DIVERGING = colormaps["RdBu_r"]
SEQUENTIAL = colormaps["viridis"]
# Without the ends of viridis, which vanish on black and on white.
POINTS = ListedColormap(colormaps["viridis"](np.linspace(0.2, 0.92, 256)), name="points")

_STYLE: dict[str, Any] = {
    "font.size": 10,
    **dict.fromkeys(("axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize"), "medium"),
    "legend.fontsize": "medium",
    "figure.titlesize": 11.5,
    "figure.titleweight": "bold",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.4,
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
    "svg.fonttype": "none",
    "image.interpolation": "auto",
}
_DPI = 200  # of what is rasterised inside an SVG: two device pixels for each of a telephone's 360

Draw = Callable[[Material], Figure | None]


@contextmanager
def styled(**more: Any) -> Iterator[None]:
    """The report's style, whatever the process has set."""
    with matplotlib.style.context(["default", _STYLE | more]):
        yield


def drawing(draw: Draw) -> Draw:
    """Makes a function draw in the style of the report, whatever the process has set."""

    @functools.wraps(draw)
    def drawn(material: Material) -> Figure | None:
        with styled():
            return draw(material)

    return drawn


def blank(title: str, height: float) -> Figure:
    """An empty figure of the report's width with a title at its left; height in inches."""
    # Room at the sides for a reader's font, which may be a little wider than the one that is measured here.
    figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.08))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def only_labels(axes: Axes) -> None:
    """Takes away spines and tick marks, so that tick labels alone are left."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def png(figure: Figure) -> bytes:
    """The figure on white, 150 dots an inch; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    _laid_out(figure)
    return buffer.getvalue()


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element to be put into a page: transparent, INK as `currentColor`, ids prefixed by `name`.

    It has a viewBox and no size, no metadata and no style sheet of its own; equal figures give equal text.
    """
    buffer = io.StringIO()
    with styled(**{"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", dpi=_DPI, transparent=True, metadata={"Date": None})
    _laid_out(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # A style sheet inside would hold for the whole page, and names that a browser lacks are of no use to it.
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"(?<=font-family: )[^;\"]+", "inherit", text)
    text = re.sub(rf"(?<=fill: |roke: ){INK}", "currentColor", text)
    text = re.sub(r'(?<=\sid=")|(?<=url\(#)|(?<=href="#)', f"{name}-", text)
    opening = re.sub(r'\s(?:width|height|version)="[^"]*"', "", text[: text.index(">")])
    title = figure.get_suptitle()
    return f'{opening} role="img" aria-label="{title}"{text[text.index(">") :]}'.strip()


def settled(figure: Figure) -> Figure:
    """The figure after a second round of its layout: the first takes the room of labels for spare."""
    figure.draw_without_rendering()
    return figure


def power_of_ten(power: int) -> str:
    """E.g. 10⁻³."""
    return f"10{str(power).translate(_RAISED)}"


def logarithmic(axes: Axes) -> None:
    """Makes an x axis that has its data logarithmic, with a few plain numbers: powers of ten as such are no text."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,), numticks=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def sigma_labels(steps: np.ndarray) -> list[str]:
    """Standard deviations as labels of ticks, e.g. +0.5 and 0."""
    return [f"{step:+.1f}".replace("-", "−").replace("+0.0", "0") for step in steps]


def _laid_out(figure: Figure) -> None:
    """Keeps the layout that saving has found: finding it again costs as much as drawing."""
    figure.set_layout_engine("none")


def feature_axis(axes: Axes, count: int, columns: Sequence[str] | None) -> None:
    """Says along x which feature is which: by its name where there are names and room for them, else by its place."""
    if columns is None or len(columns) != count or count > NAMED:
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        axes.set_xlabel("feature index")
        return
    axes.set_xticks(range(count), [shortened(name, LONGEST) for name in columns], rotation=90, fontsize="x-small")


def shortened(text: str, most: int) -> str:
    """A text of so many letters at most."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
