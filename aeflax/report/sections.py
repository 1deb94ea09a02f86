"""The sections of a report that applications add: words, tables and figures made of what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

Values = Mapping[str, Any]  # that an application found
PROSE = 40  # letters of a cell that is longer than a line has room for


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; the first column names the row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    @property
    def looks(self) -> list[str]:
        """How each column is set."""
        return [self.look(column) for column in range(len(self.columns))]

    def look(self, column: int) -> str:
        """How a column is set: as `text`, as `text prose` that may be broken, or, said by nothing, as numbers."""
        cells = [row[column] for row in self.rows]
        if not any(cell[:1].isalpha() for cell in cells):
            return ""
        return "text prose" if any(len(cell) > PROSE for cell in cells) else "text"


@dataclass(frozen=True)
class Section:
    """One application on the page.

    Attributes:
      title: its heading.
      sentences: what is found, in words, a paragraph each.
      tables: in order.
      figures: name of the PNG -> the figure and its caption.
    """

    title: str
    sentences: Sequence[str]
    tables: Sequence[Table] = ()
    figures: Mapping[str, tuple[Figure, str]] = field(default_factory=dict)
