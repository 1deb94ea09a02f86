"""What a command says as JSON: its result, or how it ended without one. Standard library only."""

import json
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from aeflax.errors import DivergedError, StoppedError

QUIT = dict.fromkeys((128 + signal.SIGINT, 128 + signal.SIGTERM), "quit")
STATUS = {StoppedError.exit_code: "stopped", DivergedError.exit_code: "diverged", **QUIT}


warned: list[str] = []  # what the command has warned of


def awaited(arguments: Sequence[str]) -> bool:
    """Whether the result of a command was to be JSON."""
    return "--json" in arguments


def done(result: Mapping[str, Any]) -> str:
    """The result of a command as one JSON object; its `status` is `done`, its `warnings` are those that there were."""
    return json.dumps({"status": "done", **result, "warnings": warned})


def give(result: Mapping[str, Any]) -> None:
    """Prints the same."""
    print(done(result))  # noqa: T201


def failed(code: int, said: str, **details: Any) -> str:
    """How a command ended, by its exit code, as one JSON object."""
    return json.dumps({"status": STATUS.get(code, "failed"), "exit_code": code, "error": said, **details})
