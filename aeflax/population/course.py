"""The course of a sweep: its groups are trained rung by rung, wave by wave, and its members finished as runs."""

import functools
import math
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aeflax.errors import AeflaxWarning, CheckpointError, ConfigError, DivergedError
from aeflax.population.grid import Member
from aeflax.population.group import Group
from aeflax.population.places import Place
from aeflax.population.record import MEMBERS, Record
from aeflax.population.trainer import PopulationTrainer
from aeflax.rundir import manifest, runs
from aeflax.storage.document import write_json
from aeflax.suited import warn_of_misfit
from aeflax.task import Task
from aeflax.trained import Run
from aeflax.training import memory
from aeflax.training.records import Callback
from aeflax.trial.doubts import warn_of_own_parts


@dataclass(frozen=True, eq=False)
class Course:
    """Where a sweep's members are trained, who watches, and what it has taken so far.

    Attributes:
      path: of the sweep.
      record: of what has been decided and lost, and what it took.
      callbacks: called with records of the population that is trained.
      stop: asked between chunks; True saves everything and raises StoppedError.
      preset: a name for the manifests.
      programs: how many there are.
    """

    path: Path
    record: Record
    callbacks: Sequence[Callback]
    stop: Callable[[], bool]
    preset: str
    programs: int
    _said: set[str] = field(default_factory=set)

    def place(self, member: Member) -> Path:
        """A member's run directory."""
        return self.path / MEMBERS / f"{member.index:04d}"

    def prepare(self, group: Group) -> None:
        """Compiles a group's programs, and warns of what would not pay."""
        with self._said_once():
            for program in group.programs:
                warn_of_misfit(program, group.dataset)
            warn_of_own_parts(group.programs[0])
        started = time.perf_counter()
        group.waves  # noqa: B018
        seconds = time.perf_counter() - started
        self._spend(group, seconds, seconds)

    def train(self, group: Group, until: int | None = None, judged: str | None = None) -> dict[int, float]:
        """Trains a group up to a step, the last one unless given.

        Args:
          group: of members, some of which may have been trained already.
          until: the step.
          judged: a metric of the validation split to return at the end.

        Returns:
          The metric's value of each member, by its index; nothing where none is asked for.
        """
        self.prepare(group)
        values: dict[int, float] = {}
        for wave in group.parts():
            lost = self._lost().keys() & {member.index for member in wave.members}
            if len(lost) == len(wave) or (until is None and all(map(self._finished, wave.members))):
                values |= dict.fromkeys(lost, math.nan)
                continue
            started = time.perf_counter()
            with self._said_once():
                places = [
                    Place(program, self._begin(wave, member), member.index in lost)
                    for member, program in zip(wave.members, wave.programs, strict=True)
                ]
            trainer = PopulationTrainer(
                places,
                group.dataset,
                until=until,
                name=f"program {group.number + 1} of {self.programs}, " if self.programs > 1 else "",
                sparing=wave.members[0].experiment.train.checkpoint_every is None,
                callbacks=self.callbacks,
                stop=self.stop,
                lose=functools.partial(self._lose, wave),
            )
            try:
                with memory.named(wave.programs[0].experiment, resident=True):
                    trainer.fit()
                if judged is not None:
                    values |= zip((member.index for member in wave.members), trainer.scores(judged), strict=True)
            finally:
                self._spend(group, time.perf_counter() - started, 0.0)
        return values

    def spent(self, group: Group) -> tuple[float, float]:
        """Seconds of a group's training, compiling included, and of compiling, of all processes that came to an end."""
        seconds, compiling = self.record.get("spent", {}).get(str(group.number), (0.0, 0.0))
        return seconds, compiling

    def finish(self, group: Group) -> dict[int, dict[str, Any]]:
        """What each trained member gives: it is finished as any run that was interrupted after its last step."""
        with self._said_once():
            return {member.index: self._outcome(member, group) for member in group.members}

    def entry(self, member: Member) -> dict[str, Any]:
        """What is said of every member, whatever became of it."""
        return {"index": member.index, "settings": dict(member.settings), "run": f"{MEMBERS}/{member.index:04d}"}

    def _spend(self, group: Group, seconds: float, compiling: float) -> None:
        before = self.spent(group)
        spent = self.record.get("spent", {})
        self.record.add(spent=spent | {str(group.number): (before[0] + seconds, before[1] + compiling)})

    def _lost(self) -> dict[int, str | None]:
        """Members that diverged, by index, and why, where it has been told."""
        return {int(index): reason for index, reason in self.record.get("diverged", {}).items()}

    def _lose(self, wave: Group, positions: Collection[int]) -> None:
        """Remembers members of a wave whose weights have overflowed."""
        self._remember({wave.members[position].index: None for position in positions})

    def _remember(self, lost: Mapping[int, str | None]) -> None:
        self.record.add(diverged=self.record.get("diverged", {}) | {str(index): why for index, why in lost.items()})

    def _finished(self, member: Member) -> bool:
        place = self.place(member)
        return self._lost().get(member.index) is not None or (place.exists() and runs.read_summary(place) is not None)

    def _described(self, member: Member, group: Group) -> dict[str, Any]:
        """The manifest of a member that begins."""
        program = group.program_of(member)
        return manifest.describe(member.experiment, program.experiment, group.dataset, self.preset, None)

    def _changes(self, member: Member, described: Mapping[str, Any]) -> list[str]:
        """In what the run that a member's directory holds, if any, is another one than is described."""
        place = self.place(member)
        return manifest.changes(runs.read_manifest(place), described) if (place / runs.MANIFEST).exists() else []

    def _not_own(self, member: Member, changes: Sequence[str]) -> ConfigError:
        mend = "move it elsewhere, and the sweep trains that member anew"
        return ConfigError(f"{self.place(member)} is not as the sweep left it ({'; '.join(changes)}); {mend}")

    def _begin(self, group: Group, member: Member) -> Path:
        """A member's run directory, with the manifest of a run that has begun, or goes on."""
        place, described = self.place(member), self._described(member, group)
        if changes := self._changes(member, described):
            raise self._not_own(member, changes)
        place.mkdir(parents=True, exist_ok=True)
        if (place / runs.MANIFEST).exists() and runs.holds_checkpoint(place):
            described = manifest.continued(runs.read_manifest(place), described)
        write_json(place / runs.MANIFEST, described)
        return place

    def _outcome(self, member: Member, group: Group) -> dict[str, Any]:
        if reason := self._lost().get(member.index):
            return self.entry(member) | {"status": "diverged", "reason": reason}
        if changes := self._changes(member, self._described(member, group)):
            if (told := self._told_before(member)) is not None:
                return told
            raise self._not_own(member, changes)
        try:
            run = self._completed(member, group)
        except DivergedError as error:
            self._remember({member.index: str(error)})
            return self.entry(member) | {"status": "diverged", "reason": str(error)}
        assert run.summary is not None
        shown = ("step", "seconds", "state_sha256", "pca", *group.dataset.splits)
        return self.entry(member) | {"status": "done"} | {name: run.summary[name] for name in shown}

    def _told_before(self, member: Member) -> dict[str, Any] | None:
        """What a sweep that came to its end said of a member that was trained further by itself since."""
        found = self.record.get("members", []) if self._finished(member) else []
        return next((one for one in found if one["index"] == member.index and one["status"] == "done"), None)

    def _completed(self, member: Member, group: Group) -> Run:
        """A member as a run that is resumed after its last step; trained alone where no checkpoint of it is sound."""
        place, program = self.place(member), group.program_of(member)
        task = Task(program, group.dataset, self._described(member, group), (), self.stop)
        resume = functools.partial(task.train_in, place, resume=True, overwrite=False, report=False)
        try:
            return resume()
        except CheckpointError:
            Place(program, place).set_aside_damaged()
            return resume()

    @contextmanager
    def _said_once(self) -> Iterator[None]:
        """What is warned of for every member is said once a sweep."""
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always", AeflaxWarning)
            yield
        for one in found:
            if not issubclass(one.category, AeflaxWarning) or str(one.message) not in self._said:
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
            self._said.add(str(one.message))
