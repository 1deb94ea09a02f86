"""Along which axis a parameter is spread over devices."""

import re
from typing import NamedTuple

REPLICATED_BELOW = 2**16  # values; of a smaller leaf every device keeps a copy


class Override(NamedTuple):
    """Parameters whose path (`encoder/dense_0/kernel`) contains the pattern are spread along `axis`, None: not."""

    pattern: str
    axis: int | None


def partition(path: str, shape: tuple[int, ...], devices: int, overrides: tuple[Override, ...] = ()) -> int | None:
    """The axis of a leaf that is spread over so many devices; None: every device keeps a copy.

    The largest one that divides, the last among equals, where the leaf is large enough to be worth it. The optimizer's
    moments have their parameter's path at the end of their own, and its shape, so they lie where it does.

    Raises:
      ValueError: where an override names an axis that does not divide.
    """
    for pattern, axis in overrides:
        if re.search(pattern, path):
            if axis is not None and shape and (axis >= len(shape) or shape[axis] % devices):
                raise ValueError(
                    f"train.sharding: {pattern}={axis} does not divide {path} {shape} over {devices} devices"
                )
            return axis if shape else None
    size = 1
    for length in shape:
        size *= length
    if size < REPLICATED_BELOW:
        return None
    axes = [axis for axis, length in enumerate(shape) if length % devices == 0]
    return max(axes, key=lambda axis: (shape[axis], axis), default=None)


def require_matches(overrides: tuple[Override, ...], paths: list[str]) -> None:
    """Raises ValueError where an override matches none of the parameters' paths."""
    for pattern, _ in overrides:
        if not any(re.search(pattern, path) for path in paths):
            raise ValueError(f"train.sharding: {pattern} matches no parameter; there are {', '.join(paths)}")


def travels(shape: tuple[int, ...], examples: int) -> bool:
    """Whether a parameter, rather than the activations that meet it, goes to the other devices in a step.

    The smaller of the two should: a matrix [I, O], which meets activations [B, I] and [B, O], where the batch is larger
    than both of its sides; a convolution's kernel always, since it meets maps.
    """
    return len(shape) != 2 or max(shape) < examples


def override(text: str) -> Override:
    """Reads "PATTERN=AXIS" or "PATTERN=none"."""
    pattern, _, axis = text.rpartition("=")
    return Override(pattern, None if axis == "none" else int(axis))
