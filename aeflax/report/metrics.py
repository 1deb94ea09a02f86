"""Metrics as a reader meets them: units, directions, the final table. `aeflax.evaluation.scores` defines them."""

from collections.abc import Mapping
from typing import Any, get_args

from aeflax.config.experiment import HIGHER_IS_BETTER, Metric

UNITS = {
    "loss": "nats",
    "bce": "nats/feature",
    "bce_floor": "nats/feature",
    "mse": "per feature",
    "pca_mse": "per feature",
    "psnr": "dB",
    "restored_bce": "nats/feature",
    "restored_mse": "per feature",
    "restored_psnr": "dB",
    "corrupted_psnr": "dB",
    "reconstruction_nats": "nats",
    "kl": "nats",
    "elbo": "nats",
    "l0": "units",
    "dead_fraction": "share of units",
}
HEADLINE = ("elbo", "restored_psnr", "bce", "psnr", "mse")  # the first of these that a model has sums it up
WORSE = 1.5  # times the error of PCA at the same code size: a model that reconstructs worse than need be
GOOD = 0.02  # share of the variance that may be left, whatever PCA leaves
LITTLE = 0.5  # share of the variance: a model that leaves more reconstructs little
SPLITS = ("train", "validation", "test")


def named(metric: str) -> str:
    """The metric with its unit, e.g. "elbo (nats)"."""
    unit = UNITS.get(metric)
    return metric if unit is None else f"{metric} ({unit})"


def better(metric: str) -> str | None:
    """Which way is better, "higher" or "lower"; None where neither is, as for the two halves of a trade."""
    if metric in HIGHER_IS_BETTER:
        return "higher"
    return "lower" if metric == "loss" or metric in get_args(Metric) else None


def columns(summary: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """The final table's columns by title: each split, and PCA at the same code size where that compresses."""
    found = {name: summary[name] for name in SPLITS if summary.get(name)}
    pca = summary.get("pca") or {}
    return found | ({f"PCA({pca['dim']}) test": pca["test"]} if pca.get("compresses") else {})


def notes(summary: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
    """What a reader must know beside the final table; usually nothing. `model`: its configuration, as plain values."""
    found, best = [], summary.get("best") or {}
    if best.get("step") is not None and best.get("value") is not None:
        said = f"Best validation {best.get('monitor', 'monitored value')} {best['value']:.5g}"
        found.append(f"{said} at step {best['step']:,} (--step best).")
    if "elbo" in summary.get("test", {}):
        found.append("Metrics are with one posterior sample an example; reconstruct uses the posterior's mean.")
    return [*found, *filter(None, [pca_note(summary, model)])]


def pca_note(summary: Mapping[str, Any], model: Mapping[str, Any]) -> str | None:
    """Why PCA has no column, or what it says of a model that reconstructs little; None where it says nothing.

    Models that are trained to restore what was corrupted, or on a sparse code, aim at something else.
    """
    pca = summary.get("pca") or {}
    if not pca.get("compresses", True):
        return f"PCA({pca['dim']}) would keep every feature: the code is no smaller than the data."
    kinds = {slot: (model.get(slot) or {}).get("kind") for slot in ("corruption", "bottleneck")}
    variance, error = pca.get("variance", 0.0), summary.get("test", {}).get("mse", 0.0)
    least = pca.get("test", {}).get("mse", 0.0)
    if kinds["corruption"] != "none" or not variance > 0.0:
        return None
    worse = error > max(WORSE * least, GOOD * variance)
    if kinds["bottleneck"] == "posterior" and error > LITTLE * variance:
        mend = "train longer, or with a smaller beta (model.penalties.kl.beta)"
    elif kinds["bottleneck"] == "deterministic" and (worse or error > LITTLE * variance):
        linear = model["bottleneck"].get("activation") in (None, "linear")
        mend = "train longer" if linear else "train longer, or with --model.bottleneck.activation linear"
    else:
        return None
    if least > LITTLE * variance and not worse:
        mend = "a larger code (--model.latent-dim) keeps more"
    shares = f"{error / variance:.0%} of the variance of the test examples, PCA({pca['dim']}) {least / variance:.0%}"
    return f"The model leaves {shares}: {mend}."
