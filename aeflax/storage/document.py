"""A JSON file that is replaced whole, and that tells whether it is still what was written. Standard library only."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeflax.errors import ConfigError
from aeflax.storage.durable import replacing

DIGEST = "sha256"  # key of the digest of the rest
DAMAGED = "the run directory is damaged: put back a copy of that file, or train anew with --overwrite"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replaces a JSON file, durably; a digest of the rest in it tells whether it is still what was written."""
    with replacing(path) as file:
        file.write((json.dumps({**content, DIGEST: _sha256(content)}, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None where there is no file. Raises ConfigError where it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); {DAMAGED}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no JSON object; {DAMAGED}")
    if (digest := content.pop(DIGEST, None)) is not None and digest != _sha256(content):
        raise ConfigError(f"{path} is not what was written to it (its {DIGEST} differs); {DAMAGED}")
    return content


def require_digest(path: Path) -> None:
    """Raises ConfigError where a file holds no digest of itself."""
    if DIGEST not in json.loads(path.read_text(encoding="utf-8")):
        raise ConfigError(f"{path} holds no {DIGEST}: nothing tells whether it is what was written")


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def changed(was: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Names whose digest was there under no name, so that a renamed file is the same; none, where none was known."""
    return [name for name, now in found.items() if was and now not in was.values()]
