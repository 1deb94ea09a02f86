"""Standard output and error that hold up: closed from the start, left by their reader, or on a disk that is full."""

import errno
import io
import os
import stat
import sys
from typing import Any, BinaryIO

from aeflax.errors import ConfigError


class Messages(io.TextIOWrapper):
    """Standard error. Nobody has to listen: what cannot be written is lost, and the work goes on."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        # A table has characters that not every terminal knows.
        super().__init__(stream, encoding, errors="replace", line_buffering=True)

    def write(self, text: str, /) -> int:
        """Writes a text, as far as anybody reads it."""
        try:
            return super().write(text)
        except OSError as error:
            self._lost(error)
            return len(text)

    def flush(self) -> None:
        """Writes what was kept back."""
        try:
            super().flush()
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        """Bears that something cannot be written, and all that follows."""
        _silence(self.fileno())


class Results(Messages):
    """Standard output. A reader that leaves has read enough; results that cannot be kept are an error."""

    def _lost(self, error: OSError) -> None:
        hung_up = error.errno == errno.EIO and stat.S_ISCHR(os.fstat(self.fileno()).st_mode)  # a terminal that is gone
        super()._lost(error)
        if not (isinstance(error, BrokenPipeError) or hung_up):
            raise ConfigError(f"cannot write to standard output: {error.strerror}; choose another place") from error


_HELD: list[Messages] = []  # one that nobody knows any more would close its file


def hold() -> None:
    """Makes both streams of this process such ones, where they are its own."""
    # A file that is opened later must not get the number of a stream: libraries write messages to it.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _silence(number)
    for name, kind in (("stdout", Results), ("stderr", Messages)):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif stream is getattr(sys, f"__{name}__"):
            _HELD.append(kind(stream.buffer, stream.encoding))
            setattr(sys, name, _HELD[-1])
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _silence(number: int) -> None:
    """Lets a file descriptor lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
