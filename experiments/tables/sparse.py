"""Tables and figures of sparse kinds: the dictionary they find, and what sparsity costs."""

from typing import Any

from matplotlib.figure import Figure

from aeflax.report.canvas import blank, drawing
from experiments.tables.markdown import best, machine, table

Record = dict[str, Any]

NAMES = {
    "random": "a random dictionary",
    "l1": "L1",
    "rate": "KL to a rate",
    "top-k": "TopK",
    "batch-top-k": "BatchTopK",
    "jump-relu": "JumpReLU",
    "lifetime": "lifetime",
}
_HEIGHT = 3.4  # inches
_TICKS = (4, 16, 64, 256)  # active units
_DICTIONARY = " + dictionary"


def recovery(record: Record) -> str:
    """How much of a known dictionary each kind finds: one row a kind, with and without `model.dictionary`."""
    rows = record["figures"]
    cosines = [row["cosine"]["mean"] for row in rows]
    marked = best([f"{value:.3f}" for value in cosines], cosines)
    cells = [
        [_name(row["kind"]), cosine, f"{row['recovered']['mean']:.0%}", *_panel(row)]
        for row, cosine in zip(rows, marked, strict=True)
    ]
    heads = ["kind", "mean cosine", "recovered", "active units", "unexplained", "dead units"]
    said = (
        "64 directions in 32 features, three of them in an example on average; means over three seeds, directions "
        f"matched one to one; recovered: cosine above .9. On {machine(record)}."
    )
    return f"{table(heads, cells)}\n\n{said}"


def front(record: Record) -> str:
    """What is left unexplained at each number of active units: one row a kind and setting."""
    cells = [
        [_name(row["kind"]), f"{row['setting']:g}", *_panel(row), f"{row['l2_ratio']:.2f}"] for row in record["figures"]
    ]
    heads = ["kind", "k or weight", "active units", "unexplained", "dead units", "length ratio"]
    said = f"MNIST, 512 units, test split; one seed a row. On {machine(record)}."
    return f"{table(heads, cells)}\n\n{said}"


@drawing
def front_figure(record: Record) -> Figure:
    """Unexplained variance over active units, a line a kind."""
    figure = blank("What sparsity costs on MNIST: 512 units", _HEIGHT)
    axes = figure.subplots()
    for kind, marker in zip(("l1", "top-k", "batch-top-k", "jump-relu"), "osD^", strict=True):
        points = sorted((row["l0"], row["unexplained"]) for row in record["figures"] if row["kind"] == kind)
        axes.plot(*zip(*points, strict=True), marker=marker, markersize=4, label=NAMES[kind])
    axes.set(xscale="log", xlabel="active units an example", ylabel="fraction of variance unexplained", ylim=(0, None))
    axes.set_xticks(_TICKS, [str(tick) for tick in _TICKS])
    axes.minorticks_off()
    axes.legend()
    return figure


def _name(kind: str) -> str:
    return NAMES[kind.removesuffix(_DICTIONARY)] + (_DICTIONARY if kind.endswith(_DICTIONARY) else "")


def _panel(row: Record) -> list[str]:
    if "l0" not in row:
        return ["–"] * 3
    return [f"{row['l0']:.1f}", f"{row['unexplained']:.3f}", f"{row['dead_fraction']:.0%}"]
