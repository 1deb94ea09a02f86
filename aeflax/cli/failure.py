"""What a command that ends without its result says instead, where that was to be JSON. Standard library only."""

import json
from collections.abc import Sequence
from typing import Any

from aeflax.errors import DivergedError, StoppedError

STATUS = {StoppedError.exit_code: "stopped", DivergedError.exit_code: "diverged"}


def awaited(arguments: Sequence[str]) -> bool:
    """Whether the result of a command was to be JSON."""
    return "--json" in arguments


def told(code: int, said: str, **details: Any) -> str:
    """How a command ended, by its exit code, as one JSON object."""
    return json.dumps({"status": STATUS.get(code, "failed"), "exit_code": code, "error": said, **details})
