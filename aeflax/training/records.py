"""What a run tells while it trains: one read-only record at a time, to any number of callbacks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from aeflax.run import RunDirectory

Kind = Literal["start", "chunk", "train", "evaluation", "checkpoint", "end"]


@dataclass(frozen=True)
class Record:
    """One notice of a run.

    Attributes:
      kind: start; chunk (steps were dispatched); train (means since the last such record); evaluation; checkpoint
        (a save has begun); end (also of a run that failed).
      step: updates tried so far.
      steps: of the whole run.
      epoch: passes over the training data so far.
      split: that the metrics belong to.
      metrics: by name; read-only.
      images_per_second: training speed since the last train record.
      data_wait: share of that time, at most, in which the devices waited for data.
      devices: what the run trains on, told at the start.
    """

    kind: Kind
    step: int
    steps: int
    epoch: float
    split: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    images_per_second: float | None = None
    data_wait: float | None = None
    devices: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))

    def entry(self) -> dict[str, Any]:
        """The record as one object of the metrics log."""
        return {"step": self.step, "epoch": self.epoch, "split": self.split, **self.metrics, **self.speed}

    @property
    def speed(self) -> dict[str, float]:
        """How fast training went since the last such record, where it is one of training."""
        found = {"images_per_second": self.images_per_second, "data_wait": self.data_wait}
        return {name: value for name, value in found.items() if value is not None}


class Callback(Protocol):
    """Anything that can be called with a record. It runs between chunks, while the device computes the next one."""

    def __call__(self, record: Record, /) -> None:
        """Sees one record."""


def journal(run: RunDirectory) -> Callback:
    """Writes the run's metrics log."""

    def write(record: Record) -> None:
        if record.kind == "start":
            run.start_log(record.step)
        elif record.metrics:
            run.log(record.entry())

    return write


def memory(history: list[dict[str, Any]]) -> Callback:
    """Appends what the metrics log would hold to a list."""

    def write(record: Record) -> None:
        if record.metrics:
            history.append(record.entry())

    return write


def events(directory: Path) -> Callback:
    """Writes TensorBoard events, one scalar `SPLIT/METRIC` each; a resumed run purges what it writes again."""
    from tensorboardX import SummaryWriter

    writer: SummaryWriter | None = None

    def write(record: Record) -> None:
        nonlocal writer
        if record.kind == "start":
            # What a run without a checkpoint wrote goes, too. The step in the name: two files of the same second would
            # have the same one.
            purge = record.step + 1 if any(directory.glob("events.out.tfevents.*")) else None
            writer = SummaryWriter(str(directory), purge_step=purge, filename_suffix=f".{record.step}")
        elif writer is not None and record.kind == "end":
            writer.close()
        elif writer is not None and record.kind == "checkpoint":
            writer.flush()  # what a run that goes on from here does not write again
        elif writer is not None:
            for name, value in {**record.metrics, **record.speed}.items():
                writer.add_scalar(f"{record.split}/{name}", value, record.step)

    return write
