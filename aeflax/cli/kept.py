"""What all commands that use a kept run share: their arguments, how a run and examples are opened, what is written."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from aeflax.cli import answer
from aeflax.cli.parsing import console, say
from aeflax.data import places
from aeflax.data.places import KEPT
from aeflax.errors import ConfigError, DataError, warn
from aeflax.rundir import runs

if TYPE_CHECKING:
    from aeflax.data.inputs import Inputs
    from aeflax.report.sections import Table
    from aeflax.trained import Run

RunPath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
OutPath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
Split = Literal["train", "validation", "test", "all"]
Step = Literal["latest", "best"] | int


@dataclass(frozen=True, kw_only=True)
class RunCommand:
    """Arguments of what is done with a run."""

    # a run directory
    run: RunPath
    # which checkpoint: the newest, the best on validation, or one that is kept
    step: Step = "latest"
    # print the result as one JSON object; all else goes to standard error
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class TransformCommand(RunCommand):
    """Arguments of what turns IN into OUT."""

    # a .npy, .npz (FILE.npz#ARRAY), .csv, .parquet or IDX file, or a source as --data.source takes it
    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="IN")]
    # a .npy, .npz, .csv or .parquet file
    out: OutPath
    # of the run's own source, or of one that brings splits
    split: Split = "all"


@dataclass(frozen=True, kw_only=True)
class CarryingCommand(TransformCommand):
    """Arguments of what makes a row of OUT of each of IN."""

    # columns of IN, a table, that OUT has as they stand, such as an id
    carry: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReconstructCommand(CarryingCommand):
    """Arguments of `aeflax reconstruct`."""

    # a .npy, .npz, .csv or .parquet file; .png for a picture of the first 100 images
    out: OutPath


def warn_of_unfamiliar(run: "Run", inputs: "Inputs") -> None:
    """Warns where the examples of IN are unlike what the run was trained on, as far as that can be told."""
    with suppress(ConfigError, DataError):
        if said := run.unfamiliar(inputs):
            warn(said)


def open_run(command: RunCommand) -> "Run":
    """The run of a command; that there is none is said before anything heavy is imported."""
    runs.read_manifest(command.run)

    from aeflax import api

    return api.load(command.run, step=command.step)


def show(
    command: RunCommand,
    run: "Run",
    values: Mapping[str, Any],
    tables: Sequence["Table"],
    sentences: Sequence[str] = (),
    *,
    kept: bool = True,
) -> None:
    """Prints what was found of a run: tables, the first of which is named after the run, sentences, and the JSON.

    What is kept for the report is drawn into it by another command, which is told, too.
    """
    from aeflax.cli.progress import grid

    screen, named = console(stderr=command.json), f"{command.run}, step {run.step:,}"
    for place, table in enumerate(tables):
        screen.print(grid(table, table.caption if place else named))
    for sentence in sentences:
        say(screen, sentence)
    if kept:
        say(console(stderr=True), f"aeflax report {shlex.quote(str(command.run))} draws this into its page")
    if command.json:
        answer.give({"step": run.step, **values})


def require_out(run: Path, out: Path, *read: str, suffixes: tuple[str, ...] = places.SUFFIXES) -> Mapping[str, Any]:
    """The manifest of a run, once OUT can be written and is none of what is read: IN, the run's data, what it keeps.

    Raises:
      ConfigError: where it is, or cannot; or where there is no run.
    """
    manifest = runs.read_manifest(run)
    trained_on = manifest["experiment"].get("data", {}).get("source", "")
    places.require_writable(out, *read, trained_on, str(run / KEPT), suffixes=suffixes)
    for folder in runs.FOLDERS:
        if (run / folder).resolve() in out.resolve().parents:
            raise ConfigError(f"{out} would lie among what the run keeps in {run / folder}; choose another place")
    return manifest


def open_inputs(
    command: TransformCommand,
    suffixes: tuple[str, ...] = places.SUFFIXES,
    carry: tuple[str, ...] = (),
    idle: tuple[str, ...] = (),
) -> tuple["Run", "Inputs"]:
    """The run and the examples of IN; what is wrong with either is said before anything heavy is imported.

    OUT must end in one of the suffixes; columns to carry along go with the examples, and idle ones are not read.
    """
    if (Path(command.source) / runs.MANIFEST).is_file() and not (command.run / runs.MANIFEST).is_file():
        raise ConfigError(f"{command.run} is no run, and {command.source} is one: RUN comes first, then IN, then OUT")
    places.require_readable(command.source)
    require_out(command.run, command.out, command.source, suffixes=suffixes)
    if carry and command.out.suffix.lower() in (".npy", ".png"):
        raise ConfigError(f"{command.out} holds one array and nothing beside it; end it in .csv, .parquet or .npz")

    from aeflax import api
    from aeflax.config.sources import is_table
    from aeflax.data.inputs import Inputs, carried

    columns = carried(command.source, carry) if carry and command.split == "all" else {}
    run = api.load(command.run, step=command.step)
    idle = (*idle, *(name for name in columns if name not in (run.columns or ())))
    own = run.experiment.data.source
    if command.split != "all" and command.source in (own, own.partition(":")[2]):
        part, name = run.split(command.split), f"{command.source} ({command.split})"
        if part.index is None or not is_table(own):
            return run, Inputs(name, part.values, part.labels)
        whole = open_for(run, own, idle=idle)  # which knows what is missing, and in which row
        return run, replace(whole, carried=carried(own, carry)).part(name, part.index[:])
    if carry and command.split != "all":
        raise ConfigError("--carry takes the columns of all rows; leave --split out")
    if command.split == "validation":
        raise ConfigError(f"{command.source} brings no validation split of its own; take --split all")
    return run, replace(open_for(run, command.source, command.split, idle), carried=columns)


def open_for(
    run: "Run", place: str, split: Literal["train", "test", "all"] = "all", idle: tuple[str, ...] = ()
) -> "Inputs":
    """The examples that a word of the command line names, read as the run's own data were."""
    from aeflax.data import missing
    from aeflax.data.columns import to_take
    from aeflax.data.inputs import columns_of, open_examples

    grey = run.inference.program.built.shape[-1] == 1  # pictures are read in as many channels as the model takes
    how = replace(run.experiment.data, grey=grey, drop=(*run.experiment.data.drop, *idle))
    places.require_readable(place)
    if lost := [name for name in idle if name in (run.columns or ())]:
        raise ConfigError(f"the column {lost[0]!r} is a feature of the run, and cannot be left out of {place}")
    take = to_take(run.columns, columns_of(place, how), place)
    found = open_examples(place, split, how=how, fill=run.inference.domain.fill, take=take)
    if found.fill is not None and (filled := missing.summary(found.values, found.columns)):
        say(console(stderr=True), f"{place}: {filled}")
    return found


def write_reconstructions(path: Path, run: "Run", inputs: "Inputs", what: str) -> dict[str, Any]:
    """Writes what the model makes of examples, in their own units or as a picture -> as `write_out`."""
    from aeflax.applications import transforms

    picture = places.is_picture(path)
    if picture:
        places.require_suited(path, inputs.shape)
    made = (transforms.pictures if picture else transforms.reconstructions)(run.inference, inputs)
    return write_out(path, made, len(inputs), what, run.columns)


def write_out(
    path: Path,
    batches: Iterable[Mapping[str, Any]],
    total: int,
    what: str,
    features: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """Writes batches under a progress bar, those of a table under its features' names; says what is in the file.

    Returns:
      The same for a command's JSON: `out`, the path, and `written`, how many.
    """
    from rich.progress import Progress

    from aeflax.data.writers import write

    screen = console(stderr=True)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task(what, total=total)

        def counted() -> Iterator[Mapping[str, Any]]:
            for batch in batches:
                yield batch
                progress.advance(task, len(next(iter(batch.values()))))

        count = write(path, counted(), features)
    say(screen, f"{count:,} {what} in {path}")
    return {"out": str(path), "written": count}
