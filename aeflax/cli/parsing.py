"""What every command shares: parsing its arguments, and a console."""

import os
import sys
from typing import TYPE_CHECKING, Any

import tyro

if TYPE_CHECKING:
    from rich.console import Console


PIPED_WIDTH = 120  # columns of a table that goes to a file


def parse(command: Any, arguments: list[str], prog: str, description: str, default: Any = None) -> Any:
    """Fills a dataclass from arguments; on a usage error or `--help` prints and raises SystemExit."""
    options = {} if default is None else {"default": default}
    flags = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff)
    return tyro.cli(command, args=arguments, prog=prog, description=description, config=flags, **options)


def console(*, stderr: bool = False) -> "Console":
    """A console that falls silent when its reader is gone, where Rich's own would end the run."""
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

    stream = sys.stderr if stderr else sys.stdout
    return Quiet(stderr=stderr, width=None if stream.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH)
