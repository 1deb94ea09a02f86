"""What of a table is likely to be a mistake: columns that number its rows or never vary, wild values, too few rows."""

import shlex
from collections.abc import Iterator, Sequence

import numpy as np

from aeflax.data.rows import Rows

COUNTED = 20  # rows from which on it is no chance that whole numbers rise
FEW = 10  # rows below which a model can only repeat them
WILD = 100  # widths of a column's middle half from its median, beyond which a value outweighs all others
NAMED = 5  # columns in a sentence


def doubts(rows: Rows, columns: Sequence[str]) -> list[str]:
    """What to warn of, a sentence with its mend each.

    Args:
      rows: the training examples [N, F]; of data that are not in memory nothing is said.
      columns: the names of their features.
    """
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or len(columns) != rows.shape[1]:
        return []
    said = []
    if len(rows) < FEW:
        few = f"{len(rows)} training rows are few: a model repeats them and knows nothing of others"
        said.append(f"{few}; take more, and doubt its figures")
    named = dict(zip(columns, rows.T, strict=True))
    said += [
        f"the column {name!r} rises from row to row, as an id or a time does, and is learned as a feature; "
        f"leave it out, --data.drop {shlex.quote(name)}"
        for name, values in named.items()
        if len(values) >= COUNTED and np.all(values[1:] > values[:-1]) and np.array_equal(values, np.rint(values))
    ]
    if same := [name for name, values in named.items() if len(values) > 1 and np.all(values == values[0])]:
        one = len(same) == 1
        are = f"the column {same[0]!r} holds" if one else f"{_listed(same)} hold"
        mend = f"leave {'it' if one else 'them'} out, --data.drop {shlex.join(same[:NAMED])}"
        said.append(f"{are} one value in every training row, so that any other will be odd; {mend}")
    return [*said, *_wild(named)]


def _wild(named: dict[str, np.ndarray]) -> Iterator[str]:
    """Of values that lie so far out that a mistake of units or a stand-in for a missing value is likelier."""
    for name, values in named.items():
        low, median, high = np.quantile(values.astype(np.float64), (0.25, 0.5, 0.75))
        far = np.abs(values - median) / (high - low) if high > low else np.zeros(len(values))
        if far.max() > WILD:
            worst = int(far.argmax())
            yield (
                f"{values[worst]:.6g} in the column {name!r} lies {far[worst]:,.0f} times the width of the middle half "
                f"of all values from their median, {median:.4g}, and outweighs them in training; mend or drop such "
                "rows, or take the logarithm"
            )


def _listed(names: list[str]) -> str:
    """The columns of these names, the first of many."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"the columns {', '.join(map(repr, names[:NAMED]))}{more}"
