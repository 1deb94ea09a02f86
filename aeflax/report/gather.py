"""Computes what a report shows, from a model and the examples that its run directory keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aeflax import config
from aeflax.applications.inference import Inference
from aeflax.data.dataset import Dataset
from aeflax.report.material import Material

KEPT_EXAMPLES, KEPT_BYTES = 2000, 4 * 2**20  # of the test split, for reports made later
SAMPLES = 64
GRID = 11  # steps of the latent grid in each direction, the middle one at the prior's mean
GRID_SPAN = 2.0  # standard deviations of the prior on each side of its mean
UNITS = 100  # of a dictionary
EXAMPLES_FILE = "examples.npz"


@dataclass(frozen=True)
class Kept:
    """Some examples of the test split as stored, [N, ...], with their labels and their indices in it."""

    values: np.ndarray
    labels: np.ndarray | None
    index: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset) -> "Kept":
        """Evenly spaced examples, few enough to be kept beside every run."""
        values, labels = dataset.test.values, dataset.test.labels
        count = min(len(values), KEPT_EXAMPLES, max(16, KEPT_BYTES // values[0].nbytes))
        index = np.linspace(0, len(values) - 1, count).astype(np.int32)
        return cls(np.asarray(values[index]), None if labels is None else np.asarray(labels[index]), index)

    def save(self, path: Path) -> None:
        """Writes them to an NPZ file."""
        arrays = {"values": self.values, "index": self.index}
        if self.labels is not None:
            arrays["labels"] = self.labels
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Kept":
        """Reads them back."""
        with np.load(path, allow_pickle=False) as archive:
            labels = archive["labels"] if "labels" in archive.files else None
            return cls(archive["values"], labels, archive["index"])


def gather(
    inference: Inference,
    kept: Kept,
    *,
    name: str,
    summary: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
    command: str,
) -> Material:
    """Everything that a report of the run shows."""
    model, values = inference.program.built.model, kept.values
    examples = inference.scaled(values)
    corrupts = not isinstance(model.corruption, config.NoCorruption)
    inputs = inference.corrupted(values, kept.index) if corrupts else examples
    codes = np.concatenate(list(inference.encode([values])))
    return Material(
        name=name,
        experiment=manifest["resolved"],
        summary=summary,
        history=history,
        versions=manifest["versions"],
        data=manifest["data"],
        command=command,
        examples=examples,
        labels=kept.labels,
        inputs=inputs,
        reconstructions=inference.restore(inputs),
        codes=codes,
        unit_range=inference.inputs.unit_range,
        **_prior(inference, values),
        **_units(inference, codes),
        filters=_filters(inference),
    )


def _prior(inference: Inference, values: np.ndarray) -> dict[str, Any]:
    """Samples and the grid over the two dimensions of the code that say most."""
    if not isinstance(inference.program.built.model.bottleneck, config.GaussianPosterior):
        return dict.fromkeys(("samples", "grid", "grid_dimensions", "grid_sigmas"))
    kl = np.concatenate([kl for _, kl in inference.posterior([values])]).mean(axis=0)
    across, up = (int(i) for i in np.argsort(-kl, kind="stable")[[0, min(1, len(kl) - 1)]])
    sigmas = np.linspace(-GRID_SPAN, GRID_SPAN, GRID)
    codes = np.zeros((GRID, GRID, len(kl)), np.float32)
    codes[:, :, up] = sigmas[:, None]
    codes[:, :, across] = sigmas[None, :]
    decoded = inference.scaled_decode(codes.reshape(GRID * GRID, -1))
    return {
        "samples": inference.scaled_decode(inference.prior(SAMPLES)),
        "grid": decoded.reshape(GRID, GRID, *decoded.shape[1:]),
        "grid_dimensions": (across, up),
        "grid_sigmas": sigmas,
    }


def _units(inference: Inference, codes: np.ndarray) -> dict[str, Any]:
    """What the most used units of a sparse code add to the output."""
    if not isinstance(inference.program.built.model.bottleneck, (config.Sparse, config.TopK)):
        return {"dictionary": None, "usage": None}
    usage = np.mean(codes > 0, axis=0)
    order = np.argsort(-usage, kind="stable")[:UNITS]
    active = np.where(usage > 0, codes.sum(axis=0) / np.maximum((codes > 0).sum(axis=0), 1), 1.0)
    alone = np.zeros((len(order), codes.shape[1]), np.float32)
    alone[np.arange(len(order)), order] = active[order]
    return {"dictionary": inference.dictionary(alone), "usage": usage[order]}


def _filters(inference: Inference) -> np.ndarray | None:
    """Kernels of the first convolution, [K, kernel, kernel, C]."""
    if not isinstance(inference.program.built.model.backbone, config.Conv):
        return None
    kernel = jax.device_get(inference.weights["params"]["encoder"]["conv_0"]["kernel"])
    return np.moveaxis(np.asarray(kernel), -1, 0)
