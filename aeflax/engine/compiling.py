"""How programs are compiled: options of the compiler, how many are kept, and what one needs."""

from typing import Any

import jax

from aeflax.engine.team import Division

PROGRAMS = 32  # of each kind that a process keeps; each takes memory, and mappings, of which a process has 65,530


def repeatable(device: jax.Device, division: Division) -> dict[str, bool] | None:
    """Options of the compiler with which the same program gives the same bits whenever it runs; None: it does anyway.

    The fastest gradients of convolutions on a GPU add in the order in which threads come. In exact mode kernels are not
    chosen by timing them either, so that the program, too, is the same whenever it is compiled.
    """
    if device.platform != "gpu":
        return None
    return {"xla_gpu_exclude_nondeterministic_ops": True, "xla_gpu_deterministic_ops": division.exact}


def quickly() -> dict[str, int] | None:
    """Options of the compiler for what runs seldom: on CPU it is optimised less, which takes a fifth of the time.

    What is drawn has the same bits; sums, such as the norms of a dictionary's directions, may add in another order.
    """
    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None


def needed_bytes(program: Any) -> int:
    """Memory that a compiled program needs on each device: what it is given, what it makes, and what lies between."""
    found = program.memory_analysis()
    total: int = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
    return total - int(found.alias_size_in_bytes)
