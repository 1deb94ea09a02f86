"""What can go wrong for a user, each kind with the exit code that the command line returns for it.

Every message is one clear sentence: what, where, and the mend.
"""


class AeflaxError(Exception):
    """Base of every error that aeflax raises on purpose."""

    exit_code = 1


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


class RunInUseError(AeflaxError, RuntimeError):
    """Another process holds the lock of the run directory."""

    exit_code = 6


class StoppedError(AeflaxError, RuntimeError):
    """Training was stopped by a signal; everything is saved and `--resume` goes on."""

    exit_code = 75


class AeflaxWarning(UserWarning):
    """Something is not as it should be, and the work goes on all the same."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the host or a device has no memory left."""
    if isinstance(error, AeflaxError) or "No space left on device" in str(error):  # tensorstore's full disk
        return False
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def reason(error: BaseException) -> str:
    """What a library's exception says, cut to one line that fits in a sentence; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
