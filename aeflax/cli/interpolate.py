"""`aeflax interpolate`: what lies between the codes of two inputs, decoded."""

from dataclasses import dataclass
from typing import Literal

from aeflax.cli import answer
from aeflax.cli.kept import OutPath, TransformCommand, open_inputs, write_out
from aeflax.cli.parsing import parse
from aeflax.data import places
from aeflax.errors import ConfigError

MAX_COUNT = 10_000


@dataclass(frozen=True, kw_only=True)
class InterpolateCommand(TransformCommand):
    """Arguments of `aeflax interpolate`."""

    # a .npy, .npz, .csv or .parquet file; .png for a picture of one row a pair
    out: OutPath
    # indices in IN of the first and the second of each pair, from 0: `--between 0 1 2 3` goes from 0 to 1 and 2 to 3
    between: tuple[int, ...]
    # steps from the one to the other, both included
    count: int = 9
    # the way between two codes: a straight line, or an arc about 0 on which the length goes evenly from the one to the
    # other; by default spherical where the code has a prior, else linear
    path: Literal["linear", "spherical"] | None = None


def main(arguments: list[str]) -> int:
    """Writes the examples on the way between inputs."""
    what = "Writes examples decoded on the way between the codes of two inputs, in the units of the run's data."
    command: InterpolateCommand = parse(InterpolateCommand, arguments, "aeflax interpolate", what)
    if not command.between or len(command.between) % 2:
        raise ConfigError("--between takes two indices a pair, as in --between 0 1 2 3; one has no other end")
    if faults := [place for place in command.between if not 0 <= place < 2**63]:
        raise ConfigError(f"--between {faults[0]} is no index; they count from 0")
    require_count(command.count)
    run, inputs = open_inputs(command)

    from aeflax.applications import generation

    picture = places.is_picture(command.out)
    if picture:
        places.require_suited(command.out, run.inference.program.built.shape)
    pairs = list(zip(command.between[::2], command.between[1::2], strict=True))
    made = generation.interpolations(run.inference, inputs, pairs, command.count, command.path, picture=picture)
    total, written = (1, "picture of interpolations") if picture else (len(pairs) * command.count, "interpolations")
    told = write_out(command.out, made, total, written, run.columns)
    if command.json:
        answer.give({"step": run.step, **told})
    return 0


def require_count(count: int) -> None:
    """Raises ConfigError for steps that make no way."""
    if not 2 <= count <= MAX_COUNT:
        raise ConfigError(f"--count {count} lies outside [2, {MAX_COUNT:,}]; both ends are among the steps")
