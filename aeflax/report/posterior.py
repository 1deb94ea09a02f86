"""The section of a report on a posterior: which dimensions it uses, what it tells, whether it has collapsed."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aeflax.applications.findings import Findings
from aeflax.report.canvas import BLUE, GREY, INK, ORANGE, blank, styled
from aeflax.report.sections import Section, Table, Values

Arrays = Mapping[str, np.ndarray]


def section(found: Findings) -> Section:
    """What was found of a posterior."""
    values, arrays = found.values, found.arrays
    with styled():
        figures = {
            "posterior_kl": (
                _kl(values, arrays),
                "Mean KL of each dimension's posterior to the prior, largest first. Grey ones tell the decoder next to "
                f"nothing: over examples their mean varies by no more than {values['thresholds']['active']:g}.",
            ),
            "posterior_aggregated": (
                _aggregated(arrays),
                "The posteriors of all examples taken together, by dimension in the same order: where the points lie "
                "on 0 and the bars reach from −1 to 1, codes drawn from the prior are like codes of examples.",
            ),
        }
    return Section("The posterior", sentences(values), tables(values), figures)


def sentences(values: Values) -> list[str]:
    """The verdicts, in words."""
    active = {0: "none is", 1: "1 is"}.get(values["active"], f"{values['active']:,} are")
    said = [
        f"Of {values['units']:,} dimensions {active} active on "
        f"{values['examples']:,} {values['split']} examples: over them the posterior's mean varies by more than "
        f"{values['thresholds']['active']:g} (Burda et al. 2016).",
        _information(values),
    ]
    if values["collapse"] == "all":
        why = (
            "no dimension is active"
            if values["active"] == 0
            else f"the KL is below {values['thresholds']['silent']:g} nats"
        )
        said.append(f"The posterior has collapsed to the prior: {why}, so the decoder ignores the code.{_try(values)}")
    elif values["collapse"] == "most":
        said.append(
            "Most dimensions have collapsed to the prior. That is no fault where the data need no more: a smaller code "
            f"then does as well. Where reconstructions are too coarse:{_try(values)}"
        )
    return said


def remedies(values: Values) -> list[str]:
    """What to try against a collapse that the run was not trained with, as options and whence they are known."""
    beta, scale = values["beta"], values["scale"]
    found = []
    if beta is not None and beta > 1:
        found.append(f"a --model.penalties.kl.beta smaller than {beta:g}; 1 is the ELBO (Higgins et al. 2017)")
    if scale is not None:
        found.append(
            f"a --model.likelihood.scale smaller than {scale:g}, the noise that the decoder is taken to leave, or "
            "None, which learns it (Lucas et al. 2019)"
        )
    if beta is not None and beta <= 1 and not values["warmup_steps"]:
        found.append("KL warm-up, --model.penalties.kl.warmup-steps (Bowman et al. 2016)")
    if beta is not None and values["free_bits"] is None:
        found.append("free bits, --model.penalties.kl.free-bits 0.25 (Kingma et al. 2016)")
    return [*found, "a lower --optimizer.learning-rate"]


def tables(values: Values) -> list[Table]:
    """One row a quantity: its estimate, its standard error, and the bound at its other side."""
    information, aggregated = values["mutual_information"], values["aggregated_kl"]
    likelihood = f"log-likelihood, {values['samples']:,} {'sample' if values['samples'] == 1 else 'samples'} ↑"
    rows = [
        _row("KL to the prior", values["kl"]),
        _row("mutual information", information, f"at most {information['upper']:.4g}"),
        _row("aggregated posterior to the prior ↓", aggregated, f"at least {aggregated['lower']:.4g}"),
        _row("ELBO ↑", values["elbo"]),
        _row(likelihood, values["log_likelihood"]),
    ]
    caption = (
        "Mutual information is bounded from below, the aggregated posterior's divergence from above (Hoffman & Johnson "
        "2016, Poole et al. 2019); the importance-weighted log-likelihood is a lower bound that more samples raise "
        "(Burda et al. 2016)."
    )
    return [Table(["nats", "estimate", "standard error", "bound"], rows, caption)]


def _information(values: Values) -> str:
    information, limit = values["mutual_information"], values["limit"]
    if values["saturated"]:
        return (
            f"A code tells at least {information['mean']:.3g} nats of its example, and at most "
            f"{information['upper']:.3g}: it tells nearly every one of the {values['examples']:,} apart, and "
            f"{limit:.3g} nats, their logarithm, is all that so many can show."
        )
    return (
        f"A code tells {max(0.0, information['mean']):.3g} nats of its example (standard error "
        f"{information['standard_error']:.2g}, at most {information['upper']:.3g}); so many examples can show "
        f"{limit:.3g}."
    )


def _try(values: Values) -> str:
    return f" Try {'; or '.join(remedies(values))}."


def _row(name: str, found: Values, bound: str = "") -> list[str]:
    return [name, f"{found['mean']:.5g}", f"{found['standard_error']:.2g}", bound]


def _kl(values: Values, arrays: Arrays) -> Figure:
    order = _order(arrays)
    active = arrays["mean_variance"][order] > values["thresholds"]["active"]
    figure = blank("KL of each dimension", 2.7)
    axes, places = figure.subplots(), np.arange(len(order))
    for chosen, color, label in ((active, BLUE, "active"), (~active, GREY, "inactive")):
        if chosen.any():
            axes.bar(places[chosen], arrays["kl"][order][chosen], 0.8, color=color, label=label)
    axes.set(ylabel="KL (nats)", ylim=(0, None))
    _of_dimensions(axes, len(order))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _aggregated(arrays: Arrays) -> Figure:
    order = _order(arrays)
    figure = blank("All posteriors beside the prior", 2.7)
    axes, places = figure.subplots(), np.arange(len(order))
    mean, deviation = arrays["mean"][order], arrays["deviation"][order]
    for height in (-1.0, 1.0):
        axes.axhline(height, color=ORANGE, linewidth=1.0, linestyle="--", label="prior" if height > 0 else None)
    axes.axhline(0.0, color=INK, linewidth=0.6)
    width = min(1.6, 200 / len(order))
    axes.errorbar(
        places, mean, deviation, fmt="o", color=BLUE, markersize=min(4, 2 * width), elinewidth=width, label="examples"
    )
    low, high = axes.get_ylim()
    axes.set(ylabel="mean ± deviation", ylim=(min(low, -1.3), max(high, 1.3)))
    _of_dimensions(axes, len(order))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _order(arrays: Arrays) -> np.ndarray:
    return np.argsort(-arrays["kl"], kind="stable")


def _of_dimensions(axes: Axes, count: int) -> None:
    axes.set(xlabel="dimensions by falling KL", xlim=(-0.6, count - 0.4))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
