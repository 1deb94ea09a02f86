"""What a device can do at most: operations and bytes a second, from its datasheet or measured."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

NVIDIA, GOOGLE = "NVIDIA's datasheet", "Google's Cloud TPU documentation"
PRODUCT_SIDE, PRODUCT_SIDE_ON_ACCELERATORS = 2048, 8192
COPIED_BYTES = 2**28
REPEATS = 8


class Peak(NamedTuple):
    """The limits of one device.

    Attributes:
      flops: dense operations a second in the precision asked for.
      bytes: of memory read and written a second.
      source: where the figures come from.
    """

    flops: float
    bytes: float
    source: str


# Prefix of JAX's device kind, the first that fits -> (TFLOP/s in bfloat16, in float32 products as JAX computes them by
# default, memory in GB/s, source). Float32 products are TF32 on NVIDIA's Ampere and later, bfloat16 passes on TPUs.
DATASHEETS: dict[str, tuple[float | None, float, float, str]] = {
    "NVIDIA H200": (989.4, 494.7, 4800, NVIDIA),
    "NVIDIA H100 PCIe": (756.0, 378.0, 2000, NVIDIA),
    "NVIDIA H100 80GB HBM3": (989.4, 494.7, 3350, NVIDIA),
    "NVIDIA A100-SXM4-80GB": (312.0, 156.0, 2039, NVIDIA),
    "NVIDIA A100 80GB PCIe": (312.0, 156.0, 1935, NVIDIA),
    "NVIDIA A100": (312.0, 156.0, 1555, NVIDIA),
    "NVIDIA L40S": (362.0, 183.0, 864, NVIDIA),
    "NVIDIA L40": (181.0, 90.5, 864, NVIDIA),
    "NVIDIA L4": (121.0, 60.0, 300, NVIDIA),
    "Tesla V100-SXM2": (None, 15.7, 900, NVIDIA),
    "TPU v6": (918.0, 918.0, 1640, GOOGLE),
    "TPU v5 lite": (197.0, 197.0, 819, GOOGLE),
    "TPU v5": (459.0, 459.0, 2765, GOOGLE),
    "TPU v4": (275.0, 275.0, 1228, GOOGLE),
}


def peak(precision: str, device: jax.Device | None = None) -> Peak:
    """The limits of a device, float32 or bfloat16: of its datasheet where that is known, else measured just now."""
    device = device or jax.local_devices()[0]
    for kind, (bf16, f32, memory, source) in DATASHEETS.items():
        flops = bf16 if precision == "bfloat16" else f32
        whole = " MIG " not in device.device_kind  # and not a part of a card
        if device.device_kind.startswith(kind) and flops is not None and whole:
            return Peak(1e12 * flops, 1e9 * memory, source)
    side = PRODUCT_SIDE if device.platform == "cpu" else PRODUCT_SIDE_ON_ACCELERATORS
    square = jax.device_put(jnp.full((side, side), 1 / side, precision), device)
    values = jax.device_put(jnp.zeros(COPIED_BYTES // 4, jnp.float32), device)
    flops = 2 * side**3 / _seconds(jax.jit(lambda a: a @ a), square)
    moved = 2 * COPIED_BYTES / _seconds(jax.jit(lambda a: a + 1.0, donate_argnums=0), values)
    return Peak(flops, moved, f"measured: a {precision} product of {side}², a copy of {COPIED_BYTES >> 20} MiB")


def _seconds(function: Callable[[Any], Any], argument: Any) -> float:
    """The shortest of several calls, each of what the one before gave."""
    argument, best = jax.block_until_ready(function(argument)), float("inf")
    for _ in range(REPEATS):
        started = time.perf_counter()
        argument = jax.block_until_ready(function(argument))
        best = min(best, time.perf_counter() - started)
    return best
