"""How a signal ends a command: at once before there is anything to save, cleanly afterwards. Standard library only."""

import os
import signal
import sys
from types import FrameType


class Stopped(BaseException):
    """A signal before training began. No Exception, so that nobody takes it for a fault of what it interrupts."""


def stopped_by(error: BaseException | None) -> Stopped | None:
    """The signal that an error came of, also where what it interrupted made another error of it; None without one."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__cause__ or error.__context__
    return error


class Stop:
    """Hears SIGTERM, SIGINT and a lost terminal; asked by the trainer whether to stop.

    Until it is asked for the first time, nothing has been computed that could be lost, and the first signal ends the
    command. Then it asks for a clean stop. A SIGINT after that quits at once, and waits for nothing.

    Attributes:
      together: whether other processes train with this one: they stop when all of them are asked, and not before.
    """

    def __init__(self) -> None:
        self.together = self._heard = self._asked = False
        # What whoever started the command ignores stays ignored: nohup SIGHUP, a shell's background job SIGINT.
        named = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self._numbers = [number for number in named if signal.getsignal(number) != signal.SIG_IGN]
        for number in self._numbers:
            signal.signal(number, self._hear)

    def __call__(self) -> bool:
        """Whether to stop."""
        self._asked = True
        return self._heard

    def _hear(self, number: int, _: FrameType | None) -> None:
        if signal.SIGINT in self._numbers:
            signal.signal(signal.SIGINT, _quit)
        first, self._heard = not self._heard, True
        if first and not self._asked and not self.together:
            raise Stopped(f"stopped by {signal.Signals(number).name} before training began")


def _quit(number: int, _: FrameType | None) -> None:
    """Ends the process as it is: what was saved is safe, and the next --resume removes the rest."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # the cursor, which a progress bar hides
        sys.stderr.flush()
    os._exit(128 + number)
