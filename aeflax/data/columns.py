"""What columns of a table are called, and the mends for those that cannot be features. Standard library only."""

import shlex
from collections.abc import Sequence

from aeflax.errors import DataError, warn

LABEL = "label"  # what the column of labels is called in what is written, and where nobody says another name
TRUTH = {"true": "1", "false": "0"}  # words in small letters that are numbers
FILL = "is missing; fill it in, drop the line, or train with --data.impute median"
BEYOND = "is infinite or beyond float32; correct it, or empty the cell and train with --data.impute median"


def require_distinct(names: Sequence[str], where: str) -> None:
    """Raises DataError for a name that several columns have; `where` says of what they are."""
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise DataError(f"{where} has several columns {twice[0]!r}; give each a name of its own")


def to_take(known: Sequence[str] | None, columns: Sequence[str] | None, name: str) -> tuple[str, ...] | None:
    """The columns of a table that a run takes, by those that it was trained on; None: all as they stand.

    Columns beside those are left out, and columns of other names altogether, in the same number, taken by their places;
    both with a warning.

    Args:
      known: names of the run's features; None where it was trained on no table with a header.
      columns: of the table that could be features; None where it names none.
      name: of the table.

    Raises:
      DataError: for a table that has some of the names and lacks others, or has one of them twice.
    """
    if known is None or columns is None or list(known) == list(columns):
        return None
    less, more = [one for one in known if one not in columns], [one for one in columns if one not in known]
    require_distinct([one for one in columns if one in known], name)
    if not less:
        if more:
            them = "it" if len(more) == 1 else "them"
            warn(f"{name}: the run was not trained on {', '.join(map(repr, more))}, and leaves {them} out")
        return tuple(known)
    if len(less) < len(known) or len(known) != len(columns):
        mend = f"add the column, or rename it if it is among {', '.join(map(repr, more))}" if more else "add the column"
        raise DataError(f"{name} lacks {', '.join(map(repr, less))} of the training data; {mend}")
    warn(f"{name} has none of the training data's names ({', '.join(known)}): its columns are taken in their order")
    return None


def dropped(names: Sequence[str], drop: Sequence[str]) -> str:
    """How columns that can be features, and had better not, are left out beside those that are already."""
    return f"leave {'it' if len(names) == 1 else 'them'} out, {_option([*drop, *names])}"


def leave_out(names: Sequence[str], drop: Sequence[str], *, named: bool = True) -> str:
    """How columns are left out beside those that are already; of a table without names, only by hand."""
    option = f", or train with {_option([*drop, *names])}" if named else ""
    if named and len(names) == 1:
        option += f", or where it holds labels with --data.label {shlex.quote(names[0])}"
    return f"take {'it' if len(names) == 1 else 'them'} out of the file{option}"


def _option(names: Sequence[str]) -> str:
    return f"--data.drop {shlex.join(dict.fromkeys(names))}"
