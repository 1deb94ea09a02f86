"""The host loop of a population: run the mapped epoch in chunks, record, evaluate and save each member.

A member is an ordinary run at every moment: its checkpoints and the metrics of its log are those that it would have
written alone.
"""

import functools
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from aeflax.data.dataset import Dataset, called
from aeflax.data.order import permutation
from aeflax.engine.feed import Tables
from aeflax.engine.state import Order, PyTree, TrainState
from aeflax.engine.step import zero_sums
from aeflax.evaluation.scores import evaluate
from aeflax.population.places import Place, common_step
from aeflax.population.program import Population, members_of
from aeflax.training.clock import Clock, Pace
from aeflax.training.meter import means, progress
from aeflax.training.monitor import Monitor
from aeflax.training.odometer import Odometer
from aeflax.training.records import Callback, Kind, Record, events, metrics

MANY = 128  # members beyond which none writes TensorBoard events: each would keep a file open
SPARING = 10  # times as long as it takes to save all members they are trained before they are saved again


class PopulationTrainer:
    """Trains a population in the run directories of its members, which end with a checkpoint of where it stops.

    Args:
      places: one a member; programs of equal structure, that differ in traced numbers and seeds.
      dataset: that all of them see.
      until: the step to stop at; None is the last.
      name: what records of the beginning call the population, with what parts it from the devices' names.
      sparing: leave out checkpoints that are due where saving would take more than a tenth of the time; what is lost
        with the process is computed again, to the same bits.
      callbacks: called with records of the population: means over the members that are finite.
      stop: asked between chunks; True saves all members and ends.
      lose: told the places of members whose weights overflow, before the others are saved.

    Attributes:
      clock: of the training.
    """

    def __init__(
        self,
        places: Sequence[Place],
        dataset: Dataset,
        *,
        until: int | None = None,
        name: str = "",
        sparing: bool = False,
        callbacks: Sequence[Callback] = (),
        stop: Callable[[], bool] = lambda: False,
        lose: Callable[[Collection[int]], None] = lambda lost: None,
    ) -> None:
        self._places, self._dataset, self._callbacks, self._stop = places, dataset, callbacks, stop
        experiment = places[0].program.experiment
        self._train = experiment.train
        rows = dataset.train.values[:]
        self._at = Odometer(experiment.train.steps or 0, experiment.data.steps_per_epoch(len(rows)))
        self._until, self._name, self._sparing = until or self._at.total, name, sparing
        self._saved_at, self._saving_took = time.monotonic(), 0.0
        self._population = Population(
            [place.program for place in places],
            rows.reshape(len(rows), -1),
            (dataset.scaling.shift, dataset.scaling.divisor),
        )
        self._tables = {
            seed: Tables(
                functools.partial(permutation, seed, examples=len(rows)),
                len(rows),
                experiment.data.batch_size,
                self._at.steps_per_epoch,
                slice(None),
            )
            for seed in dict.fromkeys(place.program.experiment.train.seed for place in places)
        }
        self._order: tuple[int, Order] | None = None  # and its epoch
        logs = (metrics, events) if len(places) <= MANY else (metrics,)
        self._logs = [tuple(log(place.path) for log in logs) for place in places]
        self._lost, self._lose = {index for index, place in enumerate(places) if place.lost}, lose
        self._monitors = [
            None if dataset.validation is None or self._train.monitor is None else Monitor(self._train.monitor)
            for _ in places
        ]
        self._pace, self.clock = Pace(), Clock()
        self._saved = 0  # the step that was saved last
        self._state: TrainState

    def fit(self) -> None:
        """Trains to the step to stop at, and saves every member.

        Raises:
          CheckpointError: if a checkpoint cannot be restored or saved.
          StoppedError: when `stop` said so; every member is saved.
        """
        try:
            self._begin()
            while self._at.step < self._until:
                if self._stop():
                    self._save()
                    raise self._at.stopped()
                self._advance()
                if self._at.due(self._train.log_every):
                    self._record()
                improved = self._at.due(self._train.eval_every) and self._evaluate()
                if improved or self._due_to_save() or self._at.step == self._until:
                    self._save()
                    self.clock.start()
                    self._pace.reset()
        finally:
            for index in range(len(self._places)):
                self._log(index, "end")
            self._tell("end")

    def scores(self, metric: str) -> list[float]:
        """A metric of the validation split, of each member as it stands; NaN for those that have diverged."""
        found = []
        for index, state in self._states():
            program = self._places[index].program
            diverged = index in self._lost or int(state.most_skipped_in_row) >= self._train.max_nonfinite
            found.append(math.nan if diverged else evaluate(program, state, self._dataset, "validation")[metric])
        return found

    def _begin(self) -> None:
        self._at.step = self._saved = common_step(self._places)
        if self._at.step:
            self._restore()
        else:
            self._state, self._sums = self._population.initial_state(), self._population.zero_sums()
        for index in self._alive():
            self._log(index, "start")
        self._tell("start", devices=f"{self._name}{self._population}", data=str(self._dataset))
        if self._at.step < self._until:
            self._run(0)  # no steps: the clock starts when all is in its place
            jax.block_until_ready(self._state)
        self.clock.start()
        self._pace.reset()

    def _run(self, count: int) -> None:
        epoch, first = divmod(self._at.step, self._at.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            of_seed = {seed: tables[epoch] for seed, tables in self._tables.items()}
            example = [of_seed[place.program.experiment.train.seed] for place in self._places]
            sizes = next(iter(self._tables.values())).sizes(epoch)
            self._order = epoch, self._population.order(example, sizes)
        self._state, self._sums = self._population.run(self._state, self._sums, self._order[1], first, count)

    def _advance(self) -> None:
        train, before = self._train, self._state.step + 0
        every = (train.log_every, train.eval_every, train.checkpoint_every, self._at.steps_per_epoch)
        count = min(self._pace.steps, self._until - self._at.step, self._at.ahead(*every))
        self._run(count)
        self._at.step += count
        jax.block_until_ready(before)
        self._pace.dispatched(count)
        self._tell("chunk")

    def _record(self) -> None:
        """Writes every member's means since the last record; the speed counts the images of all members."""
        sums = members_of(self._sums, len(self._places))
        self.clock.lap()
        seconds = self.clock.record()
        speed = sum(float(each["weight"]) for each in sums) / seconds
        found = {index: means(sums[index]) for index in self._alive()}
        for index, each in found.items():
            self._log(index, "train", split="train", metrics=each, images_per_second=speed, data_wait=0.0)
        self._tell("train", split="train", metrics=_middle(found), images_per_second=speed, data_wait=0.0)
        self._sums = self._population.zero_sums()

    def _evaluate(self) -> bool:
        """Evaluates every member on the monitored split; says whether one of them is better than ever."""
        self._settle()
        split = "test" if self._dataset.validation is None else "validation"
        better, found = False, {}
        for index, state in self._states():
            if index in self._lost:
                continue
            found[index] = evaluate(self._places[index].program, state, self._dataset, split)
            self._log(index, "evaluation", split=split, metrics=found[index])
            monitor = self._monitors[index]
            better |= monitor is not None and monitor.observe(self._at.step, found[index])
        self._tell("evaluation", split=split, metrics=_middle(found))
        self.clock.start()
        self._pace.reset()
        return better

    def _settle(self) -> None:
        """Waits for all that was dispatched, and counts the time."""
        jax.block_until_ready(self._state)
        self.clock.lap()

    def _states(self) -> Iterator[tuple[int, TrainState]]:
        """Every member's own state without its optimizer's, as it would be alone: one at a time is on its device."""
        held = members_of(self._state.replace(opt_state=None), len(self._places))
        for index, (place, state) in enumerate(zip(self._places, held, strict=True)):
            yield index, place.program.placement.replicate(state)

    def _save(self) -> None:
        """Saves every member."""
        self._settle()
        if self._saved == self._at.step:
            return
        began = time.monotonic()
        states, sums = (members_of(stacked, len(self._places)) for stacked in (self._state, self._sums))
        if overflowed := {index for index in self._alive() if not _is_finite(states[index].params)}:
            self._lost |= overflowed
            self._lose(overflowed)
        alive = self._alive()
        share = 1 / max(1, len(alive))
        for index in alive:
            monitor = self._monitors[index]
            self._log(index, "checkpoint")
            kept = progress(self.clock.seconds * share, self.clock.record_seconds * share, sums[index], monitor)
            self._places[index].save(states[index], kept, None if monitor is None else monitor.step)
        self._saving_took, self._saved_at = time.monotonic() - began, time.monotonic()
        self._saved = self._at.step

    def _due_to_save(self) -> bool:
        """Whether a checkpoint is due, and worth its time where nobody has said how often."""
        waited = time.monotonic() - self._saved_at
        return self._at.due(self._train.checkpoint_every) and not (
            self._sparing and waited < SPARING * self._saving_took
        )

    def _restore(self) -> None:
        """Takes every member's state of the common step."""
        states, sums = [], []
        for index, (place, monitor) in enumerate(zip(self._places, self._monitors, strict=True)):
            if index in self._lost:  # in whose place some numbers are computed, that nobody looks at
                states.append(jax.device_get(place.program.initial_state()))
                sums.append(jax.device_get(zero_sums(place.program.built.parts)))
                continue
            state, kept = place.restore(self._at.step)
            states.append(jax.device_get(state))
            sums.append({name: np.float32(value) for name, value in kept["sums"].items()})
            if monitor is not None:
                monitor.restore(kept["monitor"])
            self.clock.seconds += kept["seconds"]
            self.clock.record_seconds += kept["record_seconds"]
        self._state, self._sums = self._population.stacked(states), self._population.stacked(sums)

    def _alive(self) -> list[int]:
        """Places of the members that are not lost."""
        return [index for index in range(len(self._places)) if index not in self._lost]

    def _log(self, index: int, kind: Kind, **details: Any) -> None:
        record = Record(kind, self._at.step, self._at.total, self._at.epoch, **details)
        for log in self._logs[index]:
            log(record)

    def _tell(self, kind: Kind, **details: Any) -> None:
        examples = called(self._dataset.shape)
        for callback in self._callbacks:
            callback(Record(kind, self._at.step, self._at.total, self._at.epoch, examples=examples, **details))


def _is_finite(held: PyTree) -> bool:
    """Whether all numbers are finite, on the host."""
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(held))


def _middle(found: Mapping[int, dict[str, float]]) -> dict[str, float]:
    """Means over the members that have finite ones."""
    known: dict[str, list[float]] = {}
    for each in found.values():
        for name, value in each.items():
            if np.isfinite(value):
                known.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in known.items()}
