"""A file of one JSON object a line, each with a `step`: what a run tells while it trains. Standard library only."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aeflax.errors import warn
from aeflax.storage.durable import replacing

LINE_END = b"\n"


class Journal:
    """Appends to such a file, from a step on: what was written after it, a resumed run writes again.

    A line that cannot be written (the disk is full) is kept and written before the next one; training does not end
    for it.

    Raises:
      OSError: when it is opened, if the file cannot be written.
    """

    def __init__(self, path: Path, step: int) -> None:
        kept = [record for record in read(path) if record["step"] <= step]
        with replacing(path) as file:
            file.writelines(_line(record) for record in kept)
        self._path, self._late = path, b""
        self._file = path.open("ab", buffering=0)

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record."""
        self._append(_line(record))

    def _append(self, line: bytes) -> None:
        """Writes what waited, then a line."""
        had, self._late = bool(self._late), self._late + line
        if not self._late:
            return
        end = self._file.seek(0, os.SEEK_END)
        try:
            written = self._file.write(self._late)
            if written != len(self._late):
                raise OSError(0, "only a part of it was written")
            self._late = b""
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(end)
            if not had:
                said = f"cannot write to {self._path} ({error.strerror}); its lines wait until that is possible"
                warn(said)

    def sync(self) -> None:
        """Makes what was written survive a power cut, as far as that is possible."""
        with suppress(OSError):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file, after a last attempt to write what waited."""
        self._append(b"")
        if self._late:
            said = f"{self._late.count(LINE_END)} lines could not be written to {self._path}; they are lost"
            warn(said)
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a file; a null is NaN, and a line that is damaged or cut short by a crash is left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines:
        with suppress(ValueError, RecursionError):  # also of a number with thousands of digits
            records.append(json.loads(line))
    return [
        {
            name: math.nan if value is None else value
            for name, value in record.items()
            if not isinstance(value, (list, dict))
        }
        for record in records
        if isinstance(record, dict) and isinstance(record.get("step"), int)
    ]


def _line(record: Mapping[str, Any]) -> bytes:
    """One record. JSON has no number that is not finite: it becomes null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return (json.dumps(plain, allow_nan=False) + "\n").encode()
