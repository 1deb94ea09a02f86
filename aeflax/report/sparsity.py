"""The section of a report on a sparse code: how sparse it is, what it loses, which units are dead or alike."""

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from aeflax.applications.findings import Findings
from aeflax.report.canvas import BLUE, blank, styled
from aeflax.report.sections import Section, Table, Values

SHRINKS = 0.9  # of the examples' length: less is worth a word
DEAD = 0.1  # of the units
ALIKE = 0.9  # cosine of two directions that say nearly the same

_METRICS = {
    "l0": "active units (L0)",
    "l1": "sum of activations (L1)",
    "mse": "mse per feature ↓",
    "unexplained": "variance unexplained ↓",
    "cosine": "cosine of input and reconstruction ↑",
    "l2_ratio": "length of reconstruction over input",
    "dead_fraction": "dead units ↓",
    "coherence": "coherence of the dictionary ↓",
}
_OF_UNITS = {
    "density": "activation density",
    "encoder_norm": "encoder norm",
    "encoder_decoder_cosine": "cosine of encoder and decoder",
    "nearest_cosine": "cosine with the nearest direction",
}


def section(found: Findings) -> Section:
    """What was found of a sparse code."""
    values = found.values
    caption = (
        "Units by the share of the examples for which they are active, on a logarithmic axis; "
        f"{_dead(values)} active for none and not shown."
    )
    with styled():
        figure = _densities(values)
    return Section("The sparse code", sentences(values), tables(values), {"sparsity_density": (figure, caption)})


def sentences(values: Values) -> list[str]:
    """The verdicts, in words."""
    said = [
        f"On {values['examples']:,} {values['split']} examples {values['l0']:.3g} of {values['units']:,} units are "
        f"active at a time, and {values['unexplained']:.1%} of the variance is left unexplained; {_dead(values)} "
        "active for none.",
    ]
    if values["dead_fraction"] > DEAD:
        lower = "a smaller code or a lower --optimizer.learning-rate"
        penalty = "a smaller --model.penalties.l1.weight, " if values["penalty"] else ""
        said.append(f"So many dead units are wasted. Try {penalty}{lower}.")
    if (ratio := values["l2_ratio"]) is not None and ratio < SHRINKS:
        why = ", as a penalty on activations makes them: try a smaller one, or --model.bottleneck top-k"
        said.append(f"Reconstructions are {1 - ratio:.1%} shorter than their inputs{why if values['penalty'] else ''}.")
    if values["of_units"]["nearest_cosine"]["median"] > ALIKE:
        said.append("Most units have another one whose direction is nearly the same: a smaller code may do as well.")
    if not values["linear"]:
        said.append(
            "The decoder is not one matrix: a unit's direction is what an activation of 1 adds to the output of the "
            "zero code. Encoder norms, and cosines of encoder and decoder, are left out: the encoder has no columns."
        )
    return said


def tables(values: Values) -> list[Table]:
    """The metrics of the whole code, a row each, and those that every unit has."""
    shares = ("unexplained", "dead_fraction")
    whole = []
    for name, title in _METRICS.items():
        value = values[name]
        whole.append([title, "–" if value is None else f"{value:.1%}" if name in shares else f"{value:.4g}"])
    units = [
        [title, *(f"{values['of_units'][name][part]:.3g}" for part in ("low", "median", "high"))]
        for name, title in _OF_UNITS.items()
        if name in values["of_units"]
    ]
    return [Table(["of the code", "value"], whole), Table(["of each unit", "5 %", "median", "95 %"], units)]


def _dead(values: Values) -> str:
    count = round(values["dead_fraction"] * values["units"])
    return f"{count:,} {'unit is' if count == 1 else 'units are'}"


def _densities(values: Values) -> Figure:
    figure = blank("How often units are active", 2.5)
    axes = figure.subplots()
    axes.stairs(values["histogram"]["units"], values["histogram"]["edges"], fill=True, color=BLUE)
    axes.set(xlabel="share of the examples", ylabel="units", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{10.0**at:.3g}"))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
