"""What is in a run directory, by name, and how it is read.

A run directory holds `experiment.json` (configuration, versions, data fingerprint), `checkpoints/`,
`metrics.jsonl` (one object a record) and `summary.json`. Files are replaced by an atomic rename after fsync.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aeflax.config.plain import DEFINE
from aeflax.errors import ConfigError
from aeflax.storage import journal, seal
from aeflax.storage.document import DAMAGED, read_json

MANIFEST = "experiment.json"
SUMMARY = "summary.json"
METRICS = "metrics.jsonl"
DIGESTS = "digests.jsonl"
REPORT = "report.html"
CHECKPOINTS = "checkpoints"
APPLICATIONS = "applications"
FIGURES = "figures"
EVENTS = "events.out.tfevents."  # how the names of TensorBoard's files begin
EXPORTS = "export"
EXPORTED = "manifest.json"  # in the folder of an export
FOLDERS = (CHECKPOINTS, APPLICATIONS, FIGURES)  # whose files are the run's own


def holds_checkpoint(path: Path) -> bool:
    """Whether a directory holds checkpoints of a run, sound or not."""
    return bool(seal.folders(path / CHECKPOINTS))


def with_file(said: object, manifest: Mapping[str, Any]) -> str:
    """What is said of kinds that are not registered, with the file that defines those of a run, as far as it tells."""
    file = next((name for name in manifest.get("parts") or () if name.endswith(".py")), None)
    return str(said).replace(DEFINE, f"--define {file}") if file else str(said)


def alone(manifest: Mapping[str, Any]) -> str:
    """The options that go on with a run, as part of a sentence: with its own settings, and nothing else."""
    also = f", and {DEFINE}," if manifest.get("parts") else ""
    return with_file(f"--resume and --run-dir{also} alone", manifest)


def require_first_weights(init_from: Path, resumed: Path | None) -> dict[str, Any] | None:
    """Refuses a run to begin with that is none, unless the run that is resumed is past its beginning.

    Args:
      init_from: the run whose weights another one begins with.
      resumed: the directory of that other one, None where it is not resumed.

    Returns:
      What the resumed run's manifest says of its first weights, where it has a checkpoint and they came from
      `init_from`, so that they are not needed any more; else None.

    Raises:
      ConfigError: if they are needed, and `init_from` holds no run.
    """
    if resumed is not None and holds_checkpoint(resumed):
        origin: dict[str, Any] = read_manifest(resumed).get("init_from") or {}
        if origin.get("run") == str(init_from):
            return origin
    read_manifest(init_from)
    return None


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run. Raises ConfigError where the directory holds none, or a damaged one."""
    manifest = read_json(path / MANIFEST)
    if manifest is None:
        places = [*path.glob(f"*/{MANIFEST}"), *path.glob(f"members/*/{MANIFEST}")]  # the latter of a sweep
        held = sorted(str(found.parent) for found in places)
        mend = f"did you mean {' or '.join(held[:3])}?" if held else "check the path"
        raise ConfigError(f"{path} holds no run ({MANIFEST} is missing); {mend}")
    wanted = ("experiment", "resolved", "data", "inputs", "versions", "random")
    if missing := [name for name in wanted if not isinstance(manifest.get(name), dict)]:
        raise ConfigError(f"{path / MANIFEST} lacks {', '.join(missing)}; {DAMAGED}")
    return manifest


def read_summary(path: Path) -> dict[str, Any] | None:
    """The summary of a run; None where there is none that can be used, since it can be made again."""
    with suppress(ConfigError):
        summary = read_json(path / SUMMARY)
        if summary is not None and all(isinstance(summary.get(name), dict) for name in ("train", "test", "pca")):
            return summary
    return None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a run's metrics log, as far as they can be read."""
    return journal.read(path / METRICS)
