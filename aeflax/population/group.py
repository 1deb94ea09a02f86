"""Members of one structure: what one compiled program can train together."""

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aeflax.config.defaults import resolve
from aeflax.config.structure import structure
from aeflax.data.dataset import Dataset
from aeflax.engine.state import parameters_of
from aeflax.population.grid import Member
from aeflax.population.waves import Waves, waves
from aeflax.program import Program, prepare
from aeflax.suited import require_range
from aeflax.trial.draws import require_own_noise


@dataclass(frozen=True, eq=False)
class Group:
    """Members whose programs differ in traced numbers and seeds alone.

    Attributes:
      members: those that are left.
      programs: theirs.
      dataset: that all of them see.
      number: of the group in the sweep.
      wave: how many are trained at once; None: as many as the memory holds.
    """

    members: tuple[Member, ...]
    programs: tuple[Program, ...]
    dataset: Dataset
    number: int
    wave: int | None = None

    def __len__(self) -> int:
        return len(self.members)

    @property
    def parameters(self) -> int:
        """Of one member."""
        return parameters_of(self.programs[0].template().params)

    @functools.cached_property
    def waves(self) -> Waves:
        """How many of them the memory holds at once; compiles their program."""
        rows = self.dataset.train.values[:]
        scaling = self.dataset.scaling.shift, self.dataset.scaling.divisor
        return waves(self.programs, rows.reshape(len(rows), -1), scaling, self.wave)

    @property
    def compilations(self) -> int:
        """Programs that training all of them takes: a second one where the last wave is smaller."""
        return len({part.stop - part.start for part in self.waves.cut(len(self))})

    def program_of(self, member: Member) -> Program:
        """A member's own program."""
        return self.programs[self.members.index(member)]

    def parts(self) -> "list[Group]":
        """Its waves."""
        return [replace(self, members=self.members[w], programs=self.programs[w]) for w in self.waves.cut(len(self))]

    def only(self, indices: Collection[int]) -> "Group | None":
        """Those members alone; None for none of them."""
        if all(member.index in indices for member in self.members):
            return self
        kept = [pair for pair in zip(self.members, self.programs, strict=True) if pair[0].index in indices]
        if not kept:
            return None
        members, programs = zip(*kept, strict=True)
        return replace(self, members=members, programs=programs, wave=self.waves.size)


def grouped(members: Sequence[Member], dataset: Dataset) -> tuple[Group, ...]:
    """Members by their structure, in order.

    Raises:
      ConfigError: for a member that these data do not suit.
    """
    found: dict[Any, list[tuple[Member, Program]]] = {}
    for member in members:
        resolved = resolve(member.experiment, dataset.shape, len(dataset.train.values))
        require_range(resolved, dataset)
        program = prepare(resolved, dataset.shape)
        program.require_shares()
        require_own_noise(program)
        alike = structure(resolved.model), structure(resolved.optimizer), resolved.data, replace(resolved.train, seed=0)
        found.setdefault(alike, []).append((member, program))
    parted = [zip(*pairs, strict=True) for pairs in found.values()]
    return tuple(Group(members, programs, dataset, number) for number, (members, programs) in enumerate(parted))
