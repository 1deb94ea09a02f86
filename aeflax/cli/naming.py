"""The experiment that a command names first: a preset or a Python file, with the kinds of its parts chosen."""

import difflib
import itertools
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from aeflax import mistakes
from aeflax.cli.slots import choose_parts, describe_slots, is_choice
from aeflax.config import Experiment
from aeflax.config.plain import from_dict
from aeflax.config.schema import problems
from aeflax.config.sources import as_source
from aeflax.data.places import is_source
from aeflax.errors import AeflaxError, ConfigError, warn
from aeflax.presets import PRESETS
from aeflax.rundir.runs import with_file

DOES = {
    "train": "Trains, evaluates and keeps a run.",
    "sweep": "Trains one model for every combination of --grid values, those of one structure as one program.",
    "bench": "Measures how fast a model trains on this machine.",
}


@dataclass(frozen=True)
class Named:
    """What a command line says of its experiment, and what is left of it for the parser.

    Attributes:
      name: a preset or a Python file.
      experiment: with the chosen kinds of parts, before its fields are parsed.
      arguments: without the name and the choices.
      prog: how usage lines call the command.
      description: of the parts, for `--help`.
      faults: what is wrong with the choices, a sentence each.
    """

    name: str
    experiment: Experiment
    arguments: list[str]
    prog: str
    description: str
    faults: list[str]


def named_experiment(command: str, arguments: list[str], resumed: Mapping[str, Any] | None = None) -> Named:
    """Takes the preset or file off the arguments of a command; without one it is vanilla, or what is `resumed`.

    Args:
      command: its name.
      arguments: of the command.
      resumed: the manifest of the run that goes on, None where none does.

    Raises:
      ConfigError: for a name that is no preset, and a file that defines no experiment.
    """
    given = bool(arguments) and not arguments[0].startswith("-") and not is_choice(arguments[0])
    if given or resumed is None:
        name, arguments = (arguments[0], arguments[1:]) if given else ("vanilla", arguments)
        experiment = _starting_point(name)
    else:
        try:
            name, experiment = str(resumed["preset"]), from_dict(Experiment, resumed["experiment"])
        except ConfigError as error:
            raise ConfigError(with_file(error, resumed)) from error
    model, arguments, faults = choose_parts(experiment.model, arguments)
    prog = f"aeflax {command} {name if given else '[PRESET|FILE.py]'}"
    description = describe_slots(model, DOES[command])
    return Named(name, replace(experiment, model=model), arguments, prog, description, faults)


def resumed(arguments: list[str], read: Callable[[Path], dict[str, Any]]) -> dict[str, Any] | None:
    """What `read` knows of the directory that the arguments go on with; None where they do not, or it holds nothing."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    places = [after for word, after in itertools.pairwise(words) if word in ("--run-dir", "--run_dir")]
    with suppress(ConfigError):  # it is told of later
        return read(Path(places[-1])) if places and "--resume" in arguments else None
    return None


def _starting_point(name: str) -> Experiment:
    """The experiment of a preset, or `CONFIG` of a Python file."""
    if name in PRESETS:
        return PRESETS[name]()
    if not name.endswith(".py"):
        near = difflib.get_close_matches(name.lower(), PRESETS, n=1)
        hint = f"did you mean {near[0]}? There are" if near else "choose"
        if source := name if is_source(name) else as_source(name):
            hint = f"it is a source of data: add --data.source {source} to"
        raise ConfigError(f"unknown preset {name!r}; {hint} {', '.join(PRESETS)}, or a Python file that defines CONFIG")
    module = run_file(name)
    found = getattr(module, "CONFIG", None)
    if found is None:
        raise ConfigError(f"{name} defines no CONFIG, an aeflax.config.Experiment; add one")
    if not isinstance(found, Experiment):
        raise ConfigError(
            f"CONFIG in {name} is of the type {type(found).__name__}, and must be an aeflax.config.Experiment"
        )
    if faults := problems(found):
        raise ConfigError(f"CONFIG in {name} is wrong: {'; '.join(faults)}")
    return found


def run_file(name: str) -> ModuleType:
    """Runs a Python file of the user's, for what it defines.

    Raises:
      ConfigError: where there is no such file, or it fails.
    """
    if not Path(name).is_file():
        raise ConfigError(f"{name} is no file; check the path")
    module = ModuleType("aeflax_experiment")
    module.__file__ = name
    mistakes.ran.add(name)
    sys.modules[module.__name__] = module  # where the parser looks up the help texts of parts that the file defines
    if (beside := str(Path(name).resolve().parent)) not in sys.path:
        sys.path.insert(0, beside)  # so that it imports what lies beside it, as Python does
    try:
        content = Path(name).read_bytes()
        before = _drawn(content)
        exec(compile(content, name, "exec"), vars(module))
        if _drawn(content) != before:
            said = f"{name} draws from np.random while it is read, which gives something else in every process"
            warn(f"{said}; draw from np.random.default_rng(SEED)")
    except AeflaxError:
        raise
    except (Exception, SystemExit) as error:
        mend = "; annotate what the factory takes: def _(part: MyPart)" if "to register()" in str(error) else ""
        raise ConfigError(f"{mistakes.place(error, name)} fails: {type(error).__name__}: {error}{mend}") from error
    return module


def _drawn(content: bytes) -> tuple[Any, ...] | None:
    """The state of NumPy's own generator, of a file that may draw from it and does not seed it; of others None."""
    if not (b"np.random" in content or b"numpy.random" in content) or b"seed(" in content:
        return None
    import jax  # draws from it when it is imported
    import numpy as np

    del jax
    _, keys, place, *_ = np.random.get_state(legacy=True)  # noqa: NPY002 - to see whether somebody draws from it
    return place, np.asarray(keys).tobytes()
