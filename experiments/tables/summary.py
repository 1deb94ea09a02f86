"""README's table of what runs are used for: one figure an application, and what stands beside it."""

from typing import Any

from aeflax.report.compression import default_place
from aeflax.report.denoising import METHODS
from experiments.tables.markdown import table

Record = dict[str, Any]


def summary(labels: Record, stacked: Record, digits: Record, noise: Record, rates: Record, samples: Record) -> str:
    """One row an application, on MNIST."""
    spaces = labels["figures"][0]["codes"]["spaces"]
    few = labels["figures"][0]["transfer"]["counts"][0]
    arms = stacked["figures"]["stacked"]["finetune"]["counts"][0]
    aurocs = digits["figures"]["mean_auroc"]
    trained = next(e for row in noise["figures"][:1] for e in row["denoising"]["kinds"]["gaussian"] if e["trained"])
    drawn = {row["training"]: row["samples"]["memorises"] for row in samples["figures"] if row["source"] == "mnist"}
    rows = [
        [
            "codes instead of PCA",
            f"squared error {spaces['codes']['mse']:.5f}, 5 nearest {spaces['codes']['knn_accuracy']:.1%}",
            f"PCA of the same size {spaces['pca']['mse']:.5f}, {spaces['pca']['knn_accuracy']:.1%}",
        ],
        [
            f"features, {few['per_class']} labels per class",
            f"linear probe {_mean(few['spaces']['codes']['probe'])}",
            f"PCA {_mean(few['spaces']['pca']['probe'])}, raw pixels {_mean(few['spaces']['inputs']['probe'])}",
        ],
        [
            f"pretraining, {arms['per_class']} labels per class",
            f"four layers, pretrained one by one {_mean(arms['arms']['finetuned'])}",
            f"from scratch {_mean(arms['arms']['scratch'])}",
        ],
        [
            "anomalies, one digit is normal",
            f"AUROC {aurocs['aeflax']:.3f}",
            f"PCA {aurocs['pca']:.3f}, Isolation Forest {aurocs['isolation_forest']:.3f}, "
            f"Local Outlier Factor {aurocs['local_outlier_factor']:.3f}",
        ],
        [
            f"denoising, Gaussian σ {trained['level']:g}",
            f"{_decibels(trained, 'noisy')} to {_decibels(trained, 'model')} dB",
            f"the best filter, {METHODS[trained['best']]}: {_decibels(trained, trained['best'])} dB",
        ],
        ["compression, code of 32", *_rates(rates)],
        [
            "generation",
            f"memorises 60,000 images: {_yes(drawn['all'])}",
            f"a control that learnt 100 by heart: {_yes(drawn['control'])}",
        ],
    ]
    return table(["use", "aeflax", "beside it"], rows)


def _rates(record: Record) -> list[str]:
    found = next(
        row["rates"]
        for row in record["figures"]
        if (row["source"], row["preset"], row["code"]) == ("mnist", "vanilla", 32)
    )
    place = default_place(found)
    own = found["points"][place]
    said = []
    for other in found["at_same_psnr"]:
        if other["layout"] == "sheet" and (point := other["points"][place]) is not None:
            said.append(f"{other['name'].upper()} {point['bits_per_pixel']:.2f} for {point['psnr']:.1f} dB")
    return [f"{own['bits_per_pixel']:.2f} bits a pixel for {own['psnr']:.1f} dB", ", ".join(said)]


def _mean(found: Record) -> str:
    return f"{found['mean']:.1%}"


def _decibels(entry: Record, method: str) -> str:
    return f"{entry['methods'][method]['psnr']['mean']:.1f}"


def _yes(found: bool) -> str:
    return "yes" if found else "no"
