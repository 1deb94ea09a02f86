"""`aeflax export`: a kept run as StableHLO, ONNX or safetensors."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aeflax.cli import answer
from aeflax.cli.kept import RunCommand, open_run
from aeflax.cli.parsing import console, parse, say
from aeflax.errors import ConfigError, warn
from aeflax.rundir import runs


@dataclass(frozen=True, kw_only=True)
class ExportCommand(RunCommand):
    """Arguments of `aeflax export`."""

    # stablehlo: any batch size on cpu, cuda and tpu, read by JAX and flatbuffers alone; onnx: read by onnxruntime and
    # others; safetensors: the weights by name
    format: Literal["stablehlo", "onnx", "safetensors"] = "stablehlo"
    # a folder; None: export/FORMAT in RUN
    out: Path | None = None


def main(arguments: list[str]) -> int:
    """Writes a model in another form, and prints where."""
    what = (
        "Writes encoder, decoder and the whole of a kept run as functions that run without aeflax, or its weights, "
        "with a manifest of inputs, outputs and digests. What is written was compared with the model."
    )
    command: ExportCommand = parse(ExportCommand, arguments, "aeflax export", what)
    place = command.out or command.run / runs.EXPORTS / command.format
    if place.exists() and not place.is_dir():
        raise ConfigError(f"{place} is a file; an export is a folder, choose another --out")

    run = open_run(command)

    from rich.table import Table

    steps = run.experiment.train.steps or 0
    if command.step == "latest" and run.summary is None and run.step < steps:
        finished = (command.run / runs.SUMMARY).exists()  # and its last checkpoint is damaged
        said = ": this is not its last state, but" if finished else " is not finished: this is its"
        warn(f"{command.run}{said} step {run.step:,} of {steps:,}")
    if command.format != "safetensors":
        say(console(stderr=True), f"making {command.format} of step {run.step:,}, and comparing it with the model")
    try:
        run.export(command.format, place)
    except OSError as error:
        raise ConfigError(f"cannot write to {place}: {error.strerror}; choose another --out") from error
    told = json.loads((place / runs.EXPORTED).read_text(encoding="utf-8"))
    table = Table(title=f"{place}, step {run.step:,}", title_justify="left")
    ways = {"takes": "input", "gives": "output"} if any("input" in file for file in told["files"].values()) else {}
    for title in ("file", *ways, "bytes"):
        table.add_column(title, justify="right" if title == "bytes" else "left")
    for name, file in told["files"].items():
        ports = (_port(file[way]) for way in ways.values())
        table.add_row(name, *ports, f"{file['bytes']:,}")
    if "checked" in told:
        table.caption = f"differs from the model by {told['checked']['largest_difference']:.1e} of its output at most"
    console(stderr=command.json).print(table)
    if command.json:
        answer.give({"path": str(place), **told})
    return 0


def _port(told: dict[str, object]) -> str:
    from rich.markup import escape

    shape = told["shape"]
    assert isinstance(shape, list)
    return escape(f"{told['name']} [{', '.join(map(str, shape))}]")
