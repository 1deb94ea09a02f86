"""Chooses the kinds of a model's parts from command-line words, before the options of those kinds are parsed.

--model.corruption masking           fills a slot by kind (also: model.corruption:masking)
--model.corruption.sigma 0.2         a field that only one kind has names that kind
--model.penalties.l1.weight 1e-4     switches an optional part on
--model.penalties.l1 none            switches it off
"""

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any

from aeflax.config import Model
from aeflax.errors import ConfigError
from aeflax.schema import Part, hints, nearest, options

_WORD = re.compile(r"^(?:--)?model\.([\w.-]+?)(?:[:=](.*))?$")


def choose_parts(model: Model, arguments: list[str]) -> tuple[Model, list[str]]:
    """The model with the kinds that the arguments name, and the arguments that are left for its fields.

    Raises:
      ConfigError: for an unknown kind.
    """
    left: list[str] = []
    changes: dict[str, Any]
    words = iter(arguments)
    for word in words:
        match = _WORD.match(word)
        path = match[1].replace("-", "_") if match else ""
        if match and path in _slots():
            kind = match[2] if match[2] is not None else next(words, "")
            changes = {path: _of_kind(_slots()[path], kind, f"model.{path}")}
            model = replace(model, **changes)
        elif match and path in _optional():
            name, state = path.split(".")[-1], match[2] if match[2] is not None else next(words, "")
            if state not in ("on", "none"):
                raise ConfigError(f"--model.{path} takes on or none, not {state!r}")
            model = _with_penalty(model, name, on=state == "on")
        else:
            model = _implied(model, path)
            left.append(word)
    return model, left


def describe_slots(model: Model) -> str:
    """One line a slot: its kinds, for the help text."""
    lines = ["Trains, evaluates and keeps a run. Parts of the model are chosen by kind:"]
    for name, slot in _slots().items():
        lines.append(f"  --model.{name} {{{','.join(slot.kinds)}}} (default: {getattr(model, name).kind})")
    for path in _optional():
        lines.append(f"  --model.{path} {{on,none}}")
    return "\n".join(lines) + "\nThe options below are those of the kinds chosen so far."


def _slots() -> dict[str, type[Part]]:
    return {name: hint for name, hint in hints(Model).items() if isinstance(hint, type) and issubclass(hint, Part)}


def _optional() -> dict[str, Any]:
    """Optional parts by path: the penalties."""
    record = hints(Model)["penalties"]
    parts = {name: next(filter(is_dataclass, options(hint)), None) for name, hint in hints(record).items()}
    return {f"penalties.{name}": part for name, part in parts.items() if part is not None}


def _of_kind(slot: type[Part], kind: str, path: str) -> Part:
    if kind not in slot.kinds:
        raise ConfigError(f"{path} has no kind {kind!r}; choose {', '.join(slot.kinds)}{nearest(kind, slot.kinds)}")
    return slot.kinds[kind]()


def _with_penalty(model: Model, name: str, *, on: bool) -> Model:
    part = _optional()[f"penalties.{name}"]
    current = getattr(model.penalties, name)
    return replace(model, penalties=replace(model.penalties, **{name: (current or part()) if on else None}))


def _implied(model: Model, path: str) -> Model:
    """Switches to the one kind that has the field, or the optional part on that holds it."""
    head, _, field = path.rpartition(".")
    if head in _optional():
        return _with_penalty(model, head.split(".")[-1], on=True)
    if head in _slots() and field not in {known.name for known in fields(getattr(model, head))}:
        kinds = [kind for kind, part in _slots()[head].kinds.items() if field in hints(part)]
        if len(kinds) == 1:
            changes: dict[str, Any] = {head: _slots()[head].kinds[kinds[0]]()}
            return replace(model, **changes)
        if kinds:
            raise ConfigError(f"--model.{path} belongs to {' and '.join(kinds)}; add --model.{head} {kinds[0]} first")
    return model
