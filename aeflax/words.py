"""An experiment in words: the arguments of `aeflax train` that give exactly this one.

Needs the standard library alone.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from aeflax import config
from aeflax.config import kinds
from aeflax.config.plain import from_dict
from aeflax.config.schema import Part, hints, is_ours
from aeflax.config.sources import ARRAY
from aeflax.errors import ConfigError
from aeflax.presets import PRESETS


def arguments(experiment: config.Experiment, preset: str, define: str | None = None) -> list[str]:
    """The words after `aeflax train` that give this experiment: a preset, then the fields that differ from it.

    Args:
      experiment: as it was asked for, or resolved.
      preset: what the words start from; `vanilla` where no preset has that name.
      define: a file that defines parts of the user's own; None: there are none, or no file does.

    Raises:
      ConfigError: for an experiment that no words give, one with examples or a part of the user's own.

    Example:
      >>> arguments(aeflax.presets.vae(latent_dim=16), "vae")
      ['vae', '--model.latent-dim', '16']
    """
    if experiment.data.source == ARRAY:
        raise ConfigError("no command gives examples that were passed from Python; train it from Python again")
    start = preset if preset in PRESETS else "vanilla"
    own = [] if define is None else ["--define", define]
    return [start, *own, *_changes("", PRESETS[start](), experiment, known=define is not None)]


def command(experiment: config.Experiment, preset: str, define: str | None = None) -> str:
    """The whole line for a POSIX shell, `aeflax train ...`; arguments and errors as `arguments` has them."""
    return shlex.join(["aeflax", "train", *arguments(experiment, preset, define)])


def again(manifest: Mapping[str, Any]) -> str:
    """The line that trains the run of a manifest again, or a sentence why none can."""
    file = next((name for name in manifest.get("parts") or () if name.endswith(".py")), None)
    try:
        line = command(from_dict(config.Experiment, manifest["experiment"]), manifest["preset"], file)
    except ConfigError as error:
        files = ", ".join(manifest.get("parts") or ())
        return f"{error}{files and f': {files}'}"
    if file and manifest.get("resumed_with_parts"):
        return f"{file} was changed while it was trained, so that no one command gives it again"
    origin = manifest.get("init_from")
    return f"{line} --init-from {shlex.quote(str(origin.get('run')))}" if isinstance(origin, Mapping) else line


def _changes(prefix: str, old: Any, new: Any, *, known: bool) -> Iterator[str]:
    """Words that turn one configuration into another of the same class; `known`: also with kinds of a user's own."""
    for name in hints(type(new)):
        path, was, now = f"{prefix}{name}", getattr(old, name), getattr(new, name)
        option = "--" + path.replace("_", "-")
        if is_dataclass(now) and not isinstance(now, type):
            if type(now) is not type(was):
                yield from (option, _choice(path, now, known=known))
                was = kinds.succeeding(was, type(now)())
            yield from _changes(f"{path}.", was, now, known=known)
        elif is_dataclass(was):
            yield from (option, "none")
        elif now != was:
            yield option
            yield from map(_word, now if isinstance(now, tuple) else (now,))


def _choice(path: str, part: Any, *, known: bool) -> str:
    """What is said to fill a slot with a part of this kind, or to switch an optional part on."""
    if not isinstance(part, Part):
        return "on"
    if not (known or is_ours(type(part))):
        raise ConfigError(
            f"{path} is of the kind {part.kind!r}, which is not aeflax's own; "
            "train it with the experiment file that defines it"
        )
    return part.kind


def _word(value: Any) -> str:
    """One value as the parser reads it back; the shortest digits that give the same float."""
    return repr(float(value)) if isinstance(value, float) else str(value)
