"""What columns of a table are called, and the mends for those that cannot be features."""

import shlex
from collections.abc import Sequence

LABEL = "label"  # the column of a table that holds labels
FILL = "fill it in, drop the line, or train with --data.impute median"
NUMBERED = f"labels are whole numbers: number them, or leave them out, --data.drop {LABEL}"


def dropped(names: Sequence[str]) -> str:
    """How columns that can be features, and had better not, are left out."""
    return f"leave {'it' if len(names) == 1 else 'them'} out, --data.drop {shlex.join(names)}"


def leave_out(names: Sequence[str], *, named: bool = True) -> str:
    """How columns are left out; of a table without names, only by hand."""
    option = f", or train with --data.drop {shlex.join(names)}" if named else ""
    return f"take {'it' if len(names) == 1 else 'them'} out of the file{option}"
