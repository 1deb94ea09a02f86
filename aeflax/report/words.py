"""What a report says of a run, in plain text: its sentences, its captions, its numbers and its tables."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from aeflax.data.dataset import called
from aeflax.report import metrics
from aeflax.report.cells import few, telling
from aeflax.report.material import Material
from aeflax.report.metrics import HEADLINE, UNITS, better, columns


def number(value: Any) -> str:
    """A number to five significant digits; a dash for None."""
    return "–" if value is None else f"{value:.5g}"


def sentence(material: Material) -> str:
    """One sentence: which model on which data, its size, and what training it took."""
    summary = material.summary
    shape = " × ".join(str(size) for size in material.examples.shape[1:])
    units = _latent_dim(material)
    size = f"{shape} {'feature' if shape == '1' else 'features'} to a code of {units}"
    if (parameters := summary.get("parameters")) is not None:
        size += f", {parameters:,} parameters"
    effort = []
    if (step := summary.get("step")) is not None:
        effort.append(f"{step:,} steps")
    if (seconds := summary.get("seconds")) is not None:
        effort.append(f"in {seconds:,.1f} s")
    if (speed := summary.get("images_per_second")) is not None:
        effort.append(f"at {speed:,.0f} {called(material.examples.shape[1:])}/s")
    trained = f"; trained for {' '.join(effort)}" if step is not None else ""
    return f"{_model(material.experiment.get('model') or {})} on {_source(material)}: {size}{trained}."


def notes(material: Material) -> list[str]:
    """What a reader must know of the checkpoint and of how the run ended; usually nothing."""
    summary, found = material.summary, []
    if summary.get("status") == "checkpoint":
        found.append(f"This is the checkpoint of step {summary['step']:,}, not the run's last one.")
    elif summary.get("status") != "done":
        found.append("This run is not finished: its final evaluation is missing.")
    if summary.get("stopped_early"):
        found.append("Training stopped early, because validation had not improved for a while.")
    if skipped := summary.get("skipped_updates"):
        found.append(f"{skipped:,} updates were skipped for a loss or gradient that was not finite.")
    return [*found, *metrics.notes(summary, material.experiment.get("model") or {})]


def compared_with_pca(material: Material) -> bool:
    """Whether PCA at the same code size stands beside the model, in the table and in the figure of errors."""
    return bool((material.summary.get("pca") or {}).get("compresses"))


def final_table(material: Material) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns, and rows {"metric", "unit", "better", "cells"}: each split, and PCA at the same code size."""
    titled = columns(material.summary)
    metrics = dict.fromkeys(metric for column in titled.values() for metric in column)
    rows = [
        {
            "metric": metric,
            "unit": UNITS.get(metric, ""),
            "better": better(metric),
            "cells": [number(column.get(metric)) for column in titled.values()],
        }
        for metric in metrics
    ]
    return list(titled), rows


def settings(experiment: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """The configuration by section, each field as the command line names it, e.g. optimizer.learning-rate."""
    return {
        section: list(_fields(section, values)) if isinstance(values, Mapping) else [(section, _plain(values))]
        for section, values in experiment.items()
    }


def fingerprint(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a run was trained on, as names and values."""
    found = []
    for name, value in data.items():
        if isinstance(value, Mapping):
            shape = " × ".join(str(size) for size in value.get("shape", ()))
            kinds = {"sha256": "SHA-256", "sample_sha256": "SHA-256 of a sample"}
            digest = next((f"{kind} {value[key]}" for key, kind in kinds.items() if key in value), "")
            value = ", ".join(filter(None, (shape, str(value.get("dtype", "")), digest)))
        found.append((name, str(value)))
    return found


def caption(name: str, material: Material) -> str:
    """How to read a figure."""
    found = _CAPTIONS[name]
    return found if isinstance(found, str) else found(material)


_CODES = {
    "posterior": "variational",
    "sparse": "sparse",
    "top-k": "top-k sparse",
    "batch-top-k": "batch-top-k sparse",
    "jump-relu": "jump-ReLU sparse",
    "lifetime": "lifetime-sparse",
}


def _model(model: Mapping[str, Any]) -> str:
    """E.g. "A denoising convolutional variational autoencoder"."""

    def kind(part: str) -> str:
        return str((model.get(part) or {}).get("kind", ""))

    words = [
        "denoising" if kind("corruption") not in ("", "none") else "",
        "convolutional" if kind("backbone") == "conv" else "",
        _CODES.get(kind("bottleneck"), ""),
        "autoencoder",
    ]
    text = " ".join(filter(None, words))
    return f"{'An' if text[0] in 'aeiou' else 'A'} {text}"


def _posterior(material: Material) -> bool:
    """Whether metrics hold for samples of a code of which the examples in `material` show the mean."""
    return ((material.experiment.get("model") or {}).get("bottleneck") or {}).get("kind") == "posterior"


def _source(material: Material) -> str:
    return str((material.experiment.get("data") or {}).get("source") or "unnamed data")


def _latent_dim(material: Material) -> int:
    units = (material.experiment.get("model") or {}).get("latent_dim")
    return int(units) if units is not None else int(material.codes.shape[1])


def _fields(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        field = prefix if name == "kind" else f"{prefix}.{name.replace('_', '-')}"
        if isinstance(value, Mapping):
            yield from _fields(field, value)
        else:
            yield field, _plain(value)


def _plain(value: Any) -> str:
    """A value as the command line takes it."""
    if value is None:
        return "none"
    if isinstance(value, (list, tuple)):
        return " ".join(_plain(each) for each in value) or "–"
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def _of_reconstructions(material: Material) -> str:
    corrupted = not np.array_equal(material.inputs, material.examples)
    mean = " The code is the posterior's mean." if _posterior(material) else ""
    if material.examples.ndim == 2:
        seen = ", which alone it saw (grey)" if corrupted else ""
        return (
            f"The thin line is what the model made of one test example{seen}; "
            f"the closer it lies on the thick one, the better.{mean}"
        )
    if corrupted:
        return (
            "Each column is one test example: the model saw the corrupted row, and should give back the clean one."
            f"{mean}"
        )
    return f"Each column is one test example; below it, what the decoder made of its code alone.{mean}"


def _of_learning_curves(material: Material) -> str:
    evaluated = {*material.summary.get("test", {}), *(name for record in material.history for name in record)}
    headline = next((name for name in HEADLINE if name in evaluated), None)
    text = "A lower loss is better"
    if headline is not None:
        text += f", {'and a' if better(headline) == 'lower' else 'but a'} {better(headline)} {headline}"
    text += "; a validation or test curve that turns back while training goes on shows overfitting."
    return text + (" With one posterior sample an example." if _posterior(material) else "")


def _of_codes(material: Material) -> str:
    if material.codes.shape[1] == 1:
        return "How the test examples spread over the one dimension of the code."
    text = "Each point is the code of one test example; the shares tell how much of the code's variance each axis shows"
    if not telling(material.labels):
        return f"{text}."
    apart = "colours that part" if few(material.labels) else "colours that run smoothly"
    return f"{text}, and {apart} tell that the code knows the labels, which training never saw."


def _of_dictionary(material: Material) -> str:
    text = "Each cell is one unit of the code, the most used first"
    if material.usage is not None:
        text += " (at the right, for how many examples the first of each row is active)"
    text += ": "
    if material.examples.ndim == 2:
        return text + "the curve is what it adds to the output, the line is zero."
    if material.examples.shape[-1] == 3:
        return text + "its colours are what it adds to the output."
    return text + "where red it brightens the output, where blue it darkens it; parts and strokes are a good sign."


def _of_errors(material: Material) -> str:
    where = "pixels" if material.examples.ndim > 2 else "features"
    means = "the model's mean"
    if compared_with_pca(material):
        means = "the means of the model and of PCA at the same code size"
        if not np.array_equal(material.inputs, material.examples):
            means += " (PCA saw the clean examples, the model the corrupted ones)"
    sampled = ""
    if _posterior(material):
        sampled = " These are errors of the posterior's mean; the table's are of one posterior sample an example."
    return (
        f"Left: how the error spreads over examples, with {means}; lower is better. "
        f"Right: which {where} are hard.{sampled}"
    )


_CAPTIONS: Mapping[str, str | Callable[[Material], str]] = {
    "reconstructions": _of_reconstructions,
    "learning_curves": _of_learning_curves,
    "codes": _of_codes,
    "samples": "Decoded from random codes of the prior N(0, I): the more they look like the data, the better the model "
    "generates.",
    "latent_grid": "The two most informative code dimensions run over the prior, in its standard deviations σ, while "
    "all others stay at 0: across and up is what each of the two has learnt.",
    "dictionary": _of_dictionary,
    "filters": "What the first layer looks for: smooth patterns such as edges and spots are a good sign, noise is not.",
    "errors": _of_errors,
}
