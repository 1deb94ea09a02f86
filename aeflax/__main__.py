"""The program `aeflax`, also as `python -m aeflax`."""

import signal
import sys


def main() -> int:
    """Runs the command line and returns its exit code. Until a command hears it, SIGINT ends the process in silence."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # else a traceback of whatever import it interrupts
    from aeflax.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
