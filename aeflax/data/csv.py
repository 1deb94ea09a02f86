"""Tables of numbers as text, with or without names of columns; arguments and results are those of `tables`.

What separates the cells is found in the first line; beside tabs and semicolons, decimal commas are read. `true` and
`false` are 1 and 0.

What is wrong is told with the line, the column and the mend.
"""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from csv import Error as CsvError
from csv import reader
from pathlib import Path

import numpy as np

from aeflax.data.checks import require_values
from aeflax.data.columns import FILL, TRUTH, leave_out, require_distinct
from aeflax.data.files import OF_WORKBOOK, content, first_bytes
from aeflax.errors import DataError

MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}  # cells of a table without a value, in small letters
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how .xlsx, .ods and any other zip begin; and .xls
UTF16 = (b"\xff\xfe", b"\xfe\xff")
SEPARATORS = (",", "\t", ";")
DECIMAL_COMMA = re.compile(r"([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")
WHOLE = re.compile(r"0|-?[1-9]\d*")

Lines = list[tuple[int, str]]  # with their numbers


def read(
    path: Path, *, missing: bool, drop: Sequence[str], label: str, take: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a table -> ([N, D] float64, labels [N] or None).

    A first line of names is a header, in which some may be numbers counted up from 0 or 1.
    """
    lines = _lines(path)
    mark = _separator(lines[0][1]) if lines else ","
    header = _cells(lines[0][1], mark) if lines else []
    # An empty cell is a missing value, not text: a row that has one must not pass for a header and vanish.
    has_header = any(_is_text(cell) for cell in header)
    if has_header and (stray := _stray(header)) is not None:
        raise DataError(
            f"{path}: line {lines[0][0]} is neither a header nor numbers: column {stray + 1} is {header[stray][:40]!r} "
            "between numbers; mend the cell, or name all columns"
        )
    body = lines[1:] if has_header else lines
    if not body:
        raise DataError(f"{path} holds no rows of numbers; a table needs at least one")
    if has_header:
        require_distinct([name for name in header if name not in drop], str(path))
    features = [place for place, name in enumerate(header) if not (has_header and name in drop)]
    labelled = header.index(label) if has_header and label in header and label not in drop else None
    if labelled is not None:
        features.remove(labelled)
    if take is not None:
        features = [header.index(name) for name in take]
    idle = {*range(len(header))} - {*features, labelled}
    if mark != "," and (fault := _thousands(body, mark, {*idle, labelled})) is not None:
        row, column, cell = fault
        said = f"the value in line {row}, column {_named(column, header) if has_header else column + 1} is {cell!r}"
        mend = f"write {cell.replace('.', '')}" + (f", or {cell.replace('.', ',')}" if cell.count(".") == 1 else "")
        raise DataError(f"{path}: {said}, with a point where others have a decimal comma; {mend}")
    try:
        values = _numbers(_read(body, mark, missing, idle))
        labels = None if labelled is None else values[:, labelled]
    except ValueError:  # perhaps of a label, which may be a word or missing
        labels = None if labelled is None else _labels([_at(_cells(line, mark), labelled) for _, line in body])
        rest = _read(body, mark, missing, idle if labelled is None else {*idle, labelled})
        try:
            values = _numbers(rest)
        except ValueError as error:
            raise DataError(f"{path}: {_fault(rest, header, drop, named=has_header) or error}") from error
    if values.shape[1] != len(header):
        raise DataError(f"{path}: the header names {len(header)} columns, the rows hold {values.shape[1]}")
    if features != [*range(len(header))]:
        values = np.take(values, features, axis=1)

    def place(row: int, column: int) -> str:
        at = features[column]
        return f"line {body[row][0]}, column {_named(at, header) if has_header else at + 1}"

    require_values(values, str(path), place, missing=missing)
    return values, labels


def _read(body: Lines, mark: str, missing: bool, idle: set[int]) -> Lines:
    """The lines as `loadtxt` reads them: parted by commas, with numbers for truth, and nothing in idle cells."""
    if missing or idle or mark != "," or any(_holds_truth(line) for _, line in body):
        return [(row, _line(_taken(_cells(line, mark), missing, idle))) for row, line in body]
    return body


def _thousands(body: Lines, mark: str, idle: set[int | None]) -> tuple[int, int, str] | None:
    """The first cell (line, column, text) of a column whose points part thousands; None where decimal commas are none.

    A point could be either in a table with decimal commas, where every pointed cell of a column could be thousands.
    """
    if not (any("." in line for _, line in body) and any("," in line for _, line in body)):
        return None
    rows = [(row, _split(line, mark)) for row, line in body]
    columns = [column for column in range(max(len(cells) for _, cells in rows)) if column not in idle]
    if not any(DECIMAL_COMMA.fullmatch(_at(cells, column)) for _, cells in rows for column in columns):
        return None
    for column in columns:
        pointed = [(row, cell) for row, cells in rows if "." in (cell := _at(cells, column)) and _present(cell)]
        if pointed and all(THOUSANDS.fullmatch(cell) for _, cell in pointed):
            return pointed[0][0], column, pointed[0][1]
    return None


def _numbers(body: Lines) -> np.ndarray:
    """The table [N, columns]. Raises ValueError where a cell is no number, or a row of another length."""
    return np.loadtxt([line for _, line in body], delimiter=",", ndmin=2, comments=None, quotechar='"')


def carried(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns that the header names, [N] each: whole numbers as int64, anything else as text."""
    return {name: _plain(cells) for name, cells in _columns(path, names).items()}


def labels(path: Path, name: str) -> np.ndarray:
    """A column [N] that the header names, as labels: numbers, or words."""
    return _labels(_columns(path, [name])[name])


def _columns(path: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """The cells below some names of the header."""
    lines = _lines(path)
    mark = _separator(lines[0][1])
    header = _cells(lines[0][1], mark)
    rows = [_cells(line, mark) for _, line in lines[1:]]
    return {name: [_at(cells, header.index(name)) for cells in rows] for name in names}


def _lines(path: Path) -> Lines:
    """The lines of a table that hold anything, with their numbers."""
    _require_text(path)
    try:
        text = content(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}); save it as UTF-8 (of Excel: CSV UTF-8)") from error
    return [(row, line) for row, line in enumerate(io.StringIO(text, newline=None), start=1) if line.strip()]


def _require_text(path: Path) -> None:
    """Raises DataError for what its first bytes tell is no text."""
    start = first_bytes(path, 2**10)
    if start.startswith(WORKBOOKS):
        raise DataError(f"{path} is a workbook or an archive, not a table of text; {OF_WORKBOOK}")
    if start.startswith(UTF16) or b"\0" in start:
        raise DataError(f"{path} is not UTF-8 text (it begins as another encoding, or a binary file); save it as UTF-8")


def _plain(cells: list[str]) -> np.ndarray:
    """Cells as int64 where that is all they say, with no zero in front; else as text."""
    if all(len(cell) < 19 and WHOLE.fullmatch(cell) for cell in cells):
        return np.array(cells, np.int64)
    return np.array(cells)


def _labels(cells: list[str]) -> np.ndarray:
    """Labels [N] as numbers, NaN where one is missing, if all that there are are numbers; else as they stand."""
    figures = [_present(_figure(cell)) for cell in cells]
    if all(_number(figure) is not None for figure in figures if figure):
        return np.array([figure or "nan" for figure in figures], np.float64)
    return np.array(cells)


def _holds_truth(line: str) -> bool:
    small = line.lower()
    return any(word in small for word in TRUTH)


def _taken(cells: list[str], missing: bool, idle: set[int]) -> Iterator[str]:
    """A line's cells with nothing in idle ones that could not be read; each keeps its place, for errors to name.

    An empty one is quoted: a line of nothing else would be no line.
    """
    for place, cell in enumerate(cells):
        figure = _figure(cell)
        yield "0" if place in idle else (_present(figure) or "nan") if missing else figure or '""'


def columns(path: Path) -> tuple[str, ...] | None:
    """Names of the columns, that of the labels among them; None where there is no header."""
    _require_text(path)
    start = first_bytes(path, 2**20).decode("utf-8-sig", errors="replace")
    line = next((line for line in io.StringIO(start, newline=None) if line.strip()), None)
    if line is None:
        raise DataError(f"{path} is empty; a table needs at least one row of numbers")
    header = _cells(line, _separator(line))
    return tuple(header) if any(_is_text(cell) for cell in header) else None


def _named(column: int, header: list[str]) -> str:
    """A column by its place, from 1 on, and its name."""
    return f"{column + 1} ({header[column][:40]!r})"


def _fault(body: Lines, header: list[str], drop: Sequence[str], *, named: bool) -> str | None:
    width = len(header)
    rows = [(row, _cells(line)) for row, line in body]
    for row, cells in rows:
        if len(cells) != width:
            return f"line {row} holds {len(cells)} cells, expected {width}"
        for column, cell in enumerate(cells):
            if _number(cell) is not None:
                continue
            place = f"the value in line {row}, column {_named(column, header) if named else column + 1}"
            wordy = [place for place in range(width) if _is_wordy([_at(other, place) for _, other in rows])]
            if not _present(cell) and column not in wordy:
                return f"{place} {FILL}"
            if len(wordy) > 1:
                names = ", ".join(_named(place, header) if named else str(place + 1) for place in wordy)
                mend = leave_out([header[place] for place in wordy], drop, named=named)
                return f"the columns {names} hold text, not numbers; {mend}"
            if column in wordy:
                mend = f"{leave_out([header[column]], drop, named=named)}, or write numbers"
            else:
                mend = "drop the line or write a number"
            return f"{place} is {cell[:40]!r}, not a number; {mend}"
    return None


def _is_wordy(cells: list[str]) -> bool:
    """Whether a column holds text, and no number."""
    return any(map(_is_text, cells)) and not any(_present(cell) and _number(cell) is not None for cell in cells)


def _at(cells: list[str], column: int) -> str:
    return cells[column] if column < len(cells) else ""


def _separator(line: str) -> str:
    """What separates the cells of a line: what makes numbers of all of it, else what makes most cells."""
    found = {mark: _cells(line, mark) for mark in SEPARATORS}
    for mark, cells in found.items():
        if len(cells) > 1 and not any(map(_is_text, cells)):
            return mark
    return max(found, key=lambda mark: len(found[mark]))


def _cells(line: str, mark: str = ",") -> list[str]:
    """The cells of a line; where commas do not separate them, one within a number stands for its point."""
    cells = _split(line, mark)
    return cells if mark == "," else [_pointed(cell) for cell in cells]


def _split(line: str, mark: str) -> list[str]:
    """The cells of a line as they stand."""
    try:
        cells = next(reader([line], delimiter=mark))
    except CsvError:  # a cell beyond the reader's 131,072 characters, which is no number anyway
        cells = line.split(mark)
    return [cell.strip() for cell in cells]


def _pointed(cell: str) -> str:
    """A number's decimal comma as a point."""
    return f"{found[1]}.{found[2]}" if (found := DECIMAL_COMMA.fullmatch(cell)) else cell


def _line(cells: Iterable[str]) -> str:
    """Cells as a line again, quoted where they hold what separates cells."""
    return ",".join(f'"{cell}"' if "," in cell else cell for cell in cells)


def _figure(cell: str) -> str:
    """The cell, a number where it is a word for truth."""
    return TRUTH.get(cell.lower(), cell)


def _present(cell: str) -> str:
    """The cell, empty where it says that its value is missing."""
    return "" if cell.lower() in MISSING else cell


def _stray(header: list[str]) -> int | None:
    """The place of a cell of text in a first line that is data; None for names, or numbers counted up among them."""
    numbers = [found for cell in header if _present(cell) and (found := _number(cell)) is not None]
    if not numbers or numbers in (list(range(len(numbers))), list(range(1, len(numbers) + 1))):
        return None
    return next(place for place, cell in enumerate(header) if _is_text(cell))


def _is_text(cell: str) -> bool:
    """Whether a cell is neither a number nor a missing one."""
    return bool(_present(cell)) and _number(cell) is None


def _number(cell: str) -> float | None:
    """What a cell says; None where that is no number. Python alone takes 1_000 and digits of other scripts for one."""
    try:
        return float(cell) if cell.isascii() and "_" not in cell else None
    except ValueError:
        return None
