"""What can go wrong for a user, each kind with the exit code that the command line returns for it.

Every message is one clear sentence: what, where, and the mend.
"""

import contextlib
import errno
import functools
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

CUT = 200  # characters of a library's message
_PASSED = (os.path.dirname(__file__) + os.sep, contextlib.__file__, functools.__file__)  # on the way to a caller
_OF_FILES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class AeflaxError(Exception):
    """Base of every error that aeflax raises on purpose."""

    exit_code = 1
    details: Mapping[str, Any] = MappingProxyType({})  # what else is known, for the JSON of a command

    def telling(self, **details: Any) -> Self:
        """The same error, which tells so much more."""
        self.details = {**self.details, **details}
        return self


class ConfigError(AeflaxError, ValueError):
    """A configuration or call that cannot work: bad value, missing run, resume mismatch."""

    exit_code = 2


class DivergedError(AeflaxError, ArithmeticError):
    """Training met too many non-finite losses or gradients in a row."""

    exit_code = 3


class CheckpointError(AeflaxError, OSError):
    """A checkpoint that cannot be read, is damaged, or could not be written."""

    exit_code = 4


class DataError(AeflaxError, ValueError):
    """Data that is unreadable or unfit: wrong shape, NaN, empty, damaged."""

    exit_code = 5


class UnavailableError(DataError):
    """The data that a run was trained on are not where they were."""


class RunInUseError(AeflaxError, RuntimeError):
    """Another process holds the lock of the run directory."""

    exit_code = 6


SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
)  # that ask a training to stop; the last is SLURM's


class StoppedError(AeflaxError, RuntimeError):
    """Training was stopped by a signal; everything is saved and `--resume` goes on."""

    exit_code = 75


class AeflaxWarning(UserWarning):
    """Something is not as it should be, and the work goes on all the same."""


def warn(said: str) -> None:
    """Issues an `AeflaxWarning` at the line of the caller's own code that led here, not at one of aeflax."""
    level = 1
    while (frame := sys._getframe(level)).f_back and frame.f_code.co_filename.startswith(_PASSED):
        level += 1
    warnings.warn(said, AeflaxWarning, stacklevel=level + 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the host or a device has no memory left."""
    if isinstance(error, AeflaxError) or _fault_of_files(error):  # tensorstore calls a full disk an exhausted resource
        return False
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def no_devices(error: BaseException) -> str | None:
    """Why JAX found no device of the platforms that are asked for; None for any other error."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or frames[-1].name != "backends" or not frames[-1].filename.endswith("xla_bridge.py"):
        return None
    return reason(error) if str(error) else "no such platform is installed"


def reason(error: BaseException) -> str:
    """What a library's exception says, cut to one line that fits in a sentence; its kind where it says nothing.

    Of a long line that tells of files, what the system said.
    """
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= CUT else _fault_of_files(error) or line[:CUT]


def _fault_of_files(error: BaseException) -> str | None:
    """What the operating system said of files, somewhere in an error."""
    return next((told for number in _OF_FILES if (told := os.strerror(number)) in str(error)), None)
