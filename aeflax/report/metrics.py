"""Metrics as a reader meets them: their units, and which way is better. `aeflax.evaluation.scores` defines them."""

UNITS = {
    "loss": "nats",
    "bce": "nats/feature",
    "mse": "per feature",
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
_HIGHER, _LOWER = ("elbo", "psnr"), ("loss", "bce", "mse", "reconstruction_nats")


def named(metric: str) -> str:
    """The metric with its unit, e.g. "elbo (nats)"."""
    unit = UNITS.get(metric)
    return metric if unit is None else f"{metric} ({unit})"


def better(metric: str) -> str | None:
    """Which way is better, "higher" or "lower"; None where neither is, as for the two halves of a trade."""
    if metric == "corrupted_psnr":  # says how hard the task is, not how good the model
        return None
    if metric.endswith(_HIGHER):
        return "higher"
    return "lower" if metric.endswith(_LOWER) else None
