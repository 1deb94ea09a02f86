"""What columns of a table are called, and the mends for those that cannot be features."""

import shlex
from collections.abc import Sequence

from aeflax.errors import DataError

LABEL = "label"  # the column of a table that holds labels
FILL = "fill it in, drop the line, or train with --data.impute median"


def require_distinct(names: Sequence[str], where: str) -> None:
    """Raises DataError for a name that several columns have; `where` says of what they are."""
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise DataError(f"{where} has several columns {twice[0]!r}; give each a name of its own")


def numbered(drop: Sequence[str]) -> str:
    """The mend for labels that are words, beside columns that are left out already."""
    return f"labels are whole numbers: number them, or leave them out, {_option([*drop, LABEL])}"


def dropped(names: Sequence[str], drop: Sequence[str]) -> str:
    """How columns that can be features, and had better not, are left out beside those that are already."""
    return f"leave {'it' if len(names) == 1 else 'them'} out, {_option([*drop, *names])}"


def leave_out(names: Sequence[str], drop: Sequence[str], *, named: bool = True) -> str:
    """How columns are left out beside those that are already; of a table without names, only by hand."""
    option = f", or train with {_option([*drop, *names])}" if named else ""
    return f"take {'it' if len(names) == 1 else 'them'} out of the file{option}"


def _option(names: Sequence[str]) -> str:
    return f"--data.drop {shlex.join(dict.fromkeys(names))}"
