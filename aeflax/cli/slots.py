"""Chooses the kinds of a model's parts from command-line words, before the options of those kinds are parsed.

--model.corruption masking           fills a slot by kind (also: model.corruption:masking)
--model.corruption.sigma 0.2         a field that only one kind has names that kind, in place of vanilla's
--model.penalties.l1.weight 1e-4     switches an optional part on
--model.penalties.l1 none            switches it off

A choice stands wherever on the line it is: the fields are looked at after all choices.
"""

import difflib
import re

from aeflax.config import Model, kinds
from aeflax.config.schema import hints
from aeflax.errors import ConfigError

_FLAG = re.compile(r"--model\.([\w.-]+?)(?:[:=](.*))?", re.DOTALL)
_CHOICE = re.compile(r"model\.([\w.-]+?):(.*)", re.DOTALL)  # the colon tells it from another option's value


def choose_parts(model: Model, arguments: list[str]) -> tuple[Model, list[str], list[str]]:
    """The model with the kinds that the arguments name, the arguments that are left for its fields, and what is wrong.

    Wrong are unknown kinds and fields, and fields that do not fit the kinds: a sentence each, all of them at once; the
    arguments are left without them.
    """
    left: list[str] = []
    faults: list[str] = []
    chosen: set[str] = set()
    words = iter(arguments)
    for word in words:
        match = _FLAG.fullmatch(word) or _CHOICE.fullmatch(word)
        path = match[1].replace("-", "_") if match else ""
        if match is None or path not in kinds.choices():
            left.append(word)
            continue
        choice = next(words, "") if match[2] is None else match[2]
        chosen.add(path)
        try:
            model = kinds.choose(model, path, choice)
        except ConfigError as error:
            faults.append(str(error))
    fit: list[str] = []
    wrong = False  # whether the option before is, whose values go with it
    for word in left:
        if word.startswith("--"):
            match = _FLAG.fullmatch(word)
            try:
                model = model if match is None else _implied(model, match[1].replace("-", "_"), chosen)
                wrong = False
            except ConfigError as error:
                faults.append(str(error))
                wrong = True
        fit += [] if wrong else [word]
    return model, fit, list(dict.fromkeys(faults))


def is_choice(word: str) -> bool:
    """Whether a word chooses a part, as `model.corruption:masking` does."""
    return _CHOICE.fullmatch(word) is not None


def describe_slots(model: Model, head: str) -> str:
    """One line a slot: its kinds, for the help text of a command that does what the head says."""
    lines = [f"{head} Parts of the model are chosen by kind:"]
    for name, slot in kinds.slots().items():
        lines.append(f"  --model.{name} {{{','.join(slot.kinds)}}} (default: {getattr(model, name).kind})")
    for path in kinds.optional():
        lines.append(f"  --model.{path} {{on,none}}")
    return "\n".join(lines) + "\n\nThe options below are those of the kinds chosen so far."


def choices() -> dict[str, list[str]]:
    """What may follow each option that chooses a part."""
    return {f"--model.{_dashed(path)}": list(words) for path, words in kinds.choices().items() if len(words) > 1}


def fields() -> list[str]:
    """Every option below `--model.` that some choice of kinds knows."""
    return sorted(f"--model.{_dashed(path)}" for path in _fields())


def _implied(model: Model, path: str, chosen: set[str]) -> Model:
    """Switches to the one kind that has the field, or the optional part on that holds it."""
    known = _fields()
    if path not in known:
        if near := difflib.get_close_matches(path, known, n=1):
            raise ConfigError(f"unknown option --model.{_dashed(path)}; did you mean --model.{_dashed(near[0])}?")
        return model  # the parser knows the options outside the model, too
    head, _, field = path.rpartition(".")
    if head in kinds.optional():
        if head not in chosen:
            return kinds.choose(model, head, "on")
        if kinds.held(model, head) is None:
            raise ConfigError(f"--model.{_dashed(path)} contradicts --model.{head} none; drop one of them")
    elif head in kinds.slots() and field not in hints(type(getattr(model, head))):
        those = [kind for kind, part in kinds.slots()[head].kinds.items() if field in hints(part)]
        if head in chosen:
            raise ConfigError(
                f"--model.{_dashed(path)} belongs to {' and '.join(those)}, "
                f"but --model.{head} is {getattr(model, head).kind}; drop one of them"
            )
        held = getattr(model, head).kind
        if held != getattr(Model(), head).kind:  # which somebody chose, so that it does not give way unasked
            raise ConfigError(
                f"--model.{_dashed(path)} belongs to {' and '.join(those)}, and --model.{head} is {held} here; "
                f"add --model.{head} {those[0]} to change that, or leave it out"
            )
        if len(those) > 1:
            raise ConfigError(
                f"--model.{_dashed(path)} belongs to {' and '.join(those)}; add --model.{head} {those[0]} to choose"
            )
        return kinds.choose(model, head, those[0])
    return model


def _fields() -> set[str]:
    """Every path below `model.` that some choice of kinds knows."""
    parts = [(name, part) for name, slot in kinds.slots().items() for part in slot.kinds.values()]
    return {*hints(Model), *kinds.optional()} | {
        f"{head}.{name}" for head, part in [*parts, *kinds.optional().items()] for name in hints(part)
    }


def _dashed(path: str) -> str:
    return path.replace("_", "-")
