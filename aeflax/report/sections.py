"""The sections of a report that applications add: words, tables and figures made of what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

Values = Mapping[str, Any]  # that an application found


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; the first column names the row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


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
