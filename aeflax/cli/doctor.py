"""`aeflax doctor`: what is installed, which devices there are, what is wrong and how to mend it."""

from dataclasses import asdict, dataclass

from aeflax.cli import answer
from aeflax.cli.parsing import console, parse
from aeflax.errors import ConfigError

_SIGNS = {"fine": "✓", "absent": "–", "problem": "✗"}


@dataclass(frozen=True, kw_only=True)
class DoctorCommand:
    """Arguments of `aeflax doctor`."""

    # print one JSON object; the table goes to standard error
    json: bool = False


def main(arguments: list[str]) -> int:
    """Prints what aeflax finds around itself; a problem is exit code 2."""
    what = "Looks at interpreter, packages, devices, disk and data, and says what is wrong and how to mend it."
    command: DoctorCommand = parse(DoctorCommand, arguments, "aeflax doctor", what)

    from rich.markup import escape
    from rich.table import Table

    from aeflax.surroundings import findings

    found = list(findings())
    table = Table(title="✓ fine   – not there, and no fault   ✗ a problem", title_justify="left")
    for title in ("", "what", "found", "mend"):
        table.add_column(title, overflow="fold")
    for one in found:
        table.add_row(_SIGNS[one.state], *map(escape, (one.name, one.value, one.mend)))
    console(stderr=command.json).print(table)
    told = {"findings": [asdict(one) for one in found]}
    problems = [one for one in found if one.state == "problem"]
    if problems:
        first = problems[0]
        more = f" (and {len(problems) - 1} more, see above)" if len(problems) > 1 else ""
        raise ConfigError(f"{first.name}: {first.value}; {first.mend}{more}").telling(**told)
    if command.json:
        answer.give(told)
    return 0
