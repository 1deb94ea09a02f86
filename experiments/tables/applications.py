"""Tables of what runs are used for, each with its baselines beside it."""

from typing import Any

from aeflax.report.anomaly import NAMES as DETECTORS
from aeflax.report.codes import ARMS, SPACES, percent
from experiments.tables.markdown import SETS, best, machine, table

Record = dict[str, Any]

_QUALITIES = {
    "mse": ("mse", False),
    "explained_variance": ("explained variance", True),
    "trustworthiness": ("trustworthiness", True),
    "continuity": ("continuity", True),
    "knn_accuracy": ("5 nearest, accuracy", True),
    "silhouette": ("silhouette", True),
}
_METHODS = {"probe": "linear probe", "knn": "5 nearest"}


def codes(record: Record) -> str:
    """One row a data set and metric, one column a space."""
    rows = []
    for figures in record["figures"]:
        found = figures["codes"]["spaces"]
        for metric, (title, higher) in _QUALITIES.items():
            spaces = [space for space in SPACES if metric in found[space]]
            if not spaces:
                continue
            cells = [f"{found[space][metric]:.4f}" for space in spaces]
            bold = dict(zip(spaces, best(cells, [found[s][metric] for s in spaces], higher=higher), strict=True))
            rows.append([SETS[figures["source"]], title, *(bold.get(space, "–") for space in SPACES)])
    first = record["figures"][0]["codes"]
    sizes = {"codes": first["code_size"], "pca": first["components"], "inputs": first["features"]}
    heads = [f"{title} ({sizes[space]})" for space, title in SPACES.items()]
    return f"{table(['data', 'metric', *heads], rows)}\n\n`vanilla`, 10 epochs without labels, on {machine(record)}."


def features(record: Record) -> str:
    """One row a data set, number of labels and method; one column a space."""
    rows = []
    for figures in record["figures"]:
        for entry in figures["transfer"]["counts"]:
            for method, title in _METHODS.items():
                found = [entry["spaces"][space][method] for space in SPACES]
                cells = best([percent(one) for one in found], [one["mean"] for one in found])
                rows.append([SETS[figures["source"]], str(entry["per_class"]), title, *cells])
    return f"{table(['data', 'labels per class', 'method', *SPACES.values()], rows)}\n\n{_intervals(record)}"


def finetuning(record: Record) -> str:
    """One row a data set and number of labels, one column a classifier."""
    rows = [
        [SETS[figures["source"]], *_arms(entry)]
        for figures in record["figures"]
        for entry in figures["finetune"]["counts"]
    ]
    return f"{table(['data', *_ARM_HEADS], rows)}\n\n{_intervals(record)}"


def stacked(record: Record) -> str:
    """One row a way to train the deep encoder and a number of labels."""
    figures = record["figures"]
    names = {"stacked": "layer by layer, then whole", "scratch": "whole at once"}
    rows = [
        [title, f"{figures[name]['test']['bce']:.4f}", *_arms(entry)]
        for name, title in names.items()
        for entry in figures[name]["finetune"]["counts"]
    ]
    said = (
        f"{figures['stacked']['epochs_of_the_whole']} epochs of the whole network after the layers', against "
        f"{figures['scratch']['epochs_of_the_whole']}, on {machine(record)}."
    )
    return f"{table(['autoencoder trained', 'its test bce', *_ARM_HEADS], rows)}\n\n{said}"


def one_class_mnist(record: Record) -> str:
    """AUROC: one row a digit, one column a detector, and the means."""
    found = record["figures"]
    rows = [
        [str(row["digit"]), *_aurocs({name: row["metrics"][name]["auroc"] for name in DETECTORS})]
        for row in found["digits"]
    ]
    rows.append(["mean", *_aurocs(found["mean_auroc"])])
    said = f"AUROC over the 10,000 test images, on {machine(record)}. Published: Deep SVDD .948 (Ruff et al. 2018)."
    return f"{table(['trained on', *DETECTORS.values()], rows)}\n\n{said}"


def one_class_tables(record: Record) -> str:
    """One row a table and metric, one column a detector."""
    rows = []
    for row in record["figures"]:
        for metric in ("auroc", "auprc"):
            found = [row[name][metric] for name in DETECTORS]
            cells = [f"{one['mean']:.3f} ({one['low']:.3f}, {one['high']:.3f})" for one in found]
            name = f"{row['table'].replace('_', ' ')} ({row['rows']:,} × {row['features']})"
            rows.append([name, metric.upper(), *best(cells, [one["mean"] for one in found])])
    return f"{table(['table', 'metric', *DETECTORS.values()], rows)}\n\nMeans and 95 % intervals over five seeds."


_FAULTS = {"stuck": "stuck at another row's value", "biased": "biased by 4 of its noise", "dead": "dead, at its mean"}


def sensor_faults(record: Record) -> str:
    """One row a fault and score: AUROC of each detector, and how often the right sensor is named."""
    rows = []
    for row in record["figures"]:
        for kind in ("reconstruction", "standardized"):
            aurocs = [row[f"{kind} {name}"] for name in DETECTORS]
            cells = best([f"{one['mean']:.3f}" for one in aurocs], [one["mean"] for one in aurocs])
            named = [percent(row[f"{kind} {how}"]) for how in ("flagged", "largest error", "named")]
            rows.append([_FAULTS[row["fault"]], kind, *cells, *named])
    heads = ["fault of a sensor", "score", *DETECTORS.values(), "flagged", "largest error is its", "it is blamed"]
    said = (
        "AUROC; of the faulty rows, those that are flagged at a contamination of 5 %, and of these the share whose "
        "largest (standardized) error is the faulty sensor's, and which are blamed on it. Means with 95 % intervals "
        "over five seeds."
    )
    return f"{table(heads, rows)}\n\n{said}"


_ARM_HEADS = ("labels per class", *ARMS.values(), "gain over scratch")


def _arms(entry: Record) -> list[str]:
    found = [entry["arms"][arm] for arm in ARMS]
    cells = best([percent(one) for one in found], [one["mean"] for one in found])
    return [str(entry["per_class"]), *cells, percent(entry["gain"], signed=True)]


def _aurocs(found: dict[str, float]) -> list[str]:
    values = [found[name] for name in DETECTORS]
    return best([f"{value:.3f}" for value in values], values)


def _intervals(record: Record) -> str:
    return f"Test accuracy with 95 % intervals over five draws of the labelled images, on {machine(record)}."
