"""What every command shares: parsing its arguments, and a console."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from aeflax.cli import ASKED
from aeflax.cli.options import HELP, AskedError, look_over
from aeflax.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console


PIPED_WIDTH = 120  # columns of a table that goes to a file


def parse(
    command: Any,
    arguments: list[str],
    prog: str,
    description: str,
    default: Any = None,
    *,
    faults: Sequence[str] = (),
    require: Callable[[Any], object] = lambda _: None,
) -> Any:
    """Fills a dataclass from arguments; for `--help` prints and raises SystemExit.

    Args:
      command: the dataclass.
      arguments: of the command line.
      prog: how usage lines call the command.
      description: of what it does, for `--help`.
      default: an instance of the dataclass, None where it has none.
      faults: what was found to be wrong before.
      require: raises ConfigError for an instance that cannot be.

    Raises:
      ConfigError: with all faults at once, those of what is right by itself included.
    """
    if ASKED in os.environ:
        raise AskedError(command, default)
    options = {} if default is None else {"default": default}
    flags = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff)
    asked = bool(set(HELP) & set(arguments))
    found, sound = ([], arguments) if asked else look_over(command, default, arguments)
    said = [*faults, *found]

    def filled(*, silent: bool) -> Any:
        return tyro.cli(
            command,
            args=sound,
            prog=prog,
            description=description,
            config=flags,
            console_outputs=not silent,
            **options,
        )

    if not said:
        parsed = filled(silent=False)
        require(parsed)
        return parsed
    with suppress(SystemExit):  # what is missing besides
        try:
            require(filled(silent=True))
        except ConfigError as error:
            said.append(str(error))
    raise ConfigError("; ".join(dict.fromkeys(said)))


def console(*, stderr: bool = False) -> "Console":
    """A console that falls silent when its reader is gone, where Rich's own would end the run."""
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

    stream = sys.stderr if stderr else sys.stdout
    return Quiet(stderr=stderr, width=None if stream.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH)


def say(screen: "Console", line: str) -> None:
    """Writes a line as it stands: a file's lines are not broken at a width, and brackets in a name are no markup."""
    screen.print(line, highlight=False, markup=False, soft_wrap=True)


def traced(folder: Path) -> str:
    """Where a profile lies, and what reads it."""
    return f"profile in {folder}: TensorBoard reads it, and Perfetto its *.trace.json.gz"


def require_seed(seed: int) -> None:
    """Raises ConfigError for a --seed that is none."""
    if not 0 <= seed < 2**32:
        raise ConfigError(f"--seed {seed} lies outside [0, 2^32)")
