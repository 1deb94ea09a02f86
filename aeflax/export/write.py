"""`export`: writes a model in one of the forms, checked, with a manifest beside it."""

import hashlib
import importlib
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from aeflax.applications.inference import Inference
from aeflax.errors import ConfigError
from aeflax.export import check, safetensors, stablehlo
from aeflax.export.parts import parts as parts_of
from aeflax.rundir.runs import EXPORTED
from aeflax.storage.document import read_json, write_json
from aeflax.storage.durable import replacing

FORMATS = ("stablehlo", "safetensors", "onnx")


def export(inference: Inference, form: str, directory: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the encoder, the decoder and the whole, or the weights, and `manifest.json`, into a directory.

    Args:
      inference: the model.
      form: stablehlo, safetensors or onnx.
      directory: made where there is none; files of the same names are replaced.
      about: what the manifest says of the run: its step, digest and configuration.

    Returns:
      The manifest: of each file its SHA-256, inputs and outputs, what reads it, and the largest difference found
      between it and the model.

    Raises:
      ConfigError: for a form that there is not, or whose package is missing; for a directory that holds another form,
        whose manifest would be lost.
      ExportError: if what was exported computes something else; nothing is written then.
      OSError: if the directory cannot be written to.
    """
    if form not in FORMATS:
        raise ConfigError(f"there is no export format {form!r}; choose {', '.join(FORMATS)}")
    held = form
    with suppress(ConfigError):  # of a damaged manifest, which is replaced
        held = (read_json(directory / EXPORTED) or {}).get("format", form)
    if held != form:
        raise ConfigError(f"{directory} holds an export as {held}, and one manifest; choose another folder for {form}")
    said = {"format": form, "aeflax": version("aeflax"), "jax": jax.__version__, **about}
    if form == "safetensors":
        named = safetensors.tensors(inference)
        files = {"model.safetensors": safetensors.blob(named, {"aeflax": version("aeflax"), "manifest": EXPORTED})}
        said |= {"requires": {"safetensors": f">={version('safetensors')}"}}
        told: dict[str, Any] = {
            "model.safetensors": {
                "tensors": {name: {"shape": list(leaf.shape), "dtype": leaf.dtype.name} for name, leaf in named.items()}
            }
        }
    else:
        files, told, more = _functions(inference, form)
        said |= more
    for name, blob in files.items():
        told[name] = {"sha256": hashlib.sha256(blob).hexdigest(), "bytes": len(blob)} | told[name]
    said["files"] = told
    directory.mkdir(parents=True, exist_ok=True)
    for name, blob in files.items():
        with replacing(directory / name) as file:
            file.write(blob)
    write_json(directory / EXPORTED, said)
    return said


def _functions(inference: Inference, form: str) -> tuple[dict[str, bytes], dict[str, Any], dict[str, Any]]:
    """Files, what is said of each, and what is said of all: of a form that holds functions."""
    module: Any = _onnx() if form == "onnx" else stablehlo
    if form == "onnx" and inference.program.experiment.train.precision == "bfloat16":
        raise ConfigError(
            "a model that computes in bfloat16 cannot be exported to ONNX, whose runtime lacks it on CPU; choose "
            "--format stablehlo"
        )
    parts = {part.name: part for part in parts_of(inference)}
    # In full float32 on every platform: a GPU's own products (TF32) differ from the CPU's by a thousandth.
    with jax.default_matmul_precision("highest"):
        blobs: dict[str, bytes] = module.blobs(parts)
        worst = check.largest_difference(inference, {name: module.runnable(blob) for name, blob in blobs.items()})
    files = {f"{name}.{module.SUFFIX}": blob for name, blob in blobs.items()}
    told = {
        f"{name}.{module.SUFFIX}": {"input": part.given.described(), "output": part.made.described()}
        for name, part in parts.items()
    }
    said = {
        "requires": module.requirements(),
        "checked": {"batches": list(check.BATCHES), "largest_difference": worst, "tolerance": check.TOLERANCE},
    }
    return files, told, said


def _onnx() -> Any:
    try:
        importlib.import_module("onnxruntime")
        return importlib.import_module("aeflax.export.onnx")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"ONNX needs the package {error.name}; install the extra: pip install 'aeflax[onnx]'"
        ) from error
