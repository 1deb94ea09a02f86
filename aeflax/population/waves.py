"""A population that does not fit into the memory is trained in waves, sized by what the compiler says that it needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from aeflax.engine.compiling import needed_bytes
from aeflax.engine.placement import device_bytes
from aeflax.population.program import compiled
from aeflax.program import Program

CGROUP = Path("/sys/fs/cgroup")
# Of a control group, version 2 and 1: its limit and use in bytes, and in its statistics what it can take back at once.
ACCOUNTS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)
SHARE = 0.9  # of the memory that is free, which the compiler's account leaves something out of


class Waves(NamedTuple):
    """How a group is cut: so many members at once, of which a device needs so much memory."""

    size: int
    bytes: int

    def cut(self, members: int) -> tuple[slice, ...]:
        """The members of each wave, in order."""
        return tuple(slice(start, min(start + self.size, members)) for start in range(0, members, self.size))


def waves(
    programs: Sequence[Program], rows: np.ndarray, scaling: tuple[np.ndarray, np.ndarray], wave: int | None = None
) -> Waves:
    """As few waves, of equal size but for the last, as fit into the memory; one model at a time if need be.

    Args:
      programs: of all members.
      rows: the stored training examples [N, F].
      scaling: (shift, divisor) of each feature.
      wave: a size that was found before, and is taken whatever is free now.
    """
    count, limit = len(programs), free_bytes()

    def needed(size: int) -> int:
        return needed_bytes(compiled(programs[:size], rows, scaling))

    def cut(size: int) -> Waves:
        if rest := count % size:
            needed(rest)  # compiles the last wave's program, too
        return Waves(size, needed(size))

    def fits(size: int) -> bool:
        return size == 1 or limit is None or needed(size) <= SHARE * limit

    if wave is not None or fits(count):
        return cut(min(wave or count, count))
    assert limit is not None
    together = needed(count)
    # From one more than a line through one member and all of them says; what a wave needs is asked for, not believed.
    alone = needed(1)
    most = 2 + int((SHARE * limit - alone) * (count - 1) / max(together - alone, 1))
    parts = -(-count // max(most, 1))
    while not fits(size := -(-count // parts)):
        parts += 1
    return cut(size)


def free_bytes() -> int | None:
    """Memory that a device has for a program; None where nobody knows. Host devices share the host's."""
    limit = device_bytes()
    if limit is not None:
        return limit
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    known = [amount for amount in (found, _left_in_group()) if amount is not None]
    return min(known) // len(jax.local_devices()) if known else None


def _left_in_group() -> int | None:
    """What the control group of a container leaves to its processes; None without a limit."""
    for *names, statistics, idle in ACCOUNTS:
        try:
            limit, used = (int((CGROUP / name).read_text(encoding="ascii")) for name in names)
            lines = (CGROUP / statistics).read_text(encoding="ascii").splitlines()
            cached = next(int(line.split()[1]) for line in lines if line.startswith(f"{idle} "))
        except (OSError, ValueError, StopIteration):  # no such file, or "max"
            continue
        return max(0, limit - used + cached)
    return None
