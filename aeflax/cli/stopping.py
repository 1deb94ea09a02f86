"""How a signal ends a command: at once before there is anything to save, cleanly afterwards. No library of others."""

import functools
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

from aeflax.cli import answer, job
from aeflax.errors import SIGNALS, StoppedError
from aeflax.storage.durable import abandon


class Stop:
    """Hears SIGTERM, SIGINT, SIGUSR1 (of Slurm) and a lost terminal; asked by the trainer whether to stop.

    Until it is asked for the first time, nothing has been computed that could be lost, and the first signal ends the
    process where it stands: an exception would become another error, or a line on the terminal, of whatever library
    it comes up in. Then it asks for a clean stop. A SIGINT after that quits at once, and waits for nothing.

    Args:
      json: whether the command's result was to be JSON; then its end is told as JSON, too.

    Attributes:
      together: whether other processes train with this one: they stop when all of them are asked, and not before.
      path: the run's directory, once it is known.
      created: whether that was made for the run; then it goes again if nothing came into it.
    """

    def __init__(self, *, json: bool = False) -> None:
        self._json, self.together = json, False
        self._heard = self._asked = self.created = False
        self.path: Path | None = None
        # What whoever started the command ignores stays ignored: nohup SIGHUP, a shell's background job SIGINT.
        self._numbers = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        for number in self._numbers:
            signal.signal(number, self._hear)

    def __call__(self) -> bool:
        """Whether to stop."""
        self._asked = True
        return self._heard

    def _hear(self, number: int, _: FrameType | None) -> None:
        if signal.SIGINT in self._numbers:
            signal.signal(signal.SIGINT, functools.partial(_quit, self._json))
        first, self._heard = not self._heard, True
        if first and not self._asked and not self.together:
            self._end(signal.Signals(number).name)

    def _end(self, by: str) -> None:
        """Ends the process before there is anything to save, as a signal asks."""
        kept = self.path is not None and not self.created
        mend = f"run the same command again{', with --resume' if kept else ''}"
        code, said = StoppedError.exit_code, f"stopped by {by} before training began; {mend}"
        told = {2: f"aeflax: {said}\n"}
        if self._json:
            told[1] = answer.failed(code, said, **({"run_dir": str(self.path)} if kept else {})) + "\n"
        for stream, text in told.items():
            with suppress(OSError):  # nobody has to listen
                os.write(stream, text.encode())
        if self.path is not None and self.created:
            with suppress(OSError):  # it holds a run
                self.path.rmdir()
        os._exit(code)


def end_at_once(*, json: bool) -> None:
    """Lets SIGINT and SIGTERM end the process where it stands, from now on, unless they are ignored.

    Where the command's result was to be JSON, its end is told as JSON.

    Commands that train hear them for themselves (`Stop`). All others have nothing to save, and replace files whole or
    not at all; an exception would be lost in a destructor of some library, or become another error during an import.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            with suppress(ValueError):  # not in the main thread
                signal.signal(number, functools.partial(_quit, json))


def _quit(json: bool, number: int, _: FrameType | None) -> None:
    """Ends the process as it is: what was saved is safe, and the next --resume removes the rest."""
    for other in (signal.SIGINT, signal.SIGTERM):  # one of them is enough
        signal.signal(other, signal.SIG_IGN)
    abandon()
    if json and job.speaks():
        said = answer.failed(128 + number, f"quit at once by {signal.Signals(number).name}")
        with suppress(OSError, ValueError):  # nobody has to listen
            os.write(sys.stdout.fileno(), f"{said}\n".encode())
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # the cursor, which a progress bar hides
        sys.stderr.flush()
    os._exit(128 + number)
