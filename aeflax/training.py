"""The host loop: run the compiled epoch in chunks, record, evaluate, save. It computes nothing itself.

While it trains, the device does not wait for the host: a chunk is dispatched before the metrics of the one before it
are read. It waits for evaluations and for a save to be copied.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import numpy as np

from aeflax import build
from aeflax.checkpoint import Checkpoints
from aeflax.config import Experiment
from aeflax.data.dataset import Dataset
from aeflax.data.order import permutation
from aeflax.engine.epoch import Epoch
from aeflax.engine.feed import Feed, fits
from aeflax.engine.keys import root_key
from aeflax.engine.placement import Placement, choose
from aeflax.engine.state import Source, TrainState, init_state
from aeflax.engine.step import Sums, zero_sums
from aeflax.errors import ConfigError, DivergedError, StoppedError
from aeflax.evaluation.scores import evaluate
from aeflax.run import RunDirectory

CHUNK_SECONDS = 0.5  # aim of one chunk: how often progress moves and a signal is heard
FIRST_CHUNK = 8  # steps, before the pace is known


Kind = Literal["start", "chunk", "train", "evaluation", "checkpoint"]


@dataclass(frozen=True)
class Record:
    """One read-only notice to the listeners of a run.

    `kind`: start, chunk (progress only), train (means since the last such record), evaluation, checkpoint.
    """

    kind: Kind
    step: int
    steps: int
    epoch: float
    split: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    images_per_second: float | None = None
    devices: str = ""  # at the start: what the run trains on


Listener = Callable[[Record], None]


class Trainer:
    """Trains one resolved experiment on a data set.

    Args:
      experiment: resolved.
      dataset: whose training split is used.
      listeners: called with every record, in order.
      stop: asked between chunks; True ends the run with everything saved.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        *,
        listeners: Sequence[Listener] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.experiment, self.dataset = experiment, dataset
        self.built = build.build(experiment, dataset.shape)
        self.hyper = build.hyper(experiment)
        self.key = root_key(experiment.train.seed)
        self.placement = choose(experiment.train.placement)
        self.seconds = 0.0  # spent training, over all resumed parts of the run
        self.compile_seconds = 0.0
        self._listeners, self._stop = listeners, stop
        self._checkpoints: Checkpoints | None = None
        self._feed: Feed
        self._epoch: Epoch
        self._total = experiment.train.steps or 0
        self._step = 0
        self._state: TrainState
        self._sums: Sums
        self._pace = FIRST_CHUNK  # steps of the next chunk
        self._previous = 0  # steps of the chunk before, which the device is computing
        self._streak: jax.Array  # non-finite updates in a row at the end of that chunk
        self._record_seconds = 0.0  # `seconds` at the start of the record being summed
        self._pending: tuple[int, Sums] | None = None  # a record whose metrics are not read yet

    def initial_state(self) -> TrainState:
        """The state before the first step, on the devices."""
        state = jax.jit(init_state, static_argnums=0)(self.built.parts, self.key, self.hyper)
        return self.placement.replicate(state)  # type: ignore[no-any-return]

    def require_shares(self) -> None:
        """Raises ConfigError unless a batch divides over the devices."""
        try:
            self.placement.require_shares(self.experiment.data.batch_size)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def restore(self, checkpoints: Checkpoints) -> tuple[TrainState, dict[str, Any]]:
        """The newest checkpoint's state, on the devices, and the host loop's progress.

        Raises:
          CheckpointError: if there is none or it is damaged.
        """
        return checkpoints.restore(jax.eval_shape(self.initial_state), self.placement.sharding())

    def evaluate(self, state: TrainState, split: str) -> dict[str, float]:
        """Metrics of a state over a whole split."""
        return evaluate(
            self.built,
            state,
            self.dataset,
            split,
            hyper=self.hyper,
            key=self.key,
            placement=self.placement,
            batch_size=self.experiment.data.batch_size,
        )

    def fit(self, checkpoints: Checkpoints | None = None) -> TrainState:
        """Trains to the last step and returns the final state.

        Args:
          checkpoints: where to save, and to go on from where they hold a checkpoint; None saves nothing.

        Raises:
          CheckpointError: if a checkpoint cannot be restored or saved.
          ConfigError: if the batch does not divide over the devices.
          DivergedError: when a chunk ends with `train.max_nonfinite` skipped updates in a row; the last good state
            is saved.
          StoppedError: when `stop` said so; the state is saved.
        """
        self.require_shares()
        self._checkpoints = checkpoints
        self._begin()
        train = self.experiment.train
        while self._step < self._total:
            if self._stop():
                self._settle()
                self._save_durably()
                raise StoppedError(
                    f"stopped at step {self._step} of {self._total}; run the same command with --resume to go on"
                )
            self._advance()
            if self._due(train.log_every):
                self._pending = self._step, self._sums
                self._sums = self._zeros()
            if self._due(train.eval_every) and self._step < self._total:  # the last one is the final evaluation
                self._settle()
                split = "test" if self.dataset.validation is None else "validation"
                self._tell("evaluation", split=split, metrics=self.evaluate(self._state, split))
                self._resume_clock()
            if self._due(train.checkpoint_every):
                self._settle()
                self._save()
                self._resume_clock()
        if self._checkpoints is not None:
            self._checkpoints.wait()
        return self._state

    def _begin(self) -> None:
        """Takes the initial or the restored state, and compiles the loop by running none of its steps."""
        self._feed = _feed(self.experiment, self.dataset, self.placement)
        self._epoch = self.placement.compile(self.built.parts, streamed=self._feed.streamed)
        self._sums = self._zeros()
        if self._checkpoints is not None and self._checkpoints.latest is not None:
            self._state, progress = self.restore(self._checkpoints)
            self.seconds, self._record_seconds = progress["seconds"], progress["record_seconds"]
            self._sums = self.placement.replicate({name: np.float32(progress["sums"][name]) for name in self._sums})
        else:
            self._state = self.initial_state()
        self._step = int(self._state.step)
        self._tell("start", devices=str(self.placement))
        if self._step < self._total:
            started = time.perf_counter()
            self._run(limit=0)
            jax.block_until_ready(self._state)
            self.compile_seconds = time.perf_counter() - started
        self._clock = self._completed = time.perf_counter()

    def _run(self, limit: int) -> int:
        """Dispatches at most `limit` steps; returns how many."""
        chunk = self._feed.chunk(self._step, limit)
        self._state, self._sums = self._epoch(
            self._state, self._sums, chunk.source, chunk.order, chunk.first, chunk.steps, self.key, self.hyper
        )
        self._streak = self._state.skipped_in_row + 0  # a copy: the next chunk donates the state it lies in
        return chunk.steps

    def _advance(self) -> None:
        """Dispatches the next chunk, then waits for the one before it and settles what it completed."""
        train, before = self.experiment.train, self._streak
        intervals = (train.log_every, train.eval_every, train.checkpoint_every)
        boundary = min(self._total, *(self._step - self._step % n + n for n in intervals if n))
        count = self._run(min(self._pace, boundary - self._step))
        self._step += count
        streak, now = int(before), time.perf_counter()
        if self._previous:
            self._pace = paced(self._pace, self._previous, now - self._completed)
        self._completed, self._previous = now, count
        if self._pending is not None:
            self._settle()
        self._require_finite(streak)
        self._tell("chunk")

    def _settle(self) -> None:
        """Waits for the chunks up to the pending record and reports it; without one, for all that was dispatched."""
        if self._pending is None:
            jax.block_until_ready(self._state)
            self._lap()
            return
        (step, sums), self._pending = self._pending, None
        weighted = jax.device_get(sums)
        self._lap()
        examples = float(weighted.pop("weight"))
        metrics = {name: float(total) / examples for name, total in weighted.items()} if examples else {}
        speed = examples / max(self.seconds - self._record_seconds, 1e-9)
        self._record_seconds = self.seconds
        self._tell("train", step=step, split="train", metrics=metrics, images_per_second=speed)

    def _require_finite(self, streak: int) -> None:
        if streak < self.experiment.train.max_nonfinite:
            return
        self._save_durably()
        raise DivergedError(
            f"training diverged: {streak} updates in a row before step {self._step} had a non-finite loss or gradient "
            f"and were skipped; lower optimizer.learning_rate={self.experiment.optimizer.learning_rate:g}, "
            "set optimizer.clip_norm or add optimizer.warmup_steps"
        )

    def _lap(self) -> None:
        """Adds the time since the last lap to the time spent training."""
        now = time.perf_counter()
        self.seconds, self._clock = self.seconds + now - self._clock, now

    def _resume_clock(self) -> None:
        """Leaves out what was not training: evaluating and saving."""
        self._clock, self._previous = time.perf_counter(), 0

    def _save(self) -> None:
        step = int(self._state.step)
        if self._checkpoints is None or self._checkpoints.latest == step:
            return
        sums = {name: float(value) for name, value in jax.device_get(self._sums).items()}
        progress = {"seconds": self.seconds, "record_seconds": self._record_seconds, "sums": sums}
        self._checkpoints.save(self._state, progress)
        self._tell("checkpoint", step=step)

    def _save_durably(self) -> None:
        self._save()
        if self._checkpoints is not None:
            self._checkpoints.wait()

    def _due(self, every: int | None) -> bool:
        return every is not None and (self._step % every == 0 or self._step == self._total)

    def _zeros(self) -> Sums:
        return self.placement.replicate(zero_sums(self.built.parts))  # type: ignore[no-any-return]

    def _tell(self, kind: Kind, *, step: int | None = None, **details: Any) -> None:
        at = self._step if step is None else step
        record = Record(kind, at, self._total, at / self._feed.steps_per_epoch, **details)
        for listener in self._listeners:
            listener(record)


def paced(pace: int, steps: int, seconds: float) -> int:
    """Steps of the next chunk, when one of `steps` took `seconds`: CHUNK_SECONDS' worth, at most four times `pace`."""
    return max(1, min(4 * pace, round(steps * CHUNK_SECONDS / max(seconds, 1e-6))))


def journal(run: RunDirectory) -> Listener:
    """A listener that writes the run's metrics log."""

    def write(record: Record) -> None:
        if record.kind == "start":
            run.start_log(record.step)
        elif record.kind in ("train", "evaluation"):
            speed = {} if record.images_per_second is None else {"images_per_second": record.images_per_second}
            run.log({"step": record.step, "epoch": record.epoch, "split": record.split, **record.metrics, **speed})

    return write


def _feed(experiment: Experiment, dataset: Dataset, placement: Placement) -> Feed:
    values, settings = dataset.train.values, experiment.data
    resident = fits(values.nbytes, placement.devices[0]) if settings.resident is None else settings.resident
    stored = Source(values.reshape(len(values), -1), dataset.scaling.shift, dataset.scaling.divisor)  # type: ignore[arg-type]
    order = functools.partial(permutation, experiment.train.seed, examples=len(values))
    return Feed(stored, settings.batch_size, order, placement, resident=resident)
