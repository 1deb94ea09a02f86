"""`aeflax sample`: examples decoded from the prior, and whether they are copies of training examples."""

import math
import shutil
from dataclasses import dataclass
from typing import Any

from aeflax.cli.kept import OutPath, RunCommand, open_run, require_out, show, write_out
from aeflax.cli.parsing import parse, require_seed
from aeflax.config.validation import require_temperature
from aeflax.data import places
from aeflax.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SampleCommand(RunCommand):
    """Arguments of `aeflax sample`."""

    # a .npy, .npz, .csv or .parquet file; .png for a picture of the first 100 images
    out: OutPath
    # how many
    count: int = 64
    # the same seed draws the same codes, and more of them begin alike
    seed: int = 0
    # what the drawn codes are multiplied by: below 1 samples are more alike, above 1 less likely
    temperature: float = 1.0
    # write each one's nearest training example beside it, say whether the model memorises, and keep what is found for
    # the run's report
    nearest: bool = False


def main(arguments: list[str]) -> int:
    """Writes samples from the prior."""
    what = "Writes examples decoded from the prior of a model with a posterior, in the units of the run's data."
    command: SampleCommand = parse(SampleCommand, arguments, "aeflax sample", what)
    if command.count < 1:
        raise ConfigError(f"--count {command.count} is too few; draw at least one")
    require_seed(command.seed)
    require_temperature(command.temperature)
    require_out(command.run, command.out)
    if command.nearest and command.out.suffix.lower() == ".npy":
        raise ConfigError(f"{command.out} holds one array, and --nearest writes more; end it in .npz, .csv or .png")

    from aeflax.applications import generation, transforms
    from aeflax.report.generation import sentences

    run = open_run(command)
    picture = places.is_picture(command.out)
    if picture:
        places.require_suited(command.out, run.inference.program.built.shape)
    size = command.count * 4 * math.prod(run.inference.program.built.shape)
    if not picture and size > (free := shutil.disk_usage(command.out.absolute().parent).free):
        raise ConfigError(
            f"--count {command.count} takes {size / 1e9:,.1f} GB, and {command.out.absolute().parent} has "
            f"{free / 1e9:,.1f} GB left; draw fewer"
        )
    count, seed, temperature = command.count, command.seed, command.temperature
    made = transforms.samples(run.inference, count, seed=seed, temperature=temperature, picture=picture)
    if command.nearest:
        train = run.split("train")
        made = generation.beside(run.inference, train, count, seed=seed, temperature=temperature, picture=picture)
    written = write_out(command.out, made, count, "samples", run.columns)
    found: dict[str, Any] = {"seed": seed, "temperature": temperature}
    if command.nearest:
        found = run.judge.generation(seed=seed, temperature=temperature)
    said = sentences(found) if command.nearest else []
    show(command, run, {"count": count, **found, **written}, [], said, kept=command.nearest)
    return 0
