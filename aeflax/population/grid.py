"""The grid of a sweep: which fields vary, over which values, and the experiments that this makes. Standard library."""

import itertools
import json
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aeflax.config import Experiment, kinds
from aeflax.config.schema import nearest, options, walk
from aeflax.config.validation import validate
from aeflax.errors import ConfigError

MAX_MEMBERS = 4096
SEED = "train.seed"
ALONE = ("train.patience", "train.placement", "train.fsdp", "train.sharding", "train.digest_every")
DIGITS = 300  # of a number; more are beyond any float
MODEL, PENALTIES = "model.", "model.penalties."
POINTED = re.compile(r"[+-]?(\d+\.\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)  # a number as Python has it
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")


@dataclass(frozen=True)
class Axis:
    """A field of the experiment by its dotted path, and the values that it takes; of a part of the model, its kinds."""

    field: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Member:
    """One model of a sweep: what the axes set, and the experiment that it makes."""

    index: int
    settings: Mapping[str, Any]
    experiment: Experiment


def axis(text: str, experiment: Experiment) -> Axis:
    """Reads `FIELD=A,B,C`, or `FIELD=A..B`, all integers from A to B. Words of one value are parted by spaces.

    Raises:
      ConfigError: for a field that there is not, and a text that names no values.
    """
    name, equals, listed = text.partition("=")
    field = name.strip().replace("-", "_")
    if not equals or not field or not listed.strip():
        raise ConfigError(f"--grid {text} has the form FIELD=V1,V2,... or FIELD=A..B, e.g. train.seed=0..7")
    hint = _hint(field, experiment)
    if found := _RANGE.fullmatch(listed.strip()):
        if max(map(len, found.groups())) > DIGITS:
            raise ConfigError(f"--grid {field} names a number of more than {DIGITS} digits; write a smaller one")
        first, last = map(int, found.groups())
        if last < first:
            raise ConfigError(f"--grid {text} counts up: write {field}={last}..{first}")
        if last - first >= MAX_MEMBERS:
            raise ConfigError(
                f"--grid {text} names {last - first + 1:,} values; at most {MAX_MEMBERS:,} can be trained"
            )
        return _axis(field, range(first, last + 1), hint)
    return _axis(field, (_value(word.strip(), hint) for word in listed.split(",")), hint)


def axes(grid: Mapping[str, Iterable[Any]] | Sequence[Axis], experiment: Experiment) -> tuple[Axis, ...]:
    """Axes from Python values, e.g. {"train.seed": range(8)}. Raises ConfigError for a field that cannot vary."""
    found = []
    if isinstance(grid, str):
        raise ConfigError(f"the grid is {grid!r}; name fields and their values, e.g. {{'train.seed': range(4)}}")
    for field, values in grid.items() if isinstance(grid, Mapping) else ((one.field, one.values) for one in grid):
        hint = _hint(field, experiment)
        if not isinstance(values, Iterable):
            raise ConfigError(f"the grid's {field} is {values!r}; name its values in a list, e.g. [{values!r}]")
        found.append(_axis(field, (values,) if isinstance(values, str) else values, hint))
    return tuple(found)


def members(experiment: Experiment, grid: Sequence[Axis]) -> tuple[Member, ...]:
    """All combinations of the axes' values, the last axis varying fastest.

    Raises:
      ConfigError: for a field that two axes vary, for too many combinations, and for an experiment that none can be.
    """
    if twice := {one.field for one in grid if sum(other.field == one.field for other in grid) > 1}:
        raise ConfigError(f"{' and '.join(sorted(twice))} stands in the grid twice; name all its values at once")
    for one in grid:
        if inside := [other.field for other in grid if other.field.startswith(f"{one.field}.")]:
            raise ConfigError(
                f"a grid varies either {one.field} or {inside[0]}, a number of one kind; run a sweep for each kind"
            )
    count = 1
    for one in grid:
        count *= len(one.values)
    if count > MAX_MEMBERS:
        raise ConfigError(f"the grid has {count:,} combinations; at most {MAX_MEMBERS:,} can be trained")
    found = []
    for index, values in enumerate(itertools.product(*(one.values for one in grid))):
        settings = dict(zip((one.field for one in grid), values, strict=True))
        changed = experiment
        try:
            for field, value in settings.items():
                changed = _with(changed, field, value)
            found.append(Member(index, settings, validate(changed)))
        except ConfigError as error:
            raise ConfigError(f"--grid with {described(settings)}: {error}") from error
    return tuple(found)


def described(settings: Mapping[str, Any]) -> str:
    """Settings in a few words: `train.seed=3 optimizer.learning_rate=0.001`."""
    return " ".join(f"{field}={_shown(value)}" for field, value in settings.items()) or "seeds alone"


def short(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under the last word of their fields' paths, or as many of the last as tell them apart.

    A penalty's number keeps the penalty's name: most of them are a weight.
    """
    words = 1
    while len(names := [_last(name, words) for name in settings]) > len(set(names)):
        words += 1
    return dict(zip(names, settings.values(), strict=True))


def _last(field: str, words: int) -> str:
    parts = field.split(".")
    least = 2 if field.startswith(PENALTIES) and len(parts) > PENALTIES.count(".") + 1 else 1
    return ".".join(parts[-max(words, least) :])


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "×".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def seedless(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What members share that differ in their seeds alone."""
    return {name: value for name, value in settings.items() if name != SEED}


def identity(settings: Mapping[str, Any]) -> str:
    """The same to the last digit: a key, not for the eye."""
    return repr(sorted(seedless(settings).items()))


def _axis(field: str, values: Iterable[Any], hint: Any) -> Axis:
    try:
        wanted = tuple(_fitting(value, hint) for value in values)
        different = len(set(wanted))
    except (OverflowError, TypeError) as error:
        raise ConfigError(f"the grid names a value that {field} cannot have: {error}") from error
    if not wanted:
        raise ConfigError(f"the grid names no value of {field}")
    if hint is str and (others := [value for value in wanted if not isinstance(value, str)]):
        words = ", ".join(map(repr, kinds.choices()[field.removeprefix(MODEL)]))
        raise ConfigError(f"the grid's {field} takes the words {words}, as on the command line, not {others[0]!r}")
    if different < len(wanted):
        raise ConfigError(f"the grid names a value of {field} twice: {', '.join(map(_shown, wanted))}")
    return Axis(field, wanted)


def _hint(field: str, experiment: Experiment) -> Any:
    """The annotation of a field that can vary."""
    if _chosen(field):
        return str  # a word for a part
    known = {path: hint for path, hint, _ in walk(experiment)}
    if inside := [path for path in known if path.startswith(f"{field}.")]:
        raise ConfigError(f"the grid varies {field}, which is no single value; vary a field of it, such as {inside[0]}")
    if field not in known:
        off = [path for path, _, value in walk(experiment) if field.startswith(f"{path}.") and value is None]
        if off:
            switch = off[0].replace("_", "-")
            raise ConfigError(f"the grid varies {field}, but {off[0]} is off; switch it on with --{switch} on")
        if _chosen(part := field.rpartition(".")[0]):
            names = [path.removeprefix(f"{part}.") for path in known if path.startswith(f"{part}.")]
            if near := nearest(field.removeprefix(f"{part}."), names):
                raise ConfigError(f"the grid varies {field}, which {part} does not have{near}")
            kind = "a sweep varies a number of the kind that the experiment has; choose that first, a sweep for each"
            raise ConfigError(f"the grid varies {field}, which this experiment's {part} does not have: {kind}")
        raise ConfigError(f"the grid varies {field}, which is no field of this experiment{nearest(field, known)}")
    if field in ALONE:
        raise ConfigError(f"the grid varies {field}, which is of a run alone; leave it out")
    if field.startswith("data."):
        raise ConfigError(f"the grid varies {field}, but all models of a sweep see the same data; run a sweep for each")
    return known[field]


def _chosen(field: str) -> bool:
    """Whether a field is a part of the model that is chosen by a word."""
    return field.startswith(MODEL) and field.removeprefix(MODEL) in kinds.choices()


def _value(word: str, hint: Any) -> Any:
    """One value as it stands in a grid."""
    if hint is str:
        return word
    if any(typing.get_origin(option) is tuple for option in options(hint)):
        return tuple(_plain(part) for part in word.split())
    return _plain(word)


def _plain(word: str) -> Any:
    if word in ("None", "True", "False"):
        return {"None": None, "True": True, "False": False}[word]
    try:
        found = json.loads(word)
    except ValueError:  # no number as JSON has it: .5, 1., or one of too many digits
        return float(word) if POINTED.fullmatch(word) and len(word) < DIGITS else word
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else word


def _fitting(value: Any, hint: Any) -> Any:
    """A whole number as a float where the field is one, and NumPy's scalars as Python's."""
    value = value.tolist() if hasattr(value, "tolist") else value
    value = tuple(value) if isinstance(value, list) else value
    if isinstance(value, int) and not isinstance(value, bool):
        bare = [typing.get_args(option)[0] if hasattr(option, "__metadata__") else option for option in options(hint)]
        return float(value) if float in bare and int not in bare else value
    return value


def _with(experiment: Experiment, field: str, value: Any) -> Experiment:
    """An experiment with one field changed, or one part chosen."""
    if _chosen(field):
        return replace(experiment, model=kinds.choose(experiment.model, field.removeprefix(MODEL), value))
    changed: Experiment = _replaced(experiment, field, value)
    return changed


def _replaced(part: Any, field: str, value: Any) -> Any:
    name, _, rest = field.partition(".")
    return replace(part, **{name: _replaced(getattr(part, name), rest, value) if rest else value})
