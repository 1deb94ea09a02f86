"""What a run tells while it trains: one read-only record at a time, to any number of callbacks."""

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from aeflax.errors import ConfigError, warn
from aeflax.rundir.runs import DIGESTS, EVENTS, METRICS
from aeflax.storage.journal import Journal

Kind = Literal["start", "chunk", "train", "evaluation", "checkpoint", "digest", "end"]


@dataclass(frozen=True)
class Record:
    """One notice of a run.

    Attributes:
      kind: start; chunk (steps were dispatched); train (means since the last such record); evaluation; checkpoint
        (a save begins); digest (of a step's batch, or of the state after it); end (also of a run that failed).
      step: updates tried so far.
      steps: of the whole run.
      epoch: passes over the training data so far.
      split: that the metrics belong to.
      metrics: by name; read-only.
      images_per_second: training speed since the last train record.
      data_wait: share of that time, at most, in which the devices waited for data.
      devices: what the run trains on, told at the start.
      data: what it trains with, likewise.
      model: the parts of what is trained, likewise.
      examples: what examples are called, images or rows.
      digests: SHA-256 of the `batch` or the `state`, where `train.digest_every` asks for them; read-only.
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
    data: str = ""
    model: str = ""
    examples: str = "images"
    digests: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("metrics", "digests"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

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


def require_callbacks(given: object) -> None:
    """Raises ConfigError for anything but a sequence of functions."""
    if not isinstance(given, Sequence) or not all(map(callable, given)):
        raise ConfigError(f"callbacks takes a list of functions of a Record, [f], and got {given!r}")


def metrics(directory: Path) -> Callback:
    """Writes the run's metrics log."""
    return _journal(directory / METRICS, lambda record: record.entry() if record.metrics else None)


def digests(directory: Path) -> Callback:
    """Writes the digests of batches and states, one line a step."""
    return _journal(
        directory / DIGESTS, lambda record: {"step": record.step, **record.digests} if record.digests else None
    )


def _journal(path: Path, entry: Callable[[Record], Mapping[str, Any] | None]) -> Callback:
    """Writes what `entry` makes of the records, where it makes something of them."""
    journal: Journal | None = None

    def write(record: Record) -> None:
        nonlocal journal
        if record.kind == "start":
            journal = Journal(path, record.step)
        elif journal is not None and record.kind == "end":
            journal.close()
        elif journal is not None and record.kind == "checkpoint":
            journal.sync()  # what a run that goes on from there does not write again
        elif journal is not None and (found := entry(record)) is not None:
            journal.write(found)

    return write


def history(kept: list[dict[str, Any]]) -> Callback:
    """Appends what the metrics log would hold to a list."""

    def write(record: Record) -> None:
        if record.metrics:
            kept.append(record.entry())

    return write


def events(directory: Path) -> Callback:
    """Writes TensorBoard events, one scalar `SPLIT/METRIC` each; a resumed run purges what it writes again.

    They can be made again from the metrics log: where they cannot be written, training goes on without them.
    """
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.record_writer import RecordWriter

    writer: RecordWriter | None = None

    def put(**event: Any) -> None:
        assert writer is not None
        writer.write(Event(wall_time=time.time(), **event).SerializeToString())

    def write(record: Record) -> None:
        nonlocal writer
        try:
            if record.kind == "start":
                again = any(directory.glob(f"{EVENTS}*"))
                # The step in the name: two files of the same second would have the same one.
                name = f"{EVENTS}{int(time.time())}.{socket.gethostname()}.{record.step}"
                writer = RecordWriter(str(directory / name))
                put(file_version="brain.Event:2")
                if again:  # what a run without a checkpoint wrote goes, too
                    put(step=record.step + 1, session_log=SessionLog(status=SessionLog.START))
            elif writer is not None and record.kind == "end":
                writer.flush()
                writer.close()
            elif writer is not None and record.kind == "checkpoint":
                writer.flush()  # what a run that goes on from here does not write again
            elif writer is not None:
                for name, value in {**record.metrics, **record.speed}.items():
                    told = Summary.Value(tag=f"{record.split}/{name}", simple_value=value)
                    put(step=record.step, summary=Summary(value=[told]))
        except OSError as error:
            with suppress(OSError):  # else Python tells of what is left in the buffer
                if writer is not None:
                    writer.close()
            writer = None
            said = f"cannot write TensorBoard events to {directory} ({error.strerror}); {METRICS} has the same numbers"
            warn(said)

    return write
