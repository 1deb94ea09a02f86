"""The command line: parses, validates, calls. It holds no logic, and imports JAX only when a command runs.

Results go to standard output, progress and messages to standard error.
"""

import faulthandler
import importlib
import logging
import os
import re
import signal
import sys
import textwrap
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from aeflax import __version__
from aeflax.cli import answer, cache, job, streams
from aeflax.cli.stopping import end_at_once
from aeflax.config.schema import nearest
from aeflax.errors import (
    AeflaxError,
    AeflaxWarning,
    ConfigError,
    StoppedError,
    is_out_of_memory,
    no_devices,
    reason,
)
from aeflax.presets import PRESETS

ASKED = "AEFLAX_COMPLETE"  # set: a shell asks what may follow, and nothing is run
HELP = """\
usage: aeflax COMMAND [ARGUMENTS]

Trains autoencoders with JAX, fast and reproducibly.

commands:
  train [PRESET | FILE.py]   train, evaluate and keep a run; without a name:
                             vanilla on digits
  sweep [PRESET | FILE.py]   train all models of a grid as few compiled
                             programs
  evaluate RUN               metrics of a kept run over a split
  report RUN                 draw a run's figures and report.html anew
  encode RUN IN OUT          codes of the examples in a file
  reconstruct RUN IN OUT     their reconstructions
  denoise RUN IN OUT         noisy examples restored
  compress RUN IN OUT        quantised codes of the examples, as one small file
  decompress RUN IN OUT      their reconstructions from it
  sample RUN OUT             examples drawn from the prior of a vae
  interpolate RUN IN OUT     what lies between two examples
  traverse RUN OUT           what each dimension of the code does
  detect RUN IN OUT          how odd each example is, and which are anomalies
  codes RUN                  how good the codes are, beside PCA and raw inputs
  diagnose RUN               what ails a posterior or a sparse code
  finetune RUN               whether classifiers gain from the encoder
  trust RUN                  whether a small error means anything
  export RUN --format F      the model as StableHLO, ONNX or safetensors
  verify RUN                 whether a kept run is still what was written
  bench [PRESET | FILE.py]   how fast it trains on this machine
  doctor                     what is installed, which devices there are, what
                             is wrong and how to mend it
  completion SHELL           a script that lets bash, zsh or fish complete

presets:
{presets}

examples:
  aeflax train
  aeflax train vae --data.source mnist --train.epochs 20
  aeflax train conv --model.corruption gaussian --model.corruption.sigma 0.3
  aeflax train vanilla --run-dir runs/first --resume
  aeflax sweep vae --grid model.penalties.kl.beta=0.5,1,2 --grid train.seed=0..3
  aeflax evaluate runs/first --split train --json
  aeflax encode runs/first images.npy codes.npz

aeflax COMMAND --help lists all options of a command, and
aeflax train PRESET --help a preset's own defaults. Every command takes
--define FILE.py, which runs a file of yours first: for runs with parts of
a kind that it registers.

Exit codes: 0 done, 1 a bug of ours, 2 configuration, 3 diverged,
4 checkpoint, 5 data, 6 run in use, 75 stopped by a signal, everything saved,
130 or 143 quit at once by a signal."""

COMMANDS = {
    "train": "aeflax.cli.train:main",
    "sweep": "aeflax.cli.sweep:main",
    "evaluate": "aeflax.cli.use:evaluate",
    "report": "aeflax.cli.use:report",
    "encode": "aeflax.cli.use:encode",
    "reconstruct": "aeflax.cli.use:reconstruct",
    "sample": "aeflax.cli.sample:main",
    "interpolate": "aeflax.cli.interpolate:main",
    "traverse": "aeflax.cli.traverse:main",
    "denoise": "aeflax.cli.denoise:main",
    "compress": "aeflax.cli.compress:compress",
    "decompress": "aeflax.cli.compress:decompress",
    "detect": "aeflax.cli.detect:main",
    "codes": "aeflax.cli.codes:main",
    "diagnose": "aeflax.cli.diagnose:main",
    "finetune": "aeflax.cli.finetune:main",
    "trust": "aeflax.cli.trust:main",
    "export": "aeflax.cli.export:main",
    "verify": "aeflax.cli.verify:main",
    "bench": "aeflax.cli.bench:main",
    "doctor": "aeflax.cli.doctor:main",
    "completion": "aeflax.cli.completion:main",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    streams.hold()
    if ASKED in os.environ:
        from aeflax.cli import completion

        completion.answer(arguments, list(COMMANDS), _dispatch)
        return 0
    _speak_of_warnings()
    code, alike = _answer(arguments)
    job.leave(code, alike=alike)
    return code


def _answer(arguments: list[str]) -> tuple[int, bool]:
    """Runs a command -> its exit code, and whether other processes of the same job end like this one."""
    try:
        return _dispatch(arguments), True
    except SystemExit as error:  # from the parser, which has printed why
        code = error.code if isinstance(error.code, int) else ConfigError.exit_code
        _tell(arguments, code, "the command has mistakes, which standard error names")
        return code, True
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
        _tell(arguments, code, f"quit at once by {signal.SIGINT.name}")
        return code, False
    except Exception as error:
        code, alike, said = _explained(error)
        print(f"aeflax: {said}", file=sys.stderr)  # noqa: T201
        _tell(arguments, code, said, **getattr(error, "details", {}))
        return code, alike


def _tell(arguments: list[str], code: int, said: str, **details: Any) -> None:
    """Says that a command failed as JSON, too, where its result was to be that."""
    if code and answer.awaited(arguments) and job.speaks():
        print(answer.failed(code, said, **details))  # noqa: T201


def _explained(error: Exception) -> tuple[int, bool, str]:
    """An exit code for an error, whether other processes of the job meet it, too, and what to say of it."""
    if isinstance(error, AeflaxError):
        return error.exit_code, True, _readable(error)
    if job.peer_is_lost(error):
        mend = "run the same command on all of them with --resume, to go on from the last checkpoint"
        faulthandler.dump_traceback()  # what this one was waiting for
        return StoppedError.exit_code, False, f"another process of this run is gone; {mend} ({reason(error)})"
    alike, wrong = job.met_by_all(error), ConfigError.exit_code
    mistakes = sys.modules.get("aeflax.mistakes")
    if mistakes is not None and (said := mistakes.explained(error)):
        return wrong, alike, said
    if is_out_of_memory(error):
        mend = "lower data.batch_size, or make the model smaller (model.latent_dim, model.backbone)"
        return wrong, alike, f"out of memory ({reason(error)}); {mend}"
    if why := no_devices(error):
        asked = f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}"
        return wrong, alike, f"JAX finds no device for {asked} ({why}); unset it, or see aeflax doctor"
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != "aeflax":
        mend = "install it, or aeflax anew with all that it needs"
        return wrong, alike, f"the package {error.name} is missing; {mend} (aeflax doctor)"
    traceback.print_exception(error)
    kind = f"{type(error).__name__}: {reason(error)}"
    return 1, alike, f"this is a bug of ours ({kind}); please report it with the lines above"


def _dispatch(arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    if name in COMMANDS:
        end_at_once(json=answer.awaited(arguments))
        _leave_out_what_errors_say()
        cache.enable()
        words = _define(arguments[1:])
        module, _, function = COMMANDS[name].partition(":")
        code: int = getattr(importlib.import_module(module), function)(words)
        return code
    if name in ("-V", "--version"):
        from aeflax import surroundings

        print(f"aeflax {__version__}\n{surroundings.stack()}\ndevices: {surroundings.devices()}")  # noqa: T201
        return 0
    if name in ("", "-h", "--help", "help"):
        first = {key: (preset.__doc__ or "").splitlines()[0] for key, preset in PRESETS.items()}
        lines = (textwrap.fill(f"  {key:<11}{line}", 78, subsequent_indent=" " * 13) for key, line in first.items())
        presets = "\n".join(lines)
        print(HELP.format(presets=presets), file=sys.stdout if name else sys.stderr)
        return 0 if name else 2
    hints = {preset: f"; did you mean aeflax train {preset}?" for preset in PRESETS}
    hint = {**hints, "version": "; did you mean --version?"}.get(name) or nearest(name, COMMANDS)
    raise ConfigError(f"unknown command {name!r}{hint} (see aeflax --help)")


def _define(words: list[str]) -> list[str]:
    """Runs the files that --define names; returns the other words."""
    left, rest = [], iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option != "--define":
            left.append(word)
            continue
        from aeflax.cli.naming import run_file

        if not (file := value if equals else next(rest, "")):
            raise ConfigError("--define needs a Python file")
        run_file(file)
    return left


def _speak_of_warnings() -> None:
    """Lets our own warnings read like our errors."""
    shown = warnings.showwarning
    answer.warned.clear()

    def show(message: Warning | str, category: type[Warning], *details: Any, **more: Any) -> None:
        if issubclass(category, AeflaxWarning):
            answer.warned.append(said := _readable(message))
            print(f"aeflax: {said}", file=sys.stderr)  # noqa: T201
        else:
            shown(message, category, *details, **more)

    warnings.showwarning = show
    warnings.simplefilter("always", AeflaxWarning)


def _readable(said: object) -> str:
    """A message without the places in memory that Python writes into the names of objects."""
    return re.sub(r" at 0x[0-9a-f]+(?=>)", "", str(said))


def _leave_out_what_errors_say() -> None:
    """Orbax and tensorstore print tracebacks of what they also raise, and that becomes a sentence of ours."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: record.name not in ("absl", "asyncio"))
    logging.getLogger().addHandler(handler)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)  # of a save that failed
    shown = sys.unraisablehook

    def show(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":  # a save failed that others still waited for
            shown(unraisable)

    sys.unraisablehook = show
