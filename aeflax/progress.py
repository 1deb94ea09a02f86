"""What a person sees of a run: a live bar on a terminal, plain lines elsewhere, and the final table."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from aeflax.training import Record

QUIET_SECONDS = 10.0  # without a terminal, a line at every evaluation and at least this often
UNITS = {
    "bce": "nats/feature",
    "psnr": "dB",
    "restored_bce": "nats/feature",
    "restored_psnr": "dB",
    "corrupted_psnr": "dB",
    "reconstruction_nats": "nats",
    "kl": "nats",
    "elbo": "nats",
    "l0": "units",
}
HEADLINE = (
    "elbo",
    "restored_psnr",
    "bce",
    "psnr",
    "mse",
)  # the first of these that a record has is shown live


class Bar:
    """A listener that draws a live progress bar on a terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]:.1f}"),
            BarColumn(bar_width=None),
            TextColumn("step {task.completed:,}/{task.total:,}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, epoch=0.0, note="compiling")
        self._loss, self._speed, self._score = "", "", ""

    def __call__(self, record: Record) -> None:
        """Shows one record."""
        if record.kind == "start":
            self._progress.console.print(_opening(record), highlight=False)
            self._progress.start()
        elif record.kind == "train":
            self._loss = f"loss {record.metrics.get('loss', float('nan')):.4g}"
            self._speed = f"{record.images_per_second:,.0f} images/s"
        elif record.kind == "evaluation":
            self._score = _headline(record)
        note = "  ".join(filter(None, (self._loss, self._score, self._speed))) or "running"
        self._progress.update(self._task, total=record.steps, completed=record.step, epoch=record.epoch, note=note)

    def close(self) -> None:
        """Removes the bar."""
        self._progress.stop()


class Lines:
    """A listener that prints a plain line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = time.monotonic()
        self._train: Record | None = None

    def __call__(self, record: Record) -> None:
        """Prints a line at an evaluation, and where nothing was printed for long."""
        if record.kind == "start":
            self._console.print(_opening(record), highlight=False)
        elif record.kind == "train":
            self._train = record
            if time.monotonic() - self._last > QUIET_SECONDS or record.step == record.steps:
                self._print(record, "")
        elif record.kind == "evaluation":
            self._print(record, _headline(record))

    def _print(self, record: Record, score: str) -> None:
        train = self._train
        loss = "" if train is None else f"loss {train.metrics.get('loss', float('nan')):.5g}"
        speed = "" if train is None else f"{train.images_per_second:,.0f} images/s"
        head = f"step {record.step}/{record.steps}  epoch {record.epoch:.1f}"
        self._console.print("  ".join(filter(None, (head, loss, score, speed))), highlight=False, soft_wrap=True)
        self._last = time.monotonic()

    def close(self) -> None:
        """Nothing is left open."""


def reporter(console: Console) -> Bar | Lines:
    """The listener that suits the console."""
    return Bar(console) if console.is_terminal else Lines(console)


def _opening(record: Record) -> str:
    where = "" if record.step == 0 else f"from step {record.step:,} "
    return f"training on {record.devices}, {where}to step {record.steps:,}"


def _headline(record: Record) -> str:
    name = next((name for name in HEADLINE if name in record.metrics), None)
    return "" if name is None else f"{record.split} {name} {record.metrics[name]:.5g}"


def table(columns: Mapping[str, Mapping[str, float]], title: str) -> Table:
    """Metrics in rows, one column for each mapping; what a column lacks is a dash."""
    drawn = Table(title=title, title_justify="left")
    drawn.add_column("metric")
    drawn.add_column("unit")
    for name in columns:
        drawn.add_column(name, justify="right")
    for metric in dict.fromkeys(metric for column in columns.values() for metric in column):
        cells = (f"{column[metric]:.5g}" if metric in column else "–" for column in columns.values())
        drawn.add_row(metric, UNITS.get(metric, ""), *cells)
    return drawn


def final_table(summary: Mapping[str, Any], latent_dim: int | None) -> Table:
    """The table that ends a training run: each split, and PCA at the same code size."""
    columns = {name: summary[name] for name in ("train", "validation", "test") if name in summary}
    pca = summary["pca"]
    label = f"PCA({pca['dim']}) test" + ("" if pca["compresses"] else ", no compression")
    title = (
        f"code {latent_dim}, {summary['parameters']:,} parameters, {summary['step']:,} steps in "
        f"{summary['seconds']:.1f} s, {summary['images_per_second']:,.0f} images/s"
    )
    return table(columns | {label: pca["test"]}, title)
