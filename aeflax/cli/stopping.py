"""How a signal ends a command: at once before there is anything to save, cleanly afterwards. No library of others."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

from aeflax.cli import failure
from aeflax.durable import abandon
from aeflax.errors import StoppedError


class Stop:
    """Hears SIGTERM, SIGINT and a lost terminal; asked by the trainer whether to stop.

    Until it is asked for the first time, nothing has been computed that could be lost, and the first signal ends the
    process where it stands: an exception would become another error, or a line on the terminal, of whatever library
    it comes up in. Then it asks for a clean stop. A SIGINT after that quits at once, and waits for nothing.

    Args:
      json: whether the command's result was to be JSON; then its end is told as JSON, too.

    Attributes:
      together: whether other processes train with this one: they stop when all of them are asked, and not before.
      created: a directory made for the run, which goes again if nothing came into it.
    """

    def __init__(self, *, json: bool = False) -> None:
        self._json, self.together = json, False
        self._heard = self._asked = False
        self.created: Path | None = None
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
            self._end(f"stopped by {signal.Signals(number).name} before training began")

    def _end(self, said: str) -> None:
        mend = "run the same command again, with --resume where its directory holds a run"
        code = StoppedError.exit_code
        with suppress(OSError):  # nobody has to listen
            os.write(2, f"aeflax: {said}; {mend}\n".encode())
            if self._json:
                os.write(1, f"{failure.told(code, said)}\n".encode())
        if self.created is not None:
            with suppress(OSError):  # it holds a run
                self.created.rmdir()
        os._exit(code)


def end_at_once() -> None:
    """Lets SIGINT and SIGTERM end the process where it stands, from now on, unless they are ignored.

    Commands that train hear them for themselves (`Stop`). All others have nothing to save, and replace files whole or
    not at all; an exception would be lost in a destructor of some library, or become another error during an import.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            with suppress(ValueError):  # not in the main thread
                signal.signal(number, _quit)


def _quit(number: int, _: FrameType | None) -> None:
    """Ends the process as it is: what was saved is safe, and the next --resume removes the rest."""
    abandon()
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # the cursor, which a progress bar hides
        sys.stderr.flush()
    os._exit(128 + number)
