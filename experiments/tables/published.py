"""The table of published figures and what came out here."""

from collections.abc import Iterator, Mapping
from typing import Any

from experiments.runs import claim
from experiments.tables.markdown import table

Record = dict[str, Any]

RECORDS = (
    "pca",
    "classic_keras",
    "classic_better",
    "binary_vae",
    "deep_30",
    "mlp_sizes",
    "lifetime_svm",
    "conv_autoencoder",
    "conv_denoiser",
    "importance_bound",
    "one_class_mnist",
)
_PCA = {2: 0.05567, 16: 0.02686, 32: 0.01683, 64: 0.00905}
_PCA_IMAGE = 13.87


def published(*records: Record) -> str:
    """One row a figure."""
    columns = ("", "figure", "published", "here", "passes", "verdict")
    rows = []
    for record in records:
        for found in _claims(record):
            number = len(found["values"])
            seeds = "" if number == 1 else f" ({number} seeds)"
            half = "" if found["low"] is None else f" ± {found['mean'] - found['low']:.1g}"
            cells = (
                found["number"],
                found["what"],
                found["published"],
                f"{found['mean']:.4g}{half}{seeds}",
                _limits(found),
                f"**{found['verdict']}**" if found["verdict"] != "short" else "short",
            )
            rows.append(cells)
    return (
        f"{table(columns, rows)}\n\nMeans over seeds with half of their 95 % interval. *beat* is better than a bound."
    )


def _limits(found: Mapping[str, Any]) -> str:
    low, high = found["passes"]
    if low is None:
        limits = f"≤ {high:.4g}"
    elif high is None:
        limits = f"≥ {low:.4g}"
    else:
        limits = f"{low:.4g} to {high:.4g}"
    return limits if found["beats"] is None else f"{limits}; beat: {found['beats']:.4g}"


def _claims(record: Record) -> Iterator[Mapping[str, Any]]:
    """The claims of a record; of an older one, made of its figures."""
    figures = record["figures"]
    if record["name"] == "pca":
        for size, figure in _PCA.items():
            what = f"PCA's test MSE a pixel at {size} dimensions"
            bounds = (figure - 1e-4, figure + 1e-4)
            yield claim("P1", what, [figures[f"mse_{size}"]], published=f"{figure:.5f}", passes=bounds)
        yield claim(
            "P1",
            "PCA's squared error an image at 30 dimensions",
            [figures["squared_error_per_image_30"]],
            published="13.87 (Hinton & Salakhutdinov 2006)",
            passes=(_PCA_IMAGE - 0.1, _PCA_IMAGE + 0.1),
        )
    else:
        yield from figures["claims"]
