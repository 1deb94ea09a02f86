"""`aeflax denoise`: takes the noise out of examples, and tells how well, beside filters."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aeflax.cli import answer
from aeflax.cli.kept import ReconstructCommand, open_for, open_inputs, write_reconstructions
from aeflax.cli.parsing import console, parse, require_seed, say
from aeflax.data import places
from aeflax.errors import ConfigError
from aeflax.rundir import runs

if TYPE_CHECKING:
    from aeflax.trained import Run


@dataclass(frozen=True, kw_only=True)
class DenoiseCommand(ReconstructCommand):
    """Arguments of `aeflax denoise`."""

    # the examples of IN without noise, all of this file or source in the same order: tells PSNR and SSIM before and
    # after
    clean: str | None = None
    # put noise of every kind on images of the run's own test split, and restore them with the model and with filters
    judge: bool = False
    # images that --judge takes, evenly spaced, 500 unless given
    examples: int | None = None
    # of the noise that --judge puts on them, 0 unless given
    seed: int | None = None


def main(arguments: list[str]) -> int:
    """Writes denoised examples, and keeps for the run's report how well it denoises."""
    what = "Writes examples without their noise, [N, D] or [N, H, W, C] in the units of IN: reconstructions."
    command: DenoiseCommand = parse(DenoiseCommand, arguments, "aeflax denoise", what)
    _require(command)
    run, inputs = open_inputs(command, carry=command.carry)
    clean = None if command.clean is None else open_for(run, command.clean)

    from aeflax.applications import denoising
    from aeflax.cli.progress import grid
    from aeflax.report import denoising as report

    if clean is not None:
        denoising.require_pairs(inputs, clean)
    screen = console(stderr=command.json)
    found: dict[str, Any] = {"step": run.step, "examples": len(inputs)}
    if clean is not None:  # before OUT is written: the values of both files are looked at
        found["clean"] = denoising.compare(run.inference, inputs, clean)
    if command.judge:
        run.split("test")  # where it is gone, nothing is written
    found |= write_reconstructions(command.out, run, inputs, "denoised examples")
    if clean is not None:
        screen.print(grid(report.compared(found["clean"]), f"{command.run}, step {run.step:,}"))
    if command.judge:
        found["denoising"] = _judged(command, run)
        for table in report.tables(found["denoising"]):
            screen.print(grid(table, table.caption))
        for sentence in report.sentences(found["denoising"]):
            say(screen, sentence)
    if command.json:
        answer.give(found)
    return 0


def _require(command: DenoiseCommand) -> None:
    """Refuses what cannot be done with the run, before anything heavy is imported."""
    manifest = runs.read_manifest(command.run)
    given = {"--examples": command.examples, "--seed": command.seed}
    if idle := [name for name, value in given.items() if value is not None and not command.judge]:
        raise ConfigError(f"{idle[0]} is of --judge; give both, or neither")
    if command.examples is not None and command.examples < 1:
        raise ConfigError(f"--examples {command.examples} is too few; judge at least one")
    require_seed(command.seed or 0)
    if command.clean is not None:
        places.require_readable(command.clean)
        places.require_writable(command.out, command.clean)
    shape = manifest["inputs"].get("shape")
    if command.judge and isinstance(shape, list) and shape:  # a damaged one is told of later
        from aeflax.applications.filters import require_images

        require_images(tuple(shape), unit_range=manifest["inputs"].get("unit_range") is not False)


def _judged(command: DenoiseCommand, run: "Run") -> dict[str, Any]:
    """Judges under a progress bar: filters take minutes for many or large images."""
    from rich.progress import Progress

    screen = console(stderr=True)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("filters", total=1.0)
        return run.judge.denoising(
            **{name: value for name in ("examples", "seed") if (value := getattr(command, name)) is not None},
            watch=lambda share: progress.update(task, completed=share),
        )
