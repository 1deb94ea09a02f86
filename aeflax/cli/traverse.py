"""`aeflax traverse`: what each dimension of a code stands for, decoded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aeflax.cli.interpolate import require_count
from aeflax.cli.kept import OutPath, RunCommand, TransformCommand, open_inputs, open_run, require_out, show, write_out
from aeflax.cli.parsing import parse
from aeflax.config.validation import MAX_TEMPERATURE
from aeflax.data import places
from aeflax.errors import ConfigError

if TYPE_CHECKING:
    from aeflax.data.inputs import Inputs
    from aeflax.trained import Run


MAX_SPAN = MAX_TEMPERATURE  # standard deviations


@dataclass(frozen=True, kw_only=True)
class TraverseCommand(RunCommand):
    """Arguments of `aeflax traverse`."""

    # a .npy, .npz, .csv or .parquet file; .png for a picture of one row a dimension
    out: OutPath
    # how many dimensions at most: those with the largest KL, without a prior those whose codes vary most, over the test
    # split
    dimensions: int = 10
    # steps along each
    count: int = 9
    # standard deviations of the prior on each side of its mean, 3 unless given; without a prior a dimension goes from
    # the 1 % to the 99 % quantile of the test split's codes
    span: float | None = None
    # a file or a source, as IN of `aeflax encode`: the other dimensions keep the code of one of its examples; by
    # default the prior's mean, or the mean code of the test split
    of: str | None = None
    # which example of it, from 0
    index: int | None = None


def main(arguments: list[str]) -> int:
    """Writes traversals of the most used dimensions of the code."""
    what = "Writes examples decoded along each of the most used dimensions of the code, in the units of the run's data."
    command: TraverseCommand = parse(TraverseCommand, arguments, "aeflax traverse", what)
    _require(command)
    run, inputs = _open(command)

    from aeflax.applications import generation, latents
    from aeflax.report.generation import traversal_table

    inference, picture = run.inference, places.is_picture(command.out)
    if command.span is not None and not inference.has_prior:
        raise ConfigError("--span needs a code with a prior, as the preset vae has; leave it out")
    if picture:
        places.require_suited(command.out, inference.program.built.shape)
    origin = None
    if inputs is not None:
        index = command.index or 0
        if index >= len(inputs):
            raise ConfigError(f"--index {index}: {inputs.name} has {len(inputs):,} examples, counted from 0")
        origin = inference.scaled_encode(inference.scaled(inputs.at(slice(index, index + 1))))[0]
    span = latents.SPAN if command.span is None else command.span
    found = latents.dimensions(inference, run.split("test"), span)
    made = generation.traversals(inference, found, command.dimensions, command.count, origin, picture=picture)
    values = {"measure": found.measure, "traversal": generation.described(found, command.dimensions)}
    total = len(values["traversal"]) * command.count
    written = (1, "picture of traversals") if picture else (total, "examples of traversals")
    told = write_out(command.out, made, *written, run.columns)
    show(command, run, values | told, [traversal_table(values)], kept=False)
    return 0


def _require(command: TraverseCommand) -> None:
    """Refuses what is wrong by itself."""
    if command.dimensions < 1:
        raise ConfigError(f"--dimensions {command.dimensions} is too few; traverse at least one")
    require_count(command.count)
    if command.span is not None and not 0.0 < command.span <= MAX_SPAN:
        raise ConfigError(f"--span {command.span:g} lies outside (0, {MAX_SPAN:g}]; a common choice is 3")
    if command.index is not None and command.of is None:
        raise ConfigError("--index is of an example of --of IN; give both")
    if command.index is not None and command.index < 0:
        raise ConfigError(f"--index {command.index} is no index; they count from 0")


def _open(command: TraverseCommand) -> tuple["Run", "Inputs | None"]:
    """The run, and the examples of which one is the origin, if any."""
    if command.of is not None:
        return open_inputs(
            TransformCommand(run=command.run, source=command.of, out=command.out, split="all", step=command.step)
        )
    require_out(command.run, command.out)
    return open_run(command), None
