"""A population that does not fit into the memory is trained in waves, sized by what the compiler says that it needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from aeflax.engine.placement import device_bytes
from aeflax.population.program import compiled, needed_bytes
from aeflax.program import Program

SHARE = 0.9  # of the memory that is free, which the compiler's account leaves something out of


class Waves(NamedTuple):
    """How a group is cut: so many members at once, of which a device needs so much memory."""

    size: int
    bytes: int

    def cut(self, members: int) -> tuple[slice, ...]:
        """The members of each wave, in order."""
        return tuple(slice(start, min(start + self.size, members)) for start in range(0, members, self.size))


def waves(programs: Sequence[Program], rows: np.ndarray, scaling: tuple[np.ndarray, np.ndarray]) -> Waves:
    """As few waves, of equal size but for the last, as fit into the memory; one model at a time if need be.

    Args:
      programs: of all members.
      rows: the stored training examples [N, F].
      scaling: (shift, divisor) of each feature.
    """
    count, limit = len(programs), free_bytes()

    def needed(size: int) -> int:
        return needed_bytes(compiled(programs[:size], rows, scaling))

    together = needed(count)
    if limit is None or together <= SHARE * limit or count == 1:
        return Waves(count, together)
    # From one more than a line through one member and all of them says; what a wave needs is asked for, not believed.
    alone = needed(1)
    most = 2 + int((SHARE * limit - alone) * (count - 1) / max(together - alone, 1))
    parts = -(-count // max(most, 1))
    while (size := -(-count // parts)) > 1 and needed(size) > SHARE * limit:
        parts += 1
    return Waves(size, needed(size))


def free_bytes() -> int | None:
    """Memory that a device has for a program; None where nobody knows. Host devices share the host's."""
    limit = device_bytes()
    if limit is not None:
        return limit
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line.split() for line in lines if line.startswith("MemAvailable:")), None)
    return None if found is None else 1024 * int(found[1]) // len(jax.local_devices())
