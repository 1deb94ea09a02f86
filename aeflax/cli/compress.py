"""`aeflax compress` and `aeflax decompress`: examples as a container of quantised, entropy-coded codes, and back."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from aeflax.applications.compression import container
from aeflax.cli import answer
from aeflax.cli.kept import OutPath, RunPath, Step, TransformCommand, open_inputs, require_out, write_out
from aeflax.cli.parsing import console, parse, say
from aeflax.data import places
from aeflax.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from aeflax.trained import Run


@dataclass(frozen=True, kw_only=True)
class CompressCommand(TransformCommand):
    """Arguments of `aeflax compress`."""

    # a .aez file
    out: OutPath
    # between two quantised values of a code; by default the coarsest that costs 0.1 dB
    step_size: float | None = None
    # PSNR that the reconstructions are to reach, dB, mean over the examples, in place of a step size
    psnr: float | None = None
    # sweep step sizes over the run's test images, beside JPEG, WebP and PNG, and keep that for the run's report
    judge: bool = False


@dataclass(frozen=True, kw_only=True)
class DecompressCommand:
    """Arguments of `aeflax decompress`."""

    # the run directory that compressed it
    run: RunPath
    # a .aez file
    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IN")]
    # a .npy, .npz, .csv or .parquet file; .png for a picture of the first 100 images
    out: OutPath
    # the checkpoint that compressed it: the newest, the best on validation, or one that is kept
    step: Step = "latest"
    # print the result as one JSON object; all else goes to standard error
    json: bool = False


def compress(arguments: list[str]) -> int:
    """Writes a container of examples, and prints what it takes and gives."""
    what = "Compresses examples into one container; aeflax decompress reads it back. Labels of IN are not kept."
    command: CompressCommand = parse(CompressCommand, arguments, "aeflax compress", what)
    _require(command)
    run, inputs = open_inputs(command, (container.SUFFIX,))

    from aeflax.applications.compression import packing, rates
    from aeflax.rundir.checkpoint import state_sha256

    if command.judge:
        rates.require(run.inference)
        run.split("test")  # where it is gone, nothing is written
    found = packing.compress(
        run.inference, inputs, state_sha256(run.state), step_size=command.step_size, psnr=command.psnr
    )
    container.write(command.out, found.data)
    screen = console(stderr=command.json)
    _say(screen, found, command.out, labelled=inputs.labels is not None)
    judged = {"judged": _judge(run, screen)} if command.judge else {}
    if command.json:
        answer.give({"step": run.step, "out": str(command.out), **found.values(), **judged})
    return 0


def decompress(arguments: list[str]) -> int:
    """Writes the reconstructions of the examples in a container."""
    what = "Writes the reconstructions of compressed examples, [N, D] or [N, H, W, C] in their own units."
    command: DecompressCommand = parse(DecompressCommand, arguments, "aeflax decompress", what)
    require_out(command.run, command.out, str(command.source))
    found = container.read(command.source)
    picture = places.is_picture(command.out)
    if picture:
        places.require_suited(command.out, found.header.shape)

    from aeflax import api
    from aeflax.applications.compression import packing
    from aeflax.rundir.checkpoint import state_sha256

    run = api.load(command.run, step=command.step)
    inference = run.inference
    found.require(state_sha256(run.state), inference.program.built.shape, inference.code_size)
    made: Iterator[dict[str, Any]] = packing.decompress(inference, found, picture=picture)
    written = write_out(command.out, made, found.header.count, "reconstructions", run.columns)
    if command.json:
        answer.give({"step": run.step, **written})
    return 0


def _require(command: CompressCommand) -> None:
    """Refuses numbers that cannot be, before anything heavy is loaded."""
    if command.step_size is not None and command.psnr is not None:
        raise ConfigError("--step-size and --psnr, which decides it, exclude each other; give one of them")
    for flag, value in (("--step-size", command.step_size), ("--psnr", command.psnr)):
        if value is not None and not 0.0 < value < math.inf:
            raise ConfigError(f"{flag} {value:g} cannot be; give a finite number above 0")


def _say(screen: "Console", found: Any, out: Path, *, labelled: bool) -> None:
    """Prints what a container takes and gives."""
    examples = "1 example" if found.examples == 1 else f"{found.examples:,} examples"
    said = [
        f"{examples} in {out}: {len(found.data):,} bytes, {found.bits_per_pixel:.4g} bits per pixel "
        f"({found.payload_bits_per_pixel:.4g} without header and tables), step size {found.step_size:.4g}",
        f"quantisation {'costs' if found.loss >= 0 else 'gains'} {abs(found.loss):.3f} dB",
    ]
    if found.psnr is not None:
        said[1] += f": PSNR {found.psnr:.2f} dB, and {found.unquantised_psnr:.2f} without it"
    if labelled:
        said.append("labels are not kept in a container")
    for sentence in said:
        say(screen, sentence)


def _judge(run: "Run", screen: "Console") -> dict[str, Any]:
    from aeflax.cli.progress import grid
    from aeflax.report import compression

    found = run.judge.compression()
    screen.print(grid(compression.table(found), f"{run.path}, step {run.step:,}"))
    for sentence in compression.sentences(found):
        say(screen, sentence)
    return found
