"""Looks over the options of a command line before they are parsed, so that all that is wrong is said at once."""

import difflib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from aeflax.config.schema import hints, nearest, options, walk
from aeflax.rundir.runs import MANIFEST

# Too unlike to be found, or nearer to another.
ELSEWHERE = dict.fromkeys(("--optimizer.lr", "--lr"), "--optimizer.learning-rate") | {"--data": "--data.source"}
HELP = ("-h", "--help")
_PARTED = "; values are parted by spaces"
_TAKES_VALUE, _POSITIONAL = (
    typing.get_args(marked[bool])[1] for marked in (tyro.conf.FlagConversionOff, tyro.conf.Positional)
)


class AskedError(Exception):
    """In place of parsing, where a shell asks what a command takes."""

    def __init__(self, command: Any, default: Any) -> None:
        super().__init__()
        self.command, self.default = command, default


@dataclass(frozen=True)
class Option:
    """What may follow an option.

    Attributes:
      hint: annotation of its value.
      switch: whether it is on by being there, and takes no value.
      required: whether it must be there.
    """

    hint: Any
    switch: bool
    required: bool = False

    @property
    def several(self) -> bool:
        """Whether any number of values follows."""
        return any(typing.get_origin(_bare(option)) is tuple for option in options(_bare(self.hint)))


def look_over(command: Any, default: Any, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Finds options that there are not, values of a wrong type and words that belong nowhere.

    Args:
      command: the dataclass that the words are to fill.
      default: an instance of it, None where it has none.
      words: of the command line, without the command and what it names first.

    Returns:
      What is wrong, a sentence each, and the words without what is wrong.
    """
    known, places = _known(command, default)
    faults, sound, rest, greedy = [], [], list(words), ""
    while rest:
        word = rest.pop(0)
        if not _is_option(word):
            fault = _unfit(*places.pop(0), word) if places else _stray(word, known)
            faults += [fault] if fault else []
            sound += [] if fault else [word]
            continue
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        option = known.get(name)
        following = next((at for at, other in enumerate(rest) if _is_option(other)), len(rest))
        taken = 0 if equals or option is None or option.switch else following if option.several else min(following, 1)
        if option is None and not equals:
            # One word that follows is what it was meant to have; others may be places.
            taken = following if not places else min(following, 1)
        values, rest = [value] if equals else rest[:taken], rest[taken:]
        if option is not None and option.several and len(values) > 1:
            greedy = name
        fault = f"unknown option {name}{_nearest(name, known)}" if option is None else _fault(name, option, values)
        if fault:
            faults.append(fault)
        elif option is not None and not (equals or option.switch or option.several):
            sound.append(f"{word}={values[0]}")  # a value may begin with a dash
        else:
            sound += [word, *([] if equals else values)]
    if places and not faults:
        *others, last = (name for name, _ in places)
        named = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        mend = f"{greedy} takes all words that follow, so put it behind the places" if greedy else "see --help"
        faults.append(f"{named} missing; {mend}")
    given = {word.partition("=")[0].replace("_", "-") for word in words}
    lacking = [name for name, option in known.items() if option.required and name not in given]
    return [*faults, *(f"{name} is missing; see --help" for name in lacking)], sound


def choices(command: Any, default: Any) -> dict[str, Sequence[str] | None]:
    """What may follow each option of a command: nothing (None), one of some words, or any other value (empty)."""
    known, _ = _known(command, default)
    return {name: None if option.switch else _words(option.hint) for name, option in known.items()}


def placed(command: Any) -> list[str]:
    """The words that the one place of a command takes, where it has one and they can be told."""
    _, places = _known(command, None)
    return _words(places[0][1]) if len(places) == 1 else []


def _words(hint: Any) -> list[str]:
    """The words that an option takes, where they can be told."""
    parts = [part for part in map(_bare, options(_bare(hint))) if part is not types.NoneType]
    if any(part is not bool and typing.get_origin(part) is not Literal for part in parts):
        return []
    return [word for part in parts for word in _reading(part)[1]]


def _known(command: Any, default: Any) -> tuple[dict[str, Option], list[tuple[str, Any]]]:
    """The options of a command, and what it takes without one: what the help calls it, and its annotation."""
    found, places = {}, []
    needed = {one.name for one in fields(command) if one.default is MISSING and one.default_factory is MISSING}
    for field, hint in hints(command).items():
        held, marks = getattr(default, field, None), typing.get_args(hint)[1:]
        if is_dataclass(held):
            for path, inner, _ in walk(held):
                found[path] = Option(inner, _bare(inner) is bool and _TAKES_VALUE not in marks)
        elif _POSITIONAL in marks:
            called = (getattr(mark, "metavar", None) for mark in marks)
            places.append((next(filter(None, called), field.upper()), hint))
        else:
            found[field] = Option(hint, _bare(hint) is bool, default is None and field in needed)
    return {f"--{path.replace('_', '-')}": option for path, option in found.items()}, places


def _stray(word: str, known: Mapping[str, Option]) -> str:
    """What is said of a word that no option comes before."""
    if "--run-dir" in known and (Path(word) / MANIFEST).is_file():
        return f"{word!r} belongs to no option; did you mean --run-dir {word}?"
    meant = [name for name, option in known.items() if not option.switch and word in _words(option.hint)]
    if len(meant) == 1:
        return f"{word!r} belongs to no option; did you mean {meant[0]} {word}?"
    return f"{word!r} belongs to no option; leave it out"


def _is_option(word: str) -> bool:
    return word.startswith("--") and len(word) > 2


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _nearest(name: str, known: dict[str, Option]) -> str:
    """The name that was meant, also where the group before it was left out."""
    alone = f"--{name.rpartition('.')[2].removeprefix('--')}"
    if (meant := ELSEWHERE.get(name) or ELSEWHERE.get(alone)) in known:
        return f"; did you mean {meant}?"
    ends = [option for option in known if option.rpartition(".")[2] == name[2:]]
    near = ends or difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {' or '.join(near[:3])}?" if near else ", see --help"


def _fault(name: str, option: Option, values: list[str]) -> str | None:
    """Says why an option cannot have these values, or None."""
    if option.switch:
        return None if not values else f"{name} takes no value; leave out {values[0]!r}"
    if option.several:
        if values == ["None"] and type(None) in options(_bare(option.hint)):
            return None
        (tuple_,) = (part for part in map(_bare, options(_bare(option.hint))) if typing.get_origin(part) is tuple)
        faults = ((value, _unfit(name, typing.get_args(tuple_)[0], value)) for value in values)
        return next((f"{fault}{_PARTED if ',' in value else ''}" for value, fault in faults if fault), None)
    return _unfit(name, option.hint, values[0]) if values else f"{name} needs a value"


def _unfit(name: str, hint: Any, text: str) -> str | None:
    """Says why a text is no value of a type, or None."""
    expected: list[str] = []
    for part in map(_bare, options(_bare(hint))):
        reads, said = _reading(part)
        if reads(text):
            return None
        expected += said
    *others, last = expected
    wanted = f"{', '.join(others)} or {last}" if others else last
    return f"{name}={text!r} must be {wanted}{nearest(text, expected)}"


def _reading(part: Any) -> tuple[Callable[[str], bool], list[str]]:
    """Whether a text is of a type, and what such a text is."""
    if typing.get_origin(part) is Literal:
        choices = [str(choice) for choice in typing.get_args(part)]
        return choices.__contains__, choices
    if part is types.NoneType:
        return "None".__eq__, ["None"]
    if part is bool:
        return ("True", "False").__contains__, ["True", "False"]
    if part in (int, float):
        return (lambda text: _converts(part, text)), ["a whole number" if part is int else "a number"]
    return (lambda _: True), ["a path" if part is Path else "a text"]


def _converts(kind: Callable[[str], Any], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
