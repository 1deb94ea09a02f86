"""What a person sees of a run: a live bar on a terminal, plain lines elsewhere, and the final table."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from aeflax.cli.parsing import say
from aeflax.config import Model
from aeflax.config.plain import to_dict
from aeflax.report.metrics import HEADLINE, UNITS, columns, notes
from aeflax.training.records import Record

if TYPE_CHECKING:
    from aeflax.report.sections import Table as Cells

QUIET_SECONDS = 10.0  # without a terminal, a line at every evaluation and at least this often
WIDE = 100  # columns of a terminal that has room for the epoch and the elapsed time
BAR = 8  # columns that the bar keeps, whatever is written beside it
TIME = 7  # columns of a time, 0:00:00


class Bar:
    """A callback that draws a live progress bar on a terminal."""

    def __init__(self, console: Console, monitor: str | None = None) -> None:
        self._monitor = monitor
        wide = console.width >= WIDE
        self._progress = Progress(
            *([TextColumn("epoch {task.fields[epoch]:.1f}")] if wide else []),
            BarColumn(bar_width=None),
            TextColumn("step {task.completed:,}/{task.total:,}"),
            TextColumn("{task.fields[note]}"),
            *([TimeElapsedColumn(table_column=Column(no_wrap=True))] if wide else []),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            TextColumn("left"),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=0, epoch=0.0, note="compiling")
        self._notes = {"loss": "", "score": "", "speed": ""}

    def __call__(self, record: Record) -> None:
        """Shows one record."""
        if record.kind == "end":
            self._progress.stop()
            return
        news = {}
        if record.kind == "train":
            news = {"loss": _loss(record), "speed": _speed(record)}
        elif record.kind == "evaluation":
            news = {"score": _headline(record, self._monitor)}
        self._notes |= news
        note = self._note(self._room(record)) or ("training" if record.step else "compiling")
        self._progress.update(self._task, total=record.steps, completed=record.step, epoch=record.epoch, note=note)
        if record.kind == "start":
            say(self._progress.console, _opening(record))
            self._progress.start()

    def _room(self, record: Record) -> int:
        """Columns that are left for notes beside a bar that can be read."""
        wide = self._progress.console.width >= WIDE
        parts = [BAR, len("step /") + 2 * len(f"{record.steps:,}"), TIME, len("left")]
        parts += [len(f"epoch {record.epoch:.1f}"), TIME] if wide else []
        return self._progress.console.width - sum(parts) - len(parts)  # one blank between two, and the note's own

    def _note(self, room: int) -> str:
        """As many of the notes as there is room for; the speed goes first, then the loss."""
        for dropped in ((), ("speed",), ("speed", "loss")):
            note = "  ".join(text for name, text in self._notes.items() if text and name not in dropped)
            if len(note) <= room:
                return note
        return ""


class Lines:
    """A callback that prints a plain line at every evaluation, and where nothing was printed for long."""

    def __init__(self, console: Console, monitor: str | None = None) -> None:
        self._console, self._monitor = console, monitor
        self._last = time.monotonic()
        self._train: Record | None = None

    def __call__(self, record: Record) -> None:
        """Prints one record, or keeps it for the next line."""
        if record.kind == "start":
            say(self._console, _opening(record))
        elif record.kind == "train":
            self._train = record
            if time.monotonic() - self._last > QUIET_SECONDS:
                self._print(record, "")
        elif record.kind == "evaluation":
            self._print(record, _headline(record, self._monitor))

    def _print(self, record: Record, score: str) -> None:
        train, self._train = self._train, None  # what was not printed since the last line, never an old value
        before = "" if train is None or train.step == record.step else f" at step {train.step}"
        news = () if train is None else (_loss(train) + before, _speed(train))
        head = f"step {record.step}/{record.steps}  epoch {record.epoch:.1f}"
        say(self._console, "  ".join(filter(None, (head, score, *news))))
        self._last = time.monotonic()


def reporter(console: Console, monitor: str | None = None) -> Bar | Lines:
    """The callback that suits the console; of an evaluation it tells what is monitored, else the first headline."""
    return (Bar if console.is_terminal else Lines)(console, monitor)


def _opening(record: Record) -> str:
    where = "" if record.step == 0 else f"from step {record.step:,} "
    more = "".join(f"\n{line}" for line in (record.model, record.data) if line)
    on = "" if " models on " in record.devices else "on "  # of a population, which says how many train there
    return f"training {on}{record.devices}, {where}to step {record.steps:,}{more}"


def _loss(record: Record) -> str:
    return f"train loss {record.metrics.get('loss', float('nan')):.5g} nats"


def _speed(record: Record) -> str:
    return f"{record.images_per_second:,.0f} {record.examples}/s"


def _headline(record: Record, monitor: str | None) -> str:
    name = next((name for name in (monitor, *HEADLINE) if name in record.metrics), None)
    return "" if name is None else f"{record.split} {name} {record.metrics[name]:.5g}"


def table(columns: Mapping[str, Mapping[str, float]], title: str | None = None) -> Table:
    """Metrics in rows, one column for each mapping; what a column lacks is a dash."""
    drawn = Table(title=_named(title), title_justify="left")
    drawn.add_column("metric", no_wrap=True)
    for name in columns:
        drawn.add_column(name, justify="right")
    for metric in dict.fromkeys(metric for column in columns.values() for metric in column):
        cells = (f"{column[metric]:.5g}" if metric in column else "–" for column in columns.values())
        unit = UNITS.get(metric, "")
        drawn.add_row(metric if metric.endswith(unit) else f"{metric} [dim]{unit}[/dim]", *cells)
    return drawn


def grid(found: "Cells", title: str | None = None) -> Table:
    """Cells of a report's table on a console."""
    drawn = Table(title=_named(title), title_justify="left")
    for name in found.columns:
        drawn.add_column(name, justify="right" if drawn.columns else "left")
    for row in found.rows:
        drawn.add_row(*map(Text, row))
    return drawn


def _named(title: str | None) -> Text | None:
    return None if title is None else Text(title, "table.title")  # a path in it may have brackets, which are no markup


def final_table(summary: Mapping[str, Any], model: Model, examples: str = "images") -> Group:
    """The table that ends a training run: each split, and PCA at the same code size."""
    stopped = ", stopped early" if summary.get("stopped_early") else ""
    title = (
        f"code {model.latent_dim}, {summary['parameters']:,} parameters, {summary['step']:,} steps in "
        f"{summary['seconds']:.1f} s, {summary['images_per_second']:,.0f} {examples}/s{stopped}"
    )
    # Not as the table's own title and caption, which would be broken at its width.
    return Group(Text(title), table(columns(summary)), *map(Text, notes(summary, to_dict(model))))
