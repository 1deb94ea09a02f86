"""What an application found out about a run, kept in its directory and shown in its report.

`RUN/applications/NAME.json` holds plain values, `NAME.npz` beside it arrays where there are some.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aeflax.data import files, writers
from aeflax.errors import ConfigError, DataError, warn
from aeflax.rundir.runs import APPLICATIONS
from aeflax.storage.document import read_json, write_json


@dataclass(frozen=True)
class Findings:
    """One application's result.

    Attributes:
      state_sha256: of the state that it is about.
      values: what JSON holds.
      arrays: by name.
    """

    state_sha256: str
    values: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def keep(run_directory: Path, name: str, found: Findings) -> Path:
    """Replaces what is kept of an application; returns the path of its JSON.

    Raises:
      ConfigError: where it cannot be written.
    """
    folder = run_directory / APPLICATIONS
    try:
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.json"
        path.unlink(missing_ok=True)  # never one half of another result
        if found.arrays:
            writers.write(folder / f"{name}.npz", [dict(found.arrays)])
        write_json(path, {"state_sha256": found.state_sha256, "arrays": bool(found.arrays), **found.values})
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}; choose another place") from error
    return path


def remember(run_directory: Path | None, name: str, found: Findings) -> None:
    """Keeps what was found where the run has a directory; warns where that cannot be written."""
    if run_directory is None:
        return
    try:
        keep(run_directory, name, found)
    except ConfigError as error:
        warn(f"not kept for the report: {error}")


def load(run_directory: Path | None, state_sha256: str) -> dict[str, Findings]:
    """All that is kept about a state, by name; what is about another is left out, what is damaged with a warning."""
    found = {}
    for path in sorted((run_directory / APPLICATIONS).glob("*.json")) if run_directory is not None else []:
        try:
            values = read_json(path) or {}
            if values.pop("state_sha256", None) != state_sha256:
                continue
            arrays = files.npz_arrays(path.with_suffix(".npz")) if values.pop("arrays", False) else {}
        except (ConfigError, DataError) as error:
            warn(f"the report leaves {path.stem} out: {error}")
            continue
        found[path.stem] = Findings(state_sha256, values, arrays)
    return found
