"""The course of a sweep: its groups are trained rung by rung, wave by wave, and its members finished as runs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aeflax import api, manifest
from aeflax import run as runs
from aeflax.document import write_json
from aeflax.errors import DivergedError
from aeflax.population.grid import Member
from aeflax.population.group import Group
from aeflax.population.places import Place
from aeflax.population.trainer import Trainer
from aeflax.training import memory
from aeflax.training.records import Callback

MEMBERS = "members"


@dataclass(frozen=True, eq=False)
class Course:
    """Where a sweep's members are trained, who watches, and what it has taken so far.

    Attributes:
      path: of the sweep.
      callbacks: called with records of the population that is trained.
      stop: asked between chunks; True saves everything and raises StoppedError.
      preset: a name for the manifests.
      seconds: of the groups that were trained, by their first member's index, compiling included.
      compile_seconds: of them, those of compiling.
    """

    path: Path
    callbacks: Sequence[Callback]
    stop: Callable[[], bool]
    preset: str
    seconds: dict[int, float] = field(default_factory=dict)
    compile_seconds: dict[int, float] = field(default_factory=dict)

    def place(self, member: Member) -> Path:
        """A member's run directory."""
        return self.path / MEMBERS / f"{member.index:04d}"

    def train(self, group: Group, until: int | None = None, judged: str | None = None) -> dict[int, float]:
        """Trains a group up to a step, the last one unless given.

        Args:
          group: of members, some of which may have been trained already.
          until: the step.
          judged: a metric of the validation split to return at the end.

        Returns:
          The metric's value of each member, by its index; nothing where none is asked for.
        """
        values: dict[int, float] = {}
        first = group.members[0].index
        for wave in group.parts():
            if until is None and all(self._finished(member) for member in wave.members):
                continue
            trainer = Trainer(
                [Place(*each) for each in zip(wave.programs, map(self._begun(wave), wave.members), strict=True)],
                group.dataset,
                until=until,
                sparing=wave.members[0].experiment.train.checkpoint_every is None,
                callbacks=self.callbacks,
                stop=self.stop,
            )
            started = time.perf_counter()
            with memory.named(wave.programs[0].experiment):
                trainer.fit()
            self.seconds[first] = self.seconds.get(first, 0.0) + time.perf_counter() - started
            self.compile_seconds[first] = self.compile_seconds.get(first, 0.0) + trainer.compile_seconds
            if judged is not None:
                values |= zip((member.index for member in wave.members), trainer.scores(judged), strict=True)
        return values

    def finish(self, group: Group) -> dict[int, dict[str, Any]]:
        """What each trained member gives: it is finished as any run that was interrupted after its last step."""
        return {member.index: self._outcome(member, group) for member in group.members}

    def told(self, member: Member) -> dict[str, Any]:
        """What is said of every member, whatever became of it."""
        return {"index": member.index, "settings": dict(member.settings), "run": f"{MEMBERS}/{member.index:04d}"}

    def _finished(self, member: Member) -> bool:
        place = self.place(member)
        return place.exists() and runs.read_summary(place) is not None

    def _begun(self, group: Group) -> Callable[[Member], Path]:
        """Member -> its run directory, with the manifest of a run that has begun."""
        resolved = {one.index: program for one, program in zip(group.members, group.programs, strict=True)}

        def begin(member: Member) -> Path:
            place = self.place(member)
            place.mkdir(parents=True, exist_ok=True)
            experiment = resolved[member.index].experiment
            described = manifest.describe(member.experiment, experiment, group.dataset, self.preset, None)
            write_json(place / runs.MANIFEST, described)
            return place

        return begin

    def _outcome(self, member: Member, group: Group) -> dict[str, Any]:
        try:
            run = api.train_on(
                member.experiment,
                group.dataset,
                path=self.place(member),
                resume=True,
                report=False,
                stop=self.stop,
                preset=self.preset,
            )
        except DivergedError as error:
            return self.told(member) | {"status": "diverged", "reason": str(error)}
        assert run.summary is not None
        shown = ("step", "seconds", "state_sha256", *group.dataset.splits)
        return self.told(member) | {"status": "done"} | {name: run.summary[name] for name in shown}
