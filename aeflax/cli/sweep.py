"""`aeflax sweep`: a grid over a preset or an experiment file, trained as few compiled programs."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from aeflax.cli import answer
from aeflax.cli.naming import named_experiment, resumed
from aeflax.cli.parsing import console, parse, say
from aeflax.cli.stopping import Stop
from aeflax.config import Experiment
from aeflax.config.validation import validate
from aeflax.errors import ConfigError, DivergedError, StoppedError
from aeflax.evaluation.intervals import half
from aeflax.population.grid import Axis, Member, axes, axis, described, members, short
from aeflax.population.halving import rungs
from aeflax.population.record import SWEEP, read_sweep
from aeflax.rundir import runs
from aeflax.rundir.claim import first_free

if TYPE_CHECKING:
    from rich.table import Table

    from aeflax.population.group import Group

SHOWN = 20  # rows of the leaderboard
METRIC_WIDTH = 18  # characters of one of its columns
EXAMPLE = "--grid optimizer.learning-rate=1e-4,1e-3 --grid train.seed=0..7"


@dataclass(frozen=True, kw_only=True)
class SweepCommand:
    """Arguments of `aeflax sweep`."""

    # FIELD=V1,V2,... or FIELD=A..B (whole numbers); of a part its kinds, such as model.corruption=none,masking, or on
    # and none; given again, all combinations
    grid: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    # where the sweep is kept; None: runs/sweep-PRESET-SOURCE-K, the first free K
    run_dir: Path | None = None
    # after an eighth, a quarter and half of the steps, drop the worse half of the settings, on the validation split
    halving: bool = False
    # go on with the sweep in --run-dir, whose settings and grid need not be said again
    resume: bool = False
    overwrite: bool = False  # replace the sweep in --run-dir
    no_report: bool = False  # draw no figures and no report.html
    json: bool = False  # print members and groups as one JSON object; the table goes to standard error
    experiment: Annotated[tyro.conf.FlagConversionOff[Experiment], tyro.conf.arg(name="")] = field(
        default_factory=Experiment
    )


def main(arguments: list[str]) -> int:
    """Trains the grid, prints the leaderboard and returns the exit code."""
    stop = Stop(json=answer.awaited(arguments))
    begun = resumed(arguments, read_sweep)
    named = named_experiment("sweep", arguments, begun)
    default = SweepCommand(experiment=named.experiment)
    command: SweepCommand = parse(
        SweepCommand, named.arguments, named.prog, named.description, default, faults=named.faults, require=_members
    )
    command = replace(command, halving=command.halving or (begun is not None and begun["halving"]))
    stem = Path(named.name).stem
    with (
        first_free(Path("runs"), f"sweep-{stem}", command.experiment.data.source)
        if command.run_dir is None
        else nullcontext(command.run_dir)
    ) as path:
        stop.path, stop.created = path, command.run_dir is None
        try:
            return _sweep(command, path, stem, stop)
        except StoppedError as error:
            place = "" if command.run_dir is not None else f" (add --run-dir {shlex.quote(str(path))})"
            raise StoppedError(f"{error}{place}").telling(run_dir=str(path), **error.details) from error


def _members(command: SweepCommand) -> tuple[tuple[Axis, ...], tuple[Member, ...]]:
    """What the grid makes. Raises ConfigError with what is wrong, before anything is imported."""
    if command.resume and command.run_dir is None:
        raise ConfigError("--resume needs --run-dir, the sweep to go on with")
    if not (command.grid or command.resume):
        raise ConfigError(f"a sweep needs a grid, e.g. {EXAMPLE}")
    validate(command.experiment)
    if command.grid or command.run_dir is None:
        grid = tuple(axis(text, command.experiment) for text in command.grid)
    else:
        grid = axes(read_sweep(command.run_dir)["grid"], command.experiment)
    found = members(command.experiment, grid)
    if command.halving:
        try:
            rungs(found)
        except ConfigError as error:
            mend = "; or name no preset, and the sweep goes on with the settings that it began with"
            raise ConfigError(f"{error}{mend if command.resume else ''}") from error
    return grid, found


def _sweep(command: SweepCommand, path: Path, preset: str, stop: Callable[[], bool]) -> int:
    from aeflax.cli.progress import reporter
    from aeflax.population.sweep import sweep
    from aeflax.report.sweep import notes

    progress = console(stderr=True)
    grid, _ = _members(command)
    result = sweep(
        command.experiment,
        grid,
        run_dir=path,
        halving=command.halving,
        report=not command.no_report,
        resume=command.resume,
        overwrite=command.overwrite,
        callbacks=(reporter(progress, command.experiment.train.monitor),),
        stop=stop,
        plan=lambda groups: say(progress, _plan(groups)),
        preset=preset,
    )
    out = console(stderr=command.json)
    out.print(_table(result.members, result.metric, out.width))
    told = f"kept: {path / SWEEP}" if command.no_report else f"report: {path / runs.REPORT}"
    for note in notes(result.members, result.metric):
        say(progress, note)
    if result.best is not None:
        say(progress, f"best model: {path / result.members[result.best]['run']}, a run as any other")
    say(progress, told)
    found = {"run_dir": str(path), "best": result.best, "members": result.members, "groups": result.groups}
    lost = [member for member in result.members if member["status"] == "diverged"]
    if lost and not any(member["status"] == "done" for member in result.members):
        raise DivergedError(f"all {len(lost)} models diverged; of the first: {lost[0]['reason']}").telling(**found)
    if command.json:
        answer.give(found)
    return 0


def _plan(groups: "Sequence[Group]") -> str:
    """What is going to be trained, a line a program."""
    lines = []
    for number, (group, apart) in enumerate(zip(groups, _apart(groups), strict=True), 1):
        parts = len(group.waves.cut(len(group)))
        waves = "" if parts == 1 else f", in {parts} waves of at most {group.waves.size}"
        lines.append(
            f"  program {number}: {_count(len(group), 'model')} of {group.parameters:,} parameters, "
            f"{group.waves.bytes / 2**20:,.0f} MiB of memory{waves}{apart and f', {apart}'}"
        )
    models = _count(sum(len(group) for group in groups), "model")
    compiled = sum(group.compilations for group in groups)
    return "\n".join([f"{models} as {_count(len(groups), 'program')}, {_count(compiled, 'compilation')}:", *lines])


def _apart(groups: "Sequence[Group]") -> list[str]:
    """Of each program the settings that all of its models share, and other programs do not."""
    taken = [
        {field: {member.settings[field] for member in group.members} for field in group.members[0].settings}
        for group in groups
    ]
    apart = [field for field in taken[0] if len(set().union(*(one[field] for one in taken))) > 1]
    told = ({field: next(iter(one[field])) for field in apart if len(one[field]) == 1} for one in taken)
    return [described(short(one)) if one else "" for one in told]


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def _table(found: Sequence[dict[str, Any]], ranked: str, width: int) -> "Table":
    """The leaderboard: a row a setting, means over seeds with 95 % intervals; as many metrics as there is room."""
    from rich.table import Table

    from aeflax.population.leaderboard import leaderboard, ranking_split, shown

    rows, split = leaderboard(found, ranked), ranking_split(found)
    metrics = shown(rows, ranked)
    settings = [described(short(row["settings"])) for row in rows[:SHOWN]]
    held = split != "test"  # then the ranking has a column of its own
    room = (width - min(max(map(len, settings)), width // 2) - METRIC_WIDTH) // METRIC_WIDTH
    names = metrics[: max(1, room - held)]
    table = Table(title=f"by {ranked} of the {split} split", title_justify="left")
    table.add_column("settings", overflow="fold")
    table.add_column("models", justify="right")
    if held:
        table.add_column(f"{split} {ranked}", justify="right")
    for name in names:
        table.add_column(f"test {name}" if held else name, justify="right")
    for name, row in zip(settings, rows, strict=False):
        fate = f" ({row['diverged']} diverged)" if row["diverged"] else ""
        fate = f" (to step {row['dropped']:,})" if row["dropped"] else fate
        models = f"{len(row['members'])}{fate}"
        score = [_cell(row["score"])] if held else []
        table.add_row(name, models, *score, *(_cell(row["metrics"].get(name)) for name in names))
    left = [f"the best {SHOWN} of {len(rows)} settings"] if len(rows) > SHOWN else []
    if hidden := metrics[len(names) :]:
        left.append(f"no room for {', '.join(hidden)}")
    table.caption = "; ".join(left) or None
    return table


def _cell(found: Any) -> str:
    if found is None:
        return "–"
    width = half(found)
    return f"{found['mean']:.4g}" + ("" if width is None else f" ± {width:.2g}")
