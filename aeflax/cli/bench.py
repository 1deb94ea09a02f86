"""`aeflax bench`: how fast a preset or an experiment file trains on this machine."""

import os
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from aeflax.cli import answer
from aeflax.cli.naming import named_experiment
from aeflax.cli.parsing import console, parse, say, traced
from aeflax.config import Experiment
from aeflax.config.validation import validate
from aeflax.errors import ConfigError
from aeflax.rundir.claim import create_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from aeflax.bench.measurement import LeftOut, Measurement

SOURCE = "synthetic:28x28x1:10000"  # in place of the preset's small set, which would fit in a few batches


def _else(option: str) -> Any:
    """What an empty option stands for, said in its help text."""
    return tyro.conf.arg(help_behavior_hint=f"(default: that of --{option})")


@dataclass(frozen=True, kw_only=True)
class BenchCommand:
    """Arguments of `aeflax bench`."""

    # What is swept; every combination is measured.
    batch_sizes: Annotated[tuple[int, ...], _else("data.batch-size")] = ()  # to measure
    precisions: Annotated[tuple[Literal["float32", "bfloat16"], ...], _else("train.precision")] = ()  # to measure
    placements: Annotated[tuple[Literal["jit", "pmap", "mesh"], ...], _else("train.placement")] = ()  # to measure
    seconds: float = 3.0  # of training at each combination
    out: Path | None = None  # write the measurements as JSON to this file
    figure: Path | None = None  # draw images a second over the batch size, and the roofline, to this PNG file
    profile: Path | None = None  # trace some steps of each combination into this directory, for TensorBoard or Perfetto
    json: bool = False  # print the measurements as one JSON object; the table goes to standard error
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
    said = (named.prog, named.description)
    command: BenchCommand = parse(
        BenchCommand, named.arguments, *said, default, faults=named.faults, require=_require_possible
    )
    experiment = command.experiment
    if command.profile is not None:
        create_folder(command.profile, "the profile")
    for file in filter(None, (command.out, command.figure)):
        create_folder(file.parent, "the measurements")
    if "jax" not in sys.modules:  # which reads its settings when it is imported
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # compiling is measured too
    from aeflax.bench.throughput import measure

    left_out: list[LeftOut] = []
    found = measure(
        experiment,
        command.batch_sizes,
        command.precisions,
        command.placements,
        seconds=command.seconds,
        profile=command.profile,
        leave_out=left_out.append,
    )
    console(stderr=command.json).print(_table(found))
    measured = [one.as_dict() for one in found]
    left = [asdict(one) for one in left_out]
    result = {"source": experiment.data.source, "measurements": measured, "left_out": left}
    if command.out is not None:
        _write(command.out, answer.done(result).encode() + b"\n")
    if command.figure is not None:
        from aeflax.report.throughput import throughput

        _write(command.figure, throughput(measured))
    if command.profile is not None:
        say(console(stderr=True), traced(command.profile))
    if command.json:
        answer.give(result)
    return 0


def _write(path: Path, content: bytes) -> None:
    from aeflax.storage.durable import replacing

    try:
        with replacing(path, through_links=True) as file:
            file.write(content)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def _require_possible(command: BenchCommand) -> None:
    """Raises ConfigError for what cannot be measured."""
    validate(command.experiment)
    if faults := [size for size in command.batch_sizes if size < 1]:
        raise ConfigError(f"--batch-sizes must be at least 1, got {faults[0]}")
    if not 0 < command.seconds < float("inf"):
        raise ConfigError(f"--seconds must be a positive number, got {command.seconds:g}")


def _table(found: "Sequence[Measurement]") -> "Table":
    """Measurements of training programs, one a row."""
    from rich.table import Table

    peaks = {one.precision: f"{one.peak_flops_per_second / 1e9:,.0f} GFLOP/s ({one.peak_source})" for one in found}
    caption = (
        f"Steps: median, 10th and 90th percentile. Peak: {'; '.join(peaks.values())}. Memory: of the program, on each "
        "device. Data wait: the share of the time, at most, in which the devices waited for data."
    )
    title = "; ".join(dict.fromkeys(one.devices for one in found))
    drawn = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    swept = [name for name in ("placement", "precision") if len({getattr(one, name) for one in found}) > 1]
    for name in swept:
        drawn.add_column(name)
    for name in ("batch", "ms a step", "images/s", "GFLOP/s", "of\npeak", "memory", "compiled\nin", "data\nwait"):
        drawn.add_column(name, justify="right")
    for one in found:
        drawn.add_row(
            *(getattr(one, name) for name in swept),
            f"{one.batch_size:,}",
            f"{one.step_ms:.3g} [dim]({one.step_ms_p10:.3g} to {one.step_ms_p90:.3g})[/dim]",
            f"{one.images_per_second:,.0f}",
            f"{one.flops_per_second / 1e9:,.1f}",
            f"{one.share_of_peak:.0%}",
            f"{one.memory_bytes / 2**20:,.0f} MiB",
            f"{one.compile_seconds:.2f} s",
            f"{one.data_wait:.0%}",
        )
    return drawn
