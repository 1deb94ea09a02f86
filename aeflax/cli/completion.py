"""Shell completion. `aeflax completion SHELL` prints a script, by which the shell asks this program at every tab.

With AEFLAX_COMPLETE set, `aeflax WORDS...` runs nothing: it prints, one a line, what the last word may become. A
command is asked as it is run, up to the point where it would parse its arguments: so its options are those of the
preset and the kinds of parts that the words before have chosen.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from io import StringIO
from typing import Annotated, Any, Literal

import tyro

from aeflax.cli import options, slots
from aeflax.cli.parsing import parse
from aeflax.config import Experiment
from aeflax.config.sources import NAMED, PLACED
from aeflax.errors import AeflaxError
from aeflax.presets import PRESETS

EXPERIMENTS = ("train", "sweep", "bench")  # commands that begin with a preset

SCRIPTS = {
    "bash": """\
_aeflax() {
  local IFS=$'\\n'
  COMPREPLY=($(AEFLAX_COMPLETE=1 "$1" "${COMP_WORDS[@]:1:$COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _aeflax aeflax""",
    "zsh": """\
#compdef aeflax
_aeflax() {
  local -a found
  found=(${(f)"$(AEFLAX_COMPLETE=1 ${words[1]} "${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( $#found )); then compadd -a found; else _files; fi
}
compdef _aeflax aeflax""",
    "fish": """\
complete -c aeflax -a '(AEFLAX_COMPLETE=1 aeflax (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'""",
}


@dataclass(frozen=True, kw_only=True)
class CompletionCommand:
    """Arguments of `aeflax completion`."""

    # bash: eval "$(aeflax completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc, after compinit; fish:
    # aeflax completion fish > ~/.config/fish/completions/aeflax.fish
    shell: Annotated[tyro.conf.Positional[Literal["bash", "zsh", "fish"]], tyro.conf.arg(metavar="SHELL")]


def main(arguments: list[str]) -> int:
    """Prints the script of a shell."""
    what = "Prints a script by which a shell completes commands, presets, options and their values."
    command: CompletionCommand = parse(CompletionCommand, arguments, "aeflax completion", what)
    print(SCRIPTS[command.shell])  # noqa: T201
    return 0


def answer(words: Sequence[str], commands: Sequence[str], run: Callable[[list[str]], object]) -> None:
    """Prints what the last word may become.

    Args:
      words: after `aeflax`, the last one as far as it is typed.
      commands: that there are.
      run: dispatches a command line.
    """
    *before, start = words or [""]
    found = _follow(before, start, run) if before else [*commands, "--help", "--version"]
    for word in found:
        if word.startswith(start):
            sys.stdout.write(f"{word}\n")


def _follow(before: list[str], start: str, run: Callable[[list[str]], object]) -> Sequence[str]:
    if before[0] in EXPERIMENTS and len(before) == 1 and not start.startswith("-"):
        return list(PRESETS)
    command, default = _parsed(before, run)
    if command is None:
        return []
    known = options.choices(command, default)
    if isinstance(getattr(default, "experiment", None), Experiment):
        known = {**dict.fromkeys(slots.fields(), ()), **known, **slots.choices()}
    if before[-1] == "--data.source":
        return [*NAMED, *(f"{kind}:" for kind in PLACED)]
    if before[-1] in known and known[before[-1]] is not None:
        return known[before[-1]] or ()  # a value: one of a few, or any other, perhaps a file
    if not start.startswith("-") and (words := options.placed(command)):
        return words
    return [*known, "--help"] if start.startswith("-") else []


def _parsed(before: list[str], run: Callable[[list[str]], object]) -> tuple[Any, Any]:
    """The dataclass that a command would fill, and its default."""
    with suppress(AeflaxError, SystemExit), redirect_stderr(StringIO()):
        try:
            run(before)
        except options.AskedError as asked:
            return asked.command, asked.default
    return None, None
