"""What a run directory says of its experiment: enough to use the model anywhere, and to refuse another one's resume."""

import math
import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aeflax.config import Experiment
from aeflax.config.plain import differing, from_dict, to_dict
from aeflax.data.dataset import Dataset, Domain, Scaling
from aeflax.data.fingerprint import agree
from aeflax.data.order import order_sha256
from aeflax.definitions import own_files
from aeflax.engine.keys import IMPLEMENTATION
from aeflax.errors import ConfigError, DataError, warn
from aeflax.rundir.runs import MANIFEST, alone, with_file
from aeflax.storage.document import DAMAGED, changed

# What a resumed run may change: how long it trains, and where, what it writes, and where its data lie, which are told
# by their digests.
CHOSEN = ("model.", "optimizer.")  # fields that may be left to be chosen, and then stay as they were
FREE = (
    *("train.epochs", "train.steps", "train.placement", "train.fsdp", "train.sharding", "train.rematerialize"),
    *("train.log_every", "train.checkpoint_every", "train.digest_every"),
    *("data.source", "data.resident", "data.workers"),
)
DIFFER = "the data differ"
PACKAGES = ("aeflax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def describe(
    experiment: Experiment, resolved: Experiment, dataset: Dataset, preset: str, origin: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The manifest of a new run; `origin` says where its first weights came from, None where they were drawn."""
    domain, columns = dataset.domain, dataset.columns
    return {
        "preset": preset,
        "experiment": to_dict(experiment),
        "resolved": to_dict(resolved),
        "data": dataset.fingerprint(),
        "inputs": {
            "shape": list(dataset.shape),
            "dtype": domain.dtype.name,
            "shift": domain.scaling.shift.tolist(),
            "divisor": domain.scaling.divisor.tolist(),
            "unit_range": domain.unit_range,
            **({} if domain.fill is None else {"fill": domain.fill.tolist()}),
            **({} if columns is None else {"columns": list(columns)}),
            **({} if dataset.version is None else {"version": dataset.version}),
        },
        "init_from": origin,
        **({} if not (own := own_files(resolved)) else {"parts": own}),
        "versions": _versions(),
        "random": {
            "implementation": IMPLEMENTATION,
            "threefry_partitionable": bool(jax.config.values["jax_threefry_partitionable"]),
            "order_sha256": order_sha256(resolved.train.seed, len(dataset.train)),
        },
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def columns_of(manifest: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names of the features of the table that a run was trained on; None where that was no table with a header."""
    names = manifest["inputs"].get("columns")
    return tuple(names) if isinstance(names, list) else None


def warn_of_changed_parts(stored: Mapping[str, Any], experiment: Experiment) -> None:
    """Warns where parts of a user's own are defined otherwise than when a run was last trained, by its manifest."""
    _compare_parts(_parts(stored)[-1], own_files(experiment))


def _parts(stored: Mapping[str, Any]) -> list[dict[str, str]]:
    """Digests of what defined a run's own parts when it began, and after every later change of them."""
    return [*_list([stored.get("parts", {})]), *_list(stored.get("resumed_with_parts"))] or [{}]


def _compare_parts(was: Mapping[str, str], found: Mapping[str, str]) -> bool:
    """Whether parts have changed, which is warned of."""
    names = changed(was, found)
    for name in names:
        if name in was:
            warn(f"{name} has changed since the run was last trained: its parts now are what it says today")
        else:
            warn(f"the run was last trained with {', '.join(was)}, and its parts now are what {name} says")
    return bool(names)


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def carried_over(stored: Mapping[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a run that is there, with what began it and went on with it as it was."""
    names = ("created", "preset", "parts", "versions", "resumed_with", "resumed_with_parts", "devices", "processes")
    return {**manifest, **{name: stored[name] for name in names if name in stored}}


def continued(stored: Mapping[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a run that goes on: with the versions that it began with, and those of every later change.

    Args:
      stored: what the run directory says.
      manifest: of the run as it is resumed now.

    Returns:
      `versions` as they were at the beginning; `resumed_with` lists, in order, those that went on from there, and
      `resumed_with_parts` the digests of parts of a user's own that had changed.
    """
    parts, found = _parts(stored), manifest.get("parts", {})
    if _compare_parts(parts[-1], found):
        parts.append(found)
    now, before = manifest["versions"], [stored["versions"], *_list(stored.get("resumed_with"))]
    if changed := [name for name, was in before[-1].items() if now.get(name) != was]:
        was, this = (", ".join(f"{name} {found.get(name)}" for name in changed) for found in (before[-1], now))
        said = f"the run was trained with {was}, this is {this}: its bits may differ from here on"
        warn(said)
        before.append(now)
    devices, now = stored.get("devices"), manifest.get("devices")
    before_that, processes = (part.get("processes", 1) for part in (stored, manifest))
    other = devices != now or before_that != processes
    if None not in (devices, now) and other and not manifest["resolved"]["train"]["exact"]:
        was = f"{devices} {'device' if devices == 1 else 'devices'}{_among(before_that)}"
        said = f"the run was trained on {was}, and goes on on {now}{_among(processes)}"
        exact = "--train.exact True (with jit or pmap) from its beginning would have kept the bits"
        warn(f"{said}: equal to rounding; {exact}")
    later: dict[str, Any] = {} if now is None else {"devices": now, "processes": processes}
    later |= {"resumed_with": before[1:]} if before[1:] else {}
    later |= {"resumed_with_parts": parts[1:]} if parts[1:] else {}
    return carried_over(stored, manifest) | {"versions": before[0]} | later


def _among(processes: int) -> str:
    return "" if processes == 1 else f" in {processes} processes"


def _list(found: Any) -> list[dict[str, str]]:
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def inputs(manifest: Mapping[str, Any], resolved: Experiment) -> tuple[tuple[int, ...], Domain]:
    """The shape of one example, and what the run was trained on."""
    found = manifest["inputs"]
    try:
        shape = tuple(int(size) for size in found["shape"])
        shift, divisor = (np.asarray(found[name], np.float32) for name in ("shift", "divisor"))
        scaling = Scaling(shift, divisor, fitted=resolved.data.scale != "none")
        known = {1, math.prod(shape)}
        if {scaling.shift.size, scaling.divisor.size} - known:
            raise ValueError("the scaling does not fit the shape")
        fill = np.asarray(found["fill"], np.float32) if "fill" in found else None
        if fill is not None and fill.shape != (math.prod(shape),):
            raise ValueError("what fills missing values does not fit the shape")
        return shape, Domain(np.dtype(found["dtype"]), scaling, bool(found["unit_range"]), fill)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{MANIFEST} describes its inputs wrongly ({error}); {DAMAGED}") from error


def changes(stored: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """What differs from a stored manifest and may not in a run that goes on, in a few words each."""
    old, new = (from_dict(Experiment, part["experiment"]) for part in (stored, manifest))
    different = differing(old, new)
    was, now = (from_dict(Experiment, part["resolved"]) for part in (stored, manifest))
    chosen = {path: change for path, change in differing(was, now).items() if path.startswith(CHOSEN)}
    found = [
        change
        for path, change in different.items()
        if path not in FREE and (path in chosen or not path.startswith(CHOSEN))  # else it is said what was chosen
    ]
    other = "this version chooses otherwise; name what it was"
    found += [f"{change} ({other})" for path, change in chosen.items() if path not in different]
    steps = [part["resolved"]["train"]["steps"] for part in (stored, manifest)]
    if steps[1] < steps[0]:
        found.append(f"train.steps: {steps[0]} -> {steps[1]} (a resumed run may train longer, not shorter)")
    if steps[1] != steps[0] and new.optimizer.schedule not in ("constant", "piecewise"):
        found.append(f"train.steps: {steps[0]} -> {steps[1]} (the {new.optimizer.schedule} schedule depends on it)")
    others = [
        f"{name}: {DIFFER}" for name, print_ in stored["data"].items() if not agree(print_, manifest["data"].get(name))
    ]
    found += ([different["data.source"]] if others and "data.source" in different else []) + others
    found += [
        f"random.{name}: {stored['random'][name]} -> {manifest['random'][name]}"
        for name in stored["random"]
        if stored["random"][name] != manifest["random"][name]
        and not (name == "order_sha256" and found)  # of another seed or of other data, which are told of
    ]
    digests = [(part.get("init_from") or {}).get("state_sha256") for part in (stored, manifest)]
    if digests[0] != digests[1]:
        found.append("init_from: the first weights differ")
    return found


def _newer(stored: Mapping[str, Any], changes: Sequence[str], now: str | None, how: str = "--data.source") -> str:
    """What may have happened to a TFDS set that was named without a version, and the mend: the end of a sentence.

    Args:
      stored: the manifest of the run.
      changes: of its experiment and data.
      now: the version that was found.
      how: what names another one.
    """
    source, had = stored["resolved"]["data"]["source"], stored["inputs"].get("version")
    other = any(change.startswith("data.source") for change in changes)  # another set altogether
    if other or not source.startswith("tfds:") or ":" in source[5:] or not any(DIFFER in change for change in changes):
        return ""
    if had is not None and had == now:
        return f"; it has the same version, {had}: it was prepared anew, or TFDS_DATA_DIR names another copy"
    return f"; if a newer version of the set has come, name the one that it had: {how} {source}:{had or 'VERSION'}"


def require_same(stored: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Raises ConfigError with the list of what a resumed run may not change."""
    if found := changes(stored, manifest):
        said = f"--resume finds another experiment than the one in the run directory: {'; '.join(found)}"
        newer = _newer(stored, found, manifest["inputs"].get("version"))
        mend = f"repeat the first command ({alone(stored)} will do)"
        if all(DIFFER in change for change in found):  # which no command changes
            mend = "bring back what it was trained on"
        raise ConfigError(f"{said}{newer}; {mend}, or start anew with --overwrite")


def resolved(manifest: Mapping[str, Any], path: Path) -> Experiment:
    """The experiment of a run's manifest. Raises ConfigError where the parts that are registered now do not fit it."""
    try:
        return from_dict(Experiment, manifest["resolved"])
    except ConfigError as error:
        said = with_file(error, manifest)
        raise ConfigError(f"the run in {path} was trained with other parts than there are now: {said}") from error


def require_same_data(manifest: dict[str, Any], dataset: Dataset) -> None:
    """Raises DataError where a run's data are not what it was trained on."""
    found = dataset.fingerprint()
    changed = [name for name, print_ in manifest["data"].items() if not agree(print_, found.get(name))]
    if changed:
        parts = f"{', '.join(changed)} {'differs' if len(changed) == 1 else 'differ'}"
        newer = _newer(manifest, [DIFFER], dataset.version, "aeflax train --resume --run-dir RUN --data.source")
        said = f"{dataset.source} has changed since the run was trained: its {parts}"
        raise DataError(f"{said}; bring back what it was trained on, or train anew{newer}")
