"""What of a table is likely to be a mistake: columns that number its rows, never vary or are labels, wild values."""

import re
from collections.abc import Sequence

import numpy as np

from aeflax.data.columns import dropped
from aeflax.data.rows import Rows

COUNTED = 20  # rows from which on it is no chance that whole numbers rise
FEW = 10  # rows below which a model can only repeat them
WILD = 300  # times farther from the median than 99 % of its column: a wild value; heavy tails reach 100
EXACT = 2**24  # below which float32 holds every whole number
RISING = 0.1  # share of the steps that rise where none falls, of larger ones
DISTINCT = 0.5  # share of the rows that have a value of their own, of an id; float32 holds seven digits of it
# What columns of ids and times are called: id, txn_id, rowId, ts, event_timestamp; not response_time, nor grid.
IDS = re.compile(r"(^|[^a-z])(id|uuid|guid|nr|no|ts|timestamp|unixtime|epoch)$|^(time|date|index|idx|key)$|date_?time$")
UNNAMED = 100  # features without names that are looked at; more are no readings
COARSE = 0.01  # of a deviation
NINES = re.compile(r"-?9{3,}")  # what stands for a missing value in many files
MARKED = 10  # times as far from the median as nearly all others, from which on it is taken for that
NAMED = 5  # columns in a sentence
# What columns of labels are called, in their last word.
LABELS = re.compile(r"(^|[^a-z])((anomal|attack|class|defect|fail|fault|fraud|label|outlier|target)[a-z]*|y)$")
CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")  # begins a word


def doubts(rows: Rows, columns: Sequence[str], drop: Sequence[str] = ()) -> list[str]:
    """What to warn of, a sentence with its mend each.

    Args:
      rows: the training examples [N, F]; of data that are not in memory nothing is said.
      columns: the names of their features; without them only of wild values something is said.
      drop: columns that are left out already.
    """
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or not len(rows):
        return []
    if len(columns) != rows.shape[1]:
        if rows.shape[1] > UNNAMED:
            return []
        unnamed = _wild({f"feature {place}": values for place, values in enumerate(np.ascontiguousarray(rows.T))})
        return [] if unnamed is None else [unnamed]
    said = []
    if len(rows) < FEW:
        few = f"{len(rows)} training rows are few: a model repeats them and knows nothing of others"
        said.append(f"{few}; take more, and doubt its figures")
    if rows.shape[1] == 1:
        said.append("a single feature leaves nothing to compress: whatever it holds is reproduced, and nothing is odd")
    named = dict(zip(columns, np.ascontiguousarray(rows.T), strict=True))
    idle = []
    if rising := [name for name, values in named.items() if _counts(values)]:
        each = "rises" if len(rising) == 1 else "rise"
        idle.append(f"{_listed(rising)} {each} from row to row, as an id or a time does, and would be learned")
    if numbers := [name for name, values in named.items() if name not in rising and _is_id(name, values)]:
        each = "is called as ids and times are" if len(numbers) == 1 else "are called as ids and times are"
        idle.append(f"{_listed(numbers)} {each}, with another number in nearly every row, which would be learned")
    if same := [name for name, values in named.items() if len(values) > 1 and np.all(values == values[0])]:
        each = "holds" if len(same) == 1 else "hold"
        idle.append(f"{_listed(same)} {each} one value in every training row, which teaches nothing of any other")
    labels = [name for name, values in named.items() if _is_label(name) and name not in same and _is_binary(values)]
    if labels:
        each = "sounds" if len(labels) == 1 else "sound"
        idle.append(f"{_listed(labels)} {each} like labels of two kinds, and would be learned (see --data.label)")
    if idle:
        said.append(f"{'; '.join(idle)}; {dropped([*rising, *numbers, *same, *labels], drop)}")
    if coarse := [name for name, values in named.items() if name not in (*rising, *numbers) and _is_coarse(values)]:
        each = "is" if len(coarse) == 1 else "are"
        mend = "subtract a constant, such as the least value, before they are read"
        said.append(
            f"{_listed(coarse)} {each} rounded to float32, whose seven digits hardly tell the values apart; {mend}"
        )
    marks, marked = _marks(named)
    rest = {repr(name): values for name, values in named.items() if name not in marked}
    return [*said, *filter(None, [marks, _wild(rest)])]


def _counts(values: np.ndarray) -> bool:
    """Whether whole numbers rise from row to row; float32 makes those equal that are too large for it."""
    if len(values) < COUNTED or not np.array_equal(values, np.rint(values)):
        return False
    steps = np.diff(values)
    if np.abs(values).max() < EXACT:
        return bool(np.all(steps > 0))
    return bool(np.all(steps >= 0) and np.mean(steps > 0) >= RISING)


def _is_id(name: str, values: np.ndarray) -> bool:
    """Whether a column is called as ids and times are, and nearly all of its values are other whole numbers."""
    if len(values) < COUNTED or not IDS.search(CAPITAL.sub("_", name).lower().strip()):
        return False
    if not np.array_equal(values, np.rint(values)):
        return False
    return _is_coarse(values) or len(np.unique(values)) >= DISTINCT * len(values)


def _is_coarse(values: np.ndarray) -> bool:
    """Whether float32 numbers of this size lie farther apart than a hundredth of the values' deviation."""
    if values.dtype.kind != "f":
        return False
    deviation = float(np.std(values, dtype=np.float64))
    return 0 < COARSE * deviation < float(np.spacing(np.abs(values).max()))


def _is_label(name: str) -> bool:
    """Whether a column is called as labels are: fault, is_anomaly, isFraud; not class_1 of several, nor target_temp."""
    return bool(LABELS.search(CAPITAL.sub(" ", name).lower()))


def _is_binary(values: np.ndarray) -> bool:
    """Whether all values are 0 or 1."""
    return bool(np.all((values == 0) | (values == 1)))


def _marks(named: dict[str, np.ndarray]) -> tuple[str | None, list[str]]:
    """Nines far away from all other values, as stand for missing ones in many files; and the columns that have some."""
    found: dict[str, str] = {}
    for name, values in named.items():
        for extreme in (values.min(), values.max()):
            others = values[values != extreme]
            if not NINES.fullmatch(f"{extreme:.10g}") or not len(others):
                continue
            middle = np.median(others)
            if abs(extreme - middle) > MARKED * max(np.quantile(np.abs(others - middle), 0.99), 1e-9):
                count = len(values) - len(others)
                found[name] = f"{extreme:.10g} in {name!r}{f' ({count:,} times)' if count > 1 else ''}"
    if not found:
        return None, []
    looks = "looks like a mark of a missing value" if len(found) == 1 else "look like marks of missing values"
    said = f"{_some([*found.values()])} {looks}, and would be learned as a value"
    return f"{said}; empty the cells, which --data.impute median fills", [*found]


def _wild(named: dict[str, np.ndarray]) -> str | None:
    """Values so far beyond the hundredth of their column that lies farthest out that a mistake is likelier."""
    found = []
    for name, values in named.items():
        far = np.abs(values - np.median(values))
        nth = 1 + max(1, len(far) // 100)
        beyond = np.partition(far, -nth)[-nth] if len(far) >= nth else 0
        if 0 < WILD * beyond < far.max():
            found.append(f"{values[int(far.argmax())]:.6g} in {name}")
    if not found:
        return None
    said = f"{_some(found)} lie {WILD} times as far out as nearly all others, and outweigh them"
    return f"{said} in training; correct them, or empty the cells, which --data.impute median fills"


def _some(found: list[str]) -> str:
    """What was found in each of some columns, the first of many."""
    more = f" and in {len(found) - NAMED:,} more columns" if len(found) > NAMED else ""
    return f"{', '.join(found[:NAMED])}{more}"


def _listed(names: list[str]) -> str:
    """The columns of these names, the first of many."""
    if len(names) == 1:
        return f"the column {names[0]!r}"
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"the columns {', '.join(map(repr, names[:NAMED]))}{more}"
