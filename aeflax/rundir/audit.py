"""Whether a kept run is still what was written: every digest in its directory, checked. Standard library only."""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aeflax.errors import ConfigError
from aeflax.rundir import runs
from aeflax.rundir.claim import holder
from aeflax.storage import seal
from aeflax.storage.document import read_json, require_digest

_ANEW = "export the run again"


@dataclass(frozen=True)
class Audit:
    """What was found in a run directory.

    Attributes:
      checkpoints: step -> what is wrong with it, nothing if it is sound.
      files: name of a file, or of the folder of an export -> what is wrong with it, nothing if it is sound.
      exported: name of such a folder -> the step whose model it holds.
      unfinished: names of checkpoints that a process began and did not complete; the next resume removes them.
      holder: the process that the run is in use by, which may be writing those; None: none is.
    """

    checkpoints: dict[int, list[str]] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    exported: dict[str, int] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    holder: str | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged, and no checkpoint is missing of which the summary tells."""
        return not any([*self.checkpoints.values(), *self.files.values()])

    @property
    def resumes_at(self) -> int | None:
        """Step of the newest sound checkpoint, from which the run goes on; None: from none, or not at all."""
        if self.files.get(runs.MANIFEST):
            return None
        return max((step for step, faults in self.checkpoints.items() if not faults), default=None)

    def entry(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "sound": self.sound,
            "resumes_at": self.resumes_at,
            "holder": self.holder,
            "unfinished": self.unfinished,
            "files": self.files,
            "exported": self.exported,
            "checkpoints": [{"step": step, "faults": faults} for step, faults in self.checkpoints.items()],
        }


def verify(path: str | Path) -> Audit:
    """Checks every digest in a run directory: of all that a restore reads, of the summary, of findings and exports.

    Changes nothing, and needs neither JAX nor the run's data.

    Args:
      path: a run directory, or the folder of an export, wherever it lies, with all or some of its files.

    Raises:
      ConfigError: if it holds neither.
    """
    place = Path(path)
    if not (place / runs.MANIFEST).exists():
        if (place / runs.EXPORTED).exists():
            found = Audit()
            _look_at_export(place / runs.EXPORTED, str(place), found, shipped=True)
            return found
        runs.read_manifest(place)  # raises, and says where runs are
    before, audit = holder(place), Audit()
    held = seal.folders(place / runs.CHECKPOINTS)
    audit.checkpoints.update({step: seal.faults(folder) for step, folder in held.items()})
    others = {entry.name for entry in (place / runs.CHECKPOINTS).glob("*")} - {folder.name for folder in held.values()}
    audit.unfinished.extend(sorted(others))
    for name in (runs.MANIFEST, runs.SUMMARY):
        if (place / name).exists():
            audit.files[name] = _faults(place, name)
    reached = (runs.read_summary(place) or {}).get("step")
    if reached is not None and reached not in audit.checkpoints:
        audit.files[runs.SUMMARY].append(f"it tells of step {reached}, of which there is no checkpoint; put it back")
    for path in sorted((place / runs.APPLICATIONS).glob("*.json")):
        name = f"{runs.APPLICATIONS}/{path.name}"
        audit.files[name] = _faults(place, name) or _array_faults(path)
    for told in sorted((place / runs.EXPORTS).glob(f"*/{runs.EXPORTED}")):
        _look_at_export(told, str(told.parent.relative_to(place)), audit)
    return replace(audit, holder=before or holder(place))  # it may have begun, or ended, meanwhile


def _faults(place: Path, name: str) -> list[str]:
    try:
        runs.read_manifest(place) if name == runs.MANIFEST else read_json(place / name)
        require_digest(place / name)
    except ConfigError as error:
        return [str(error)]
    return []


def _look_at_export(told: Path, name: str, audit: Audit, *, shipped: bool = False) -> None:
    """Notes what is wrong with an export, and which step's model it holds, by its manifest.

    One that was `shipped` may lack some of its files, but not all.
    """
    try:
        manifest = read_json(told) or {}
    except ConfigError as error:
        audit.files[name] = [f"{str(error).partition(';')[0]}; {_ANEW}"]
        return
    files = manifest.get("files")
    if shipped and isinstance(files, dict):
        files = {file: about for file, about in files.items() if (told.parent / file).exists()} or files
    audit.files[name] = _export_faults(told, files)
    if isinstance(step := manifest.get("step"), int):
        audit.exported[name] = step


def _export_faults(told: Path, files: object) -> list[str]:
    """What is wrong with the files of an export, by the digests that its manifest holds."""
    mend = _ANEW
    if not isinstance(files, dict):
        return [f"{told} names no files; {mend}"]
    found = []
    for name, about in files.items():
        if not name.isprintable() or Path(name).name != name:
            found.append(f"{told} names {name!r}, which is no file of an export; {mend}")
            continue
        try:
            with (told.parent / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            found.append(f"{told.parent / name} cannot be read ({error.strerror}); {mend}")
            continue
        if not isinstance(about, dict) or digest != about.get("sha256"):
            found.append(f"{told.parent / name} is not what was written to it; {mend}")
    return found


def _array_faults(path: Path) -> list[str]:
    """What is wrong with the arrays beside the JSON of an application, by the sums that their archive holds."""
    if not (read_json(path) or {}).get("arrays"):
        return []
    beside = path.with_suffix(".npz")
    try:
        with zipfile.ZipFile(beside) as archive:
            broken = archive.testzip()
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, zlib.error) as error:
        return [f"{beside} cannot be read ({error}); run the application again"]
    return [] if broken is None else [f"{beside} is not what was written to it ({broken}); run the application again"]
