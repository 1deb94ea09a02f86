"""What may be chosen in a model by a word: the kind that fills a slot, and whether an optional part is there.

Paths are dotted and begin below the model: `corruption` is a slot, `penalties.l1` an optional part. Standard library.
"""

from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

from aeflax.config import Model, Penalties
from aeflax.config.schema import Part, hints, nearest, options
from aeflax.errors import ConfigError

SWITCH = ("on", "none")


def slots() -> dict[str, type[Part]]:
    """Slots with a choice of kinds, by path; of penalties there is one where a user has added records."""
    parts = {name: hint for name, hint in hints(Model).items() if isinstance(hint, type) and issubclass(hint, Part)}
    return {name: slot for name, slot in parts.items() if len(slot.kinds) > 1}


def optional() -> dict[str, Any]:
    """Optional parts by path: the penalties of every record that there is, and those of the model itself."""
    found = {}
    records: list[tuple[str, Any]] = [("penalties.", record) for record in Penalties.kinds.values()]
    for prefix, record in (*records, ("", Model)):
        for name, hint in hints(record).items():
            if type(None) in options(hint) and (part := next(filter(is_dataclass, options(hint)), None)) is not None:
                found[prefix + name] = part
    return found


def choices() -> dict[str, tuple[str, ...]]:
    """The words that each path takes."""
    return {path: tuple(slot.kinds) for path, slot in slots().items()} | dict.fromkeys(optional(), SWITCH)


def told(model: Model) -> str:
    """The parts of a model in a line, e.g. `masking, dense, deterministic, bernoulli, with l1`."""
    parts = [kind for name in slots() if name != "penalties" and (kind := getattr(model, name).kind) != "none"]
    also = [name.rpartition(".")[2] for name in optional() if held(model, name) is not None]
    return ", ".join(parts) + (f", with {' and '.join(dict.fromkeys(also))}" if also else "")


def held(model: Model, path: str) -> Any:
    """The optional part at a path; None where it is off, or its record has none of that name."""
    record, _, name = path.rpartition(".")
    return getattr(getattr(model, record) if record else model, name, None)


def choose(model: Model, path: str, word: str) -> Model:
    """The model with a part of another kind, or with an optional part on or off.

    A kind comes with its own numbers; what is there already keeps those that it has, and a record of penalties those of
    the one before it.

    Raises:
      ConfigError: for a word that the path does not take.
    """
    return _of_kind(model, path, word) if path in slots() else _switched(model, path, word)


def _of_kind(model: Model, path: str, kind: str) -> Model:
    kinds = slots()[path].kinds
    if kind not in kinds:
        raise ConfigError(f"model.{path} has no kind {kind!r}; choose {', '.join(kinds)}{nearest(kind, kinds)}")
    if getattr(model, path).kind == kind:
        return model
    changes: dict[str, Any] = {path: succeeding(getattr(model, path), _made(kinds[kind], path))}
    return replace(model, **changes)


def succeeding(before: Any, part: Any) -> Any:
    """A part in the place of another one: of records of penalties with those that were there."""
    if not (isinstance(before, Penalties) and isinstance(part, Penalties)):
        return part
    kept = {name: getattr(before, name) for name in hints(type(before)) if name in hints(type(part))}
    return replace(part, **kept)


def _switched(model: Model, path: str, state: str) -> Model:
    if state not in SWITCH:
        raise ConfigError(f"model.{path} takes on or none, not {state!r}")
    place, _, name = path.rpartition(".")
    record = getattr(model, place) if place else model
    if not hasattr(record, name):  # of a record of the user's
        kinds = [kind for kind, other in Penalties.kinds.items() if name in hints(other)]
        return _switched(_of_kind(model, place, kinds[0]), path, state)
    part = (getattr(record, name) or _made(optional()[path], path)) if state == "on" else None
    changes: dict[str, Any] = {name: part}
    if place:
        changes = {place: replace(record, **changes)}
    return replace(model, **changes)


def _made(part: type[Any], path: str) -> Any:
    """A part with its own numbers."""
    bare = [one.name for one in fields(part) if one.default is MISSING and one.default_factory is MISSING]
    if bare:
        raise ConfigError(f"model.{path}: {part.__name__} has no default for {', '.join(bare)}; give the field one")
    return part()
