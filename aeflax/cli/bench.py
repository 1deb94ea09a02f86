"""`aeflax bench`: how fast a preset or an experiment file trains on this machine."""

import json
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from aeflax.cli.naming import named_experiment
from aeflax.cli.parsing import console, parse
from aeflax.config import Experiment
from aeflax.errors import ConfigError
from aeflax.validation import validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from aeflax.bench import Measurement

SOURCE = "synthetic:28x28x1:10000"  # in place of the preset's small set, which would fit in a few batches


@dataclass(frozen=True, kw_only=True)
class BenchCommand:
    """Arguments of `aeflax bench`."""

    batch_sizes: tuple[int, ...] = ()  # to measure one after another; default: data.batch-size
    seconds: float = 3.0  # of training at each batch size
    out: Path | None = None  # write the measurements as JSON to this file
    json: bool = False  # print them as one JSON object; the table goes to standard error
    experiment: Annotated[tyro.conf.FlagConversionOff[Experiment], tyro.conf.arg(name="")] = field(
        default_factory=Experiment
    )


def main(arguments: list[str]) -> int:
    """Measures, prints a table and returns the exit code."""
    named = named_experiment("bench", arguments)
    experiment = named.experiment
    if not named.name.endswith(".py"):
        experiment = replace(experiment, data=replace(experiment.data, source=SOURCE))
    default = BenchCommand(experiment=experiment)
    command: BenchCommand = parse(BenchCommand, named.arguments, named.prog, named.description, default)
    experiment = validate(command.experiment)
    if faults := [size for size in command.batch_sizes if size < 1]:
        raise ConfigError(f"--batch-sizes must be at least 1, got {faults[0]}")
    if not 0 < command.seconds < float("inf"):
        raise ConfigError(f"--seconds must be a positive number, got {command.seconds:g}")

    if "jax" not in sys.modules:  # which reads its settings when it is imported
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # compiling is measured too
    from aeflax.bench import measure
    from aeflax.durable import replacing

    found = measure(experiment, command.batch_sizes, command.seconds)
    console(stderr=command.json).print(_table(found))
    text = json.dumps({"source": experiment.data.source, "measurements": [one.as_dict() for one in found]})
    if command.out is not None:
        try:
            with replacing(command.out) as file:
                file.write(text.encode() + b"\n")
        except OSError as error:
            raise ConfigError(f"cannot write {command.out}: {error.strerror or error}; choose another place") from error
    if command.json:
        print(text)  # noqa: T201
    return 0


def _table(found: "Sequence[Measurement]") -> "Table":
    """Measurements of training programs, one a row."""
    from rich.table import Table

    peak = found[0].peak_flops_per_second
    caption = (
        f"Steps: median, 10th and 90th percentile. Peak: {peak / 1e9:,.0f} GFLOP/s, a large float32 product measured "
        "just now. Memory: of the program, on each device."
    )
    drawn = Table(title=found[0].devices, title_justify="left", caption=caption, caption_justify="left")
    for name in ("batch", "ms a step", "images/s", "GFLOP/s", "of peak", "memory", "compiled in", "host busy"):
        drawn.add_column(name, justify="right")
    for one in found:
        drawn.add_row(
            f"{one.batch_size:,}",
            f"{one.step_ms:.3g} [dim]({one.step_ms_p10:.3g} to {one.step_ms_p90:.3g})[/dim]",
            f"{one.images_per_second:,.0f}",
            f"{one.flops_per_second / 1e9:,.1f}",
            f"{one.share_of_peak:.0%}",
            f"{one.memory_bytes / 2**20:,.0f} MiB",
            f"{one.compile_seconds:.2f} s",
            f"{one.host_share:.0%}",
        )
    return drawn
