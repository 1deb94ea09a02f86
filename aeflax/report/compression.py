"""The section of a report on compression: what a container takes and gives, beside image codecs, and where they win."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aeflax.applications.findings import Findings
from aeflax.report.canvas import BLUE, GREY, ORANGE, PINK, blank, logarithmic, styled
from aeflax.report.sections import Section, Table, Values

CODECS = {"jpeg": "JPEG", "webp": "WebP", "png": "PNG", "webp_lossless": "WebP"}
LAYOUTS = {"sheet": "one sheet", "files": "a file each"}
_COLOURS = {"jpeg": ORANGE, "webp": PINK, "png": GREY, "webp_lossless": GREY}
_LOOKS: dict[str, dict[str, Any]] = {
    "sheet": {"linestyle": "--", "marker": "s", "markersize": 2.5},
    "files": {"linestyle": ":", "marker": "^", "markersize": 2.5},
}


def section(found: Findings) -> Section:
    """What `aeflax compress --judge` found last."""
    values = found.values
    with styled():
        figures = {
            "compression": (
                quality_over_rate(values),
                "Quality over bits per pixel, each the mean over images; above and to the left is better. Upright "
                "lines: what the same images take without loss, on one sheet.",
            )
        }
    return Section("Compression", sentences(values), [table(values)], figures)


def sentences(values: Values) -> list[str]:
    """What was found, in words."""
    place = default_place(values)
    own = values["points"][place]
    most = values["unquantised"]["psnr"]
    return [
        f"{values['examples']:,} {values['split']} images of {values['source']} as codes of {values['code_size']}. "
        f"With a step size of {own['step_size']:.3g} a container takes {own['bits_per_pixel']:.3g} bits per pixel "
        f"({own['payload_bits_per_pixel']:.3g} without header and tables) and gives {_decibels(own['psnr'])}, where "
        f"codes that are not quantised give {_decibels(most)}.",
        f"At the same PSNR, {_codecs(values, place)}.",
        _verdict(values),
        f"Beyond {_decibels(most)} this model has nothing at any rate, and the codecs win: without any loss, "
        f"{_lossless(values)}.",
        f"The model is not counted. Both sides need its {values['model_bytes'] / 1e6:,.2f} MB, which are "
        f"{_model_bits(values)} bits per pixel of these images; codecs need nothing of the kind, and work on "
        f"images of any kind.",
    ]


def table(values: Values) -> Table:
    """One row a step size."""
    others = values["at_same_psnr"]
    rows = []
    for place, point in enumerate(values["points"]):
        needed = [_needed(other["points"][place], point["psnr"]) for other in others]
        rows.append(
            [
                f"{point['step_size']:.4g}",
                f"{point['bits_per_pixel']:.4f}",
                f"{point['payload_bits_per_pixel']:.4f}",
                "lossless" if point["psnr"] is None else f"{point['psnr']:.2f}",
                f"{point['ssim']:.4f}",
                *needed,
            ]
        )
    heads = [f"{CODECS[other['name']]}, {LAYOUTS[other['layout']]}" for other in others]
    caption = (
        "Bits per pixel of a container and of its payload; at the right, what codecs take for the same PSNR, "
        "or for more where they have no smaller files."
    )
    return Table(["step size", "container ↓", "payload ↓", "PSNR, dB ↑", "SSIM ↑", *heads], rows, caption)


def default_place(values: Values) -> int:
    """Place of the default step among those that were swept."""
    steps = [abs(point["step_size"] - values["default"]) for point in values["points"]]
    return steps.index(min(steps))


def _codecs(values: Values, place: int) -> str:
    """What each codec needs for the PSNR of one step."""
    own = values["points"][place]
    said = []
    for other in values["at_same_psnr"]:
        found = other["points"][place]
        name = f"{CODECS[other['name']]} ({LAYOUTS[other['layout']]})"
        if found is None:
            said.append(f"{name} has no setting")
        elif found["psnr"] != own["psnr"]:
            said.append(
                f"{name} has no files under {found['bits_per_pixel']:.3g} bits per pixel, which give "
                f"{_decibels(found['psnr'])}"
            )
        else:
            needed = found["bits_per_pixel"]
            said.append(f"{name} takes {needed:.3g} bits per pixel, {_times(needed / own['bits_per_pixel'])}")
    return "; ".join(said)


def _times(ratio: float) -> str:
    if ratio > 1:
        return f"{ratio:.0f} times as much" if ratio >= 10 else f"{ratio:.2g} times as much"
    return f"which is {1 - ratio:.0%} less"


def _verdict(values: Values) -> str:
    """Where codecs win, over all steps."""
    points, wins = values["points"], []
    for other in values["at_same_psnr"]:
        less = [
            needed is not None and needed["bits_per_pixel"] < point["bits_per_pixel"]
            for needed, point in zip(other["points"], points, strict=True)
        ]
        if any(less):
            wins.append(f"{CODECS[other['name']]} ({LAYOUTS[other['layout']]}) at {sum(less)}")
    if not wins:
        return f"At none of the {len(points)} step sizes does JPEG or WebP reach the same PSNR with fewer bits."
    return f"Of {len(points)} step sizes, these codecs win, the same PSNR or more with fewer bits: {', '.join(wins)}."


def _lossless(values: Values) -> str:
    said = []
    for name in ("png", "webp_lossless"):
        bits = {
            curve["layout"]: curve["points"][0]["bits_per_pixel"] for curve in values["curves"] if curve["name"] == name
        }
        parts = " and ".join(f"{bits[layout]:.3g} ({words})" for layout, words in LAYOUTS.items())
        said.append(f"{CODECS[name]} takes {parts}")
    return ", ".join(said)


def _model_bits(values: Values) -> str:
    height, width = values["shape"][:2]
    bits = 8 * values["model_bytes"] / (values["examples"] * height * width)
    return f"{bits:,.0f}" if bits >= 100 else f"{bits:.3g}"


def _decibels(psnr: float | None) -> str:
    return "the images themselves" if psnr is None else f"{psnr:.2f} dB"


def _needed(found: Values | None, psnr: float | None) -> str:
    """What a codec takes, and for which PSNR where that is another one."""
    if found is None:
        return "–"
    same = found["psnr"] == psnr
    return f"{found['bits_per_pixel']:.4f}" + ("" if same else f" ({_decibels(found['psnr'])})")


def quality_over_rate(values: Values) -> Figure:
    """PSNR and SSIM over bits per pixel, of containers and of codecs."""
    kinds = {"psnr": "PSNR, dB", "ssim": "SSIM"}
    figure = blank("What bits buy", 1.3 + 2.1 * len(kinds))
    panels = figure.subplots(len(kinds), sharex=True)
    for axes, (kind, label) in zip(panels, kinds.items(), strict=True):
        _panel(axes, values, kind)
        axes.set_ylabel(label)
    panels[-1].set_xlabel("bits per pixel")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure


def _panel(axes: Axes, values: Values, kind: str) -> None:
    _line(axes, values["points"], kind, color=BLUE, marker="o", markersize=3, label="this model")
    for curve in values["curves"]:
        name, layout = curve["name"], curve["layout"]
        if len(curve["points"]) > 1:
            label = f"{CODECS[name]}, {LAYOUTS[layout]}"
            _line(axes, curve["points"], kind, color=_COLOURS[name], label=label, **_LOOKS[layout])
        elif layout == "sheet":
            style = "-." if name == "png" else (0, (1, 1))
            axes.axvline(
                curve["points"][0]["bits_per_pixel"],
                color=_COLOURS[name],
                linewidth=1.0,
                linestyle=style,
                label=f"{CODECS[name]}, lossless",
            )
    logarithmic(axes)
    axes.grid(True)


def _line(axes: Axes, points: list[Values], kind: str, **look: Any) -> None:
    known = [point for point in points if point[kind] is not None]
    axes.plot([point["bits_per_pixel"] for point in known], [point[kind] for point in known], **look)
