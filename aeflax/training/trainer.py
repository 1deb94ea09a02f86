"""The host loop: run the compiled epoch in chunks, record, evaluate, save. It computes nothing itself.

While it trains, the device does not wait for the host: a chunk is dispatched before the metrics of the one before it
are read. It waits for evaluations and for a save to be copied.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from aeflax import hosts
from aeflax.config import kinds
from aeflax.data.dataset import Dataset, called
from aeflax.engine.epoch import Epoch
from aeflax.engine.feed import Feed
from aeflax.engine.state import PyTree, TrainState, all_finite
from aeflax.errors import DataError
from aeflax.evaluation.scores import evaluate
from aeflax.program import Program
from aeflax.rundir.checkpoint import Checkpoints, state_sha256
from aeflax.training import culprit, divergence
from aeflax.training.clock import Pace
from aeflax.training.digests import Batches
from aeflax.training.feeding import next_chunk, open_feed
from aeflax.training.meter import Meter
from aeflax.training.monitor import Monitor
from aeflax.training.odometer import Odometer
from aeflax.training.records import Callback, Kind, Record
from aeflax.training.saver import Saver, Snapshot

PROFILED_STEPS = 8


class Trainer:
    """Trains one program on a data set.

    Args:
      program: the experiment, made ready.
      dataset: whose training split is used, and whose validation split is monitored.
      callbacks: called with every record, in order.
      stop: asked between chunks; True ends the run with everything saved.
      weights: (params, model state) to begin with; None draws them.
      profile: where a trace of a few steps goes, None records none.

    Attributes:
      monitor: follows the validation split; None without one.
      compile_seconds: spent compiling the loop.
    """

    def __init__(
        self,
        program: Program,
        dataset: Dataset,
        *,
        callbacks: Sequence[Callback] = (),
        stop: Callable[[], bool] = lambda: False,
        weights: PyTree | None = None,
        profile: Path | None = None,
    ) -> None:
        train = program.experiment.train
        self.program, self.dataset = program, dataset
        self.monitor = None
        if dataset.validation is not None:
            assert train.monitor is not None  # resolved
            self.monitor = Monitor(train.monitor, train.patience)
        self.compile_seconds = 0.0
        self.resumed_from: int | None = None  # the step of the checkpoint that `fit` went on from
        self._callbacks, self._stop, self._weights, self._profile = callbacks, stop, weights, profile
        self._meter, self._pace = Meter(program.zero_sums), Pace()
        self._saver, self._batches = Saver(None), Batches()
        self._feed: Feed | None = None
        self._epoch: Epoch
        self._at = Odometer(train.steps or 0, program.experiment.data.steps_per_epoch(len(dataset.train.values)))
        self._state: TrainState
        self._streak: jax.Array  # most updates skipped in a row, up to the end of the chunk before
        self._evaluated: dict[str, tuple[int, dict[str, float]]] = {}  # the last one of each split, and its step

    @property
    def seconds(self) -> float:
        """Spent training, over all resumed parts of the run."""
        return self._meter.clock.seconds

    @property
    def epoch(self) -> float:
        """Passes over the training split so far."""
        return self._at.epoch

    @property
    def stopped_early(self) -> bool:
        """Whether patience with the validation split ended the run."""
        return self.monitor is not None and self.monitor.exhausted and not self._at.at_end

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics of the state over a whole split."""
        step, metrics = self._evaluated.get(split, (-1, {}))
        if step != self._at.step:
            metrics = evaluate(self.program, self._state, self.dataset, split)
            self._evaluated[split] = self._at.step, metrics
        return metrics

    def fit(self, checkpoints: Checkpoints | None = None) -> TrainState:
        """Trains to the last step, or until patience ends, and returns the final state.

        Args:
          checkpoints: where to save, and to go on from where they hold a checkpoint; None saves nothing.

        Raises:
          CheckpointError: if no checkpoint can be restored, or the last state cannot be saved.
          ConfigError: if the batch does not divide over the devices.
          DataError: if data can no longer be read; the state is saved, unless it was an evaluation that needed them.
          DivergedError: where `train.max_nonfinite` updates in a row were skipped, whatever came after them; the state
            is saved. Found at the end of a chunk.
          StoppedError: when `stop` said so; the state is saved.
        """
        self.program.require_shares()
        self._saver = Saver(checkpoints)
        self._begin(checkpoints)
        train = self.program.experiment.train
        while not self._ended():
            stop, pace = self._agreed()
            if stop:
                self._save(durably=True)
                raise self._at.stopped()
            try:
                self._advance(pace)
            except DataError as error:  # of all processes alike, before anything of this chunk was computed
                self._save(durably=True)
                if checkpoints is None:
                    raise
                said = f"{error}; step {self._at.step} is saved, and --resume goes on from it once the data are whole"
                raise type(error)(said) from error
            if self._at.due(train.digest_every):
                self._settle()
                self._tell("digest", digests={"state": state_sha256(self._state)})
                self._resume_clock()
            if self._at.due(train.log_every):
                self._meter.close(self._at.step)
            improved = self._at.due(train.eval_every) and self._evaluate()
            if improved or self._ended() or self._at.due(train.checkpoint_every):
                self._save(durably=self._ended())
                self._resume_clock()
        self._require_few_skipped(self._state.most_skipped_in_row)
        self._require_finite_weights()
        return self._state

    def close(self) -> None:
        """Ends the reading of data, and tells the callbacks that nothing more will come."""
        if self._feed is not None:
            self._feed.close()
        self._tell("end")

    def _begin(self, checkpoints: Checkpoints | None) -> None:
        """Takes the initial or the restored state, and compiles the loop by running none of its steps."""
        placement = self.program.placement
        self._feed = open_feed(self.program, self.dataset)
        self._epoch = self.program.compile(streamed=self._feed.streamed)
        if checkpoints is not None and checkpoints.latest() is not None:
            self._state, progress = checkpoints.restore(self.program.template())
            self.resumed_from = int(self._state.step)
            self._meter.restore(progress, placement.replicate)
            if self.monitor is not None:
                self.monitor.restore(progress["monitor"])
        else:
            self._state = self.program.initial_state(self._weights)
        self._at.step = int(self._state.step)
        parts = kinds.told(self.program.experiment.model)
        self._tell("start", devices=str(placement), data=str(self.dataset), model=parts)
        self._require_few_skipped(self._state.most_skipped_in_row)
        if not self._at.at_end:
            started = time.perf_counter()
            self._run(limit=0)
            jax.block_until_ready(self._state)
            self.compile_seconds = time.perf_counter() - started
        self._resume_clock()

    def _run(self, limit: int) -> int:
        """Dispatches at most `limit` steps; returns how many."""
        assert self._feed is not None
        chunk, waited = next_chunk(self._feed, self._at.step, limit, self._state.step.is_ready)  # type: ignore[attr-defined]
        self._meter.waited += waited if limit else 0.0
        if self.program.experiment.train.digest_every is not None:
            for step, digest in enumerate(self._batches.digests(chunk), self._at.step + 1):
                self._tell("digest", step=step, digests={"batch": digest})
        self._state, self._meter.sums = self._epoch(self._state, self._meter.sums, *self.program.arguments(chunk))
        self._streak = self._state.most_skipped_in_row + 0  # a copy: the next chunk donates the state it lies in
        return chunk.steps

    def _agreed(self) -> tuple[bool, int]:
        """Whether to stop, and the steps of the next chunk: what the clock and signals say, alike on all processes."""
        votes = hosts.agree([self._stop(), self._pace.steps])
        return bool(votes[:, 0].any()), int(votes[0, 1])

    def _advance(self, pace: int) -> None:
        """Dispatches at most `pace` steps, then waits for the chunk before and settles what that completed."""
        train, before = self.program.experiment.train, self._streak
        ahead = self._at.ahead(train.log_every, train.eval_every, train.checkpoint_every, train.digest_every)
        run, most = (self._run, pace) if self._profile is None else (self._profiled, PROFILED_STEPS)
        count = run(min(most, ahead))
        self._at.step += count
        jax.block_until_ready(before)
        self._pace.dispatched(count)
        if self._meter.closed is not None:
            self._settle()
        self._require_few_skipped(before)
        self._tell("chunk")

    def _profiled(self, limit: int) -> int:
        """Runs the first chunk under the profiler."""
        directory, self._profile = self._profile, None
        with jax.profiler.trace(str(directory)):
            count = self._run(limit)
            jax.block_until_ready(self._state)
        return count

    def _evaluate(self) -> bool:
        """Evaluates the monitored split; says whether this state is the best so far."""
        self._settle()
        split = "test" if self.monitor is None else "validation"
        metrics = self.evaluate(split)
        self._tell("evaluation", split=split, metrics=metrics)
        self._resume_clock()
        return self.monitor is not None and self.monitor.observe(self._at.step, metrics)

    def _settle(self) -> None:
        """Waits for the chunks of the closed record and reports it; without one, for all that was dispatched."""
        if self._meter.closed is None:
            jax.block_until_ready(self._state)
            self._meter.clock.lap()
        else:
            self._tell("train", split="train", **self._meter.read())

    def _require_few_skipped(self, streak: jax.Array) -> None:
        """Raises DivergedError once too many updates in a row were skipped for what was not finite."""
        experiment = self.program.experiment
        if int(streak) >= experiment.train.max_nonfinite:
            self._save(durably=True)
            in_row, last = int(self._state.most_skipped_in_row), self._meter.last_means()
            first = culprit.find(self.program, self.dataset, self._state)
            raise divergence.skipped(experiment, self._at.step, in_row, last, first)

    def _require_finite_weights(self) -> None:
        """Refuses weights that overflowed in an update whose gradient was finite."""
        if not all_finite(self._state.params):
            raise divergence.overflowed(
                self.program.experiment, self._at.step, self._saver.latest(), self._meter.last_means()
            )

    def _resume_clock(self) -> None:
        """Leaves out what was not training: compiling, evaluating and saving."""
        self._meter.clock.start()
        self._pace.reset()

    def _save(self, *, durably: bool = False) -> None:
        """Saves the state when all that was dispatched is done; `durably` returns when it is on disk."""
        self._settle()
        held = self._saver.holds(self._at.step)
        if not held:
            self._require_finite_weights()
            self._tell("checkpoint")
        best = None if self.monitor is None else self.monitor.step
        snapshot = Snapshot(self._state, self._meter.progress(self.monitor), best)
        if durably:
            self._saver.finish(snapshot)
        elif not held:
            self._saver.begin(snapshot)

    def _ended(self) -> bool:
        return self._at.at_end or self.stopped_early

    def _tell(self, kind: Kind, *, step: int | None = None, **details: Any) -> None:
        step = self._at.step if step is None else step
        epoch, examples = step / self._at.steps_per_epoch, called(self.dataset.shape)
        record = Record(kind, step, self._at.total, epoch, examples=examples, **details)
        for callback in self._callbacks:
            callback(record)
