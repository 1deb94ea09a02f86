"""Configurations as plain JSON values, read back, and compared. Nothing here knows what an autoencoder is."""

import dataclasses
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from aeflax.config.schema import Part, hints, nearest, parts, problems
from aeflax.errors import ConfigError

T = TypeVar("T")

DEFINE = "--define FILE.py"  # with a file of the user's


def to_dict(config: Any) -> dict[str, Any]:
    """Plain JSON values; a slot's part carries its kind."""
    plain: dict[str, Any] = {"kind": config.kind} if isinstance(config, Part) else {}
    for field in fields(config):
        value = getattr(config, field.name)
        plain[field.name] = (
            to_dict(value) if is_dataclass(value) else list(value) if isinstance(value, tuple) else value
        )
    return plain


def from_dict(cls: type[T], plain: Mapping[str, Any]) -> T:
    """Inverse of `to_dict`.

    Raises ConfigError on an unknown field or kind, or values that do not fit. A kind is looked up among the
    registered classes only: reading a stored configuration never imports anything.
    """
    built = _build(cls, plain, "")
    if found := problems(built):
        raise ConfigError("; ".join(found))
    return built


def _build(cls: type[T], plain: Mapping[str, Any], path: str) -> T:
    values = dict(plain)
    if issubclass(cls, Part):
        cls = _kind(cls, values.pop("kind", None), path)
    known = hints(cls)
    for name in values:
        if name not in known:
            shown = name if name.isprintable() else repr(name)
            raise ConfigError(f"unknown field {path}{shown} of {cls.__name__}{nearest(name, known)}")
    built = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            if not (inner := parts(known[name])):
                raise ConfigError(f"{path}{name}={dict(value)!r} is a record where a single value belongs")
            built[name] = _build(inner[0], value, f"{path}{name}.")
        else:
            built[name] = tuple(value) if isinstance(value, list) else value
    return cls(**built)


def _kind(slot: type[Any], kind: Any, path: str) -> type[Any]:
    if not isinstance(kind, str) or kind not in slot.kinds:
        raise ConfigError(
            f"{path.rstrip('.') or slot.__name__} has the kind {kind!r}, which is not registered"
            f" (known: {', '.join(slot.kinds)}); import the module that defines it first, or add {DEFINE}"
        )
    return slot.kinds[kind]  # type: ignore[no-any-return]


def differences(old: Any, new: Any) -> list[str]:
    """Dotted paths at which two configurations differ, as `path: old -> new`."""
    return list(differing(old, new).values())


def differing(old: Any, new: Any, prefix: str = "") -> dict[str, str]:
    """The same by the paths."""
    found: dict[str, str] = {}
    before, after = to_dict(old), to_dict(new)
    for name in dict.fromkeys([*before, *after]):
        path, was, now = prefix + name, getattr(old, name, None), getattr(new, name, None)
        if is_dataclass(was) and is_dataclass(now):
            found |= differing(was, now, path + ".")
        elif was != now:
            found[path] = f"{path}: {_show(was)} -> {_show(now)}"
    return found


def _show(value: Any) -> str:
    return str(to_dict(value)) if dataclasses.is_dataclass(value) else repr(value)
