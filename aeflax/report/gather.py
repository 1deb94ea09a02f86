"""Computes what a report shows, from a model and the examples that its run directory keeps."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeflax import config
from aeflax.applications.findings import Findings
from aeflax.applications.inference import Inference
from aeflax.data.kept import Kept
from aeflax.engine.keys import Keys, Split, Stream
from aeflax.engine.state import Source
from aeflax.errors import DataError
from aeflax.evaluation.scores import activity_threshold
from aeflax.report.material import Material
from aeflax.rundir.manifest import columns_of

SAMPLES = 64
GRID = 11  # steps of the latent grid in each direction, the middle one at the prior's mean
GRID_SPAN = 2.0  # standard deviations of the prior on each side of its mean
UNITS = 100  # of a dictionary


def gather(
    inference: Inference,
    kept: Kept,
    *,
    name: str,
    summary: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
    command: str,
    findings: Mapping[str, Findings],
) -> Material:
    """Everything that a report of the run shows."""
    examples, inputs = _evaluated(inference, kept)
    codes = inference.scaled_encode(examples)
    return Material(
        name=name,
        experiment=manifest["resolved"],
        summary=summary,
        history=history,
        versions=manifest["versions"],
        data=manifest["data"] | _origin(manifest.get("init_from")),
        command=command,
        examples=examples,
        labels=kept.labels,
        inputs=inputs,
        reconstructions=inference.scaled_reconstruct(inputs),
        codes=codes,
        unit_range=inference.domain.unit_range,
        **_prior(inference, examples),
        **_units(inference, codes),
        filters=_filters(inference),
        findings=findings,
        columns=columns_of(manifest),
    )


def _origin(first: Any) -> dict[str, str]:
    """Where the first weights came from, if from another run."""
    if not isinstance(first, Mapping):
        return {}
    run, step, digest = (first.get(name, "unknown") for name in ("run", "step", "state_sha256"))
    return {"first weights": f"{run}, step {f'{step:,}' if isinstance(step, int) else step}, SHA-256 {digest}"}


def _evaluated(inference: Inference, kept: Kept) -> tuple[np.ndarray, np.ndarray]:
    """Targets and inputs [N, ...] of the kept examples, in the model's range, with the noise that evaluation drew.

    Raises DataError where they are not of the model's shape.
    """
    program, scaling = inference.program, inference.domain.scaling
    if kept.values.shape[1:] != program.built.shape:
        raise DataError(
            f"the run's kept examples have the shape {kept.values.shape[1:]}, the model takes {program.built.shape}; "
            "delete examples.npz, so that they are taken from the data"
        )
    keys = Keys.of_evaluation(program.key, Split.TEST, jnp.asarray(kept.index))
    rows = jnp.asarray(kept.values.reshape(len(kept.values), -1))
    source = Source(rows, jnp.asarray(scaling.shift), jnp.asarray(scaling.divisor))
    targets = program.built.parts.prepare(source, keys)
    inputs = program.built.parts.corrupt(keys.of(Stream.CORRUPTION), targets, program.hyper)
    return np.asarray(targets), np.asarray(inputs)


def _prior(inference: Inference, examples: np.ndarray) -> dict[str, Any]:
    """Samples and the grid over the two dimensions of the code that say most."""
    if not inference.has_prior:
        return dict.fromkeys(("samples", "grid", "grid_dimensions", "grid_sigmas"))
    kl = inference.scaled_kl(examples).mean(axis=0)
    across, up = (int(i) for i in np.argsort(-kl, kind="stable")[[0, min(1, len(kl) - 1)]])
    sigmas = np.linspace(-GRID_SPAN, GRID_SPAN, GRID)
    codes = np.zeros((GRID, GRID, len(kl)), np.float32)
    codes[:, :, up] = sigmas[:, None]
    codes[:, :, across] = sigmas[None, :]
    decoded = inference.scaled_decode(codes.reshape(GRID * GRID, -1))
    return {
        "samples": inference.scaled_decode(inference.prior(0, SAMPLES)),
        "grid": decoded.reshape(GRID, GRID, *decoded.shape[1:]),
        "grid_dimensions": (across, up),
        "grid_sigmas": sigmas,
    }


def _units(inference: Inference, codes: np.ndarray) -> dict[str, Any]:
    """What the most used units of a sparse code add to the output."""
    model = inference.program.built.model
    if not model.bottleneck.sparse:
        return {"dictionary": None, "usage": None}
    active = codes > activity_threshold(model)
    usage, count = active.mean(axis=0), active.sum(axis=0)
    order = np.argsort(-usage, kind="stable")[:UNITS]
    strength = np.where(count > 0, np.sum(codes, axis=0, where=active) / np.maximum(count, 1), 1.0)
    alone = np.zeros((len(order), codes.shape[1]), np.float32)
    alone[np.arange(len(order)), order] = strength[order]
    return {"dictionary": inference.dictionary(alone), "usage": usage[order]}


def _filters(inference: Inference) -> np.ndarray | None:
    """Kernels of the first convolution, [K, kernel, kernel, C]."""
    if not isinstance(inference.program.built.model.backbone, config.Conv):
        return None
    kernel = jax.device_get(inference.weights["params"]["encoder"]["conv_0"]["kernel"])
    return np.moveaxis(np.asarray(kernel), -1, 0)
