"""What defines parts of a user's own: the files of their factories, what these import beside them, digests of all."""

import ast
import functools
import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import CodeType

from aeflax import factories
from aeflax.config import Experiment

SESSION = "the session's own code"  # where parts were defined in no file, as in a notebook


def own_files(experiment: Experiment) -> dict[str, str]:
    """SHA-256 of what defines factories of parts of a user's own, by name.

    Files, with those beside them that they import; of a session, its functions' code.
    """
    own = factories.own(experiment.model).values()
    files = _defining(own)
    typed = [code for code in own if Path(code.co_filename) not in files]
    found = {name: _digest(ast.dump(tree)) for name, tree in _with_imports(files).items()}  # comments change nothing
    return found | ({SESSION: _digest(*map(_plain, typed))} if typed else {})


def defined_in(experiment: Experiment) -> list[str]:
    """Names of the files that define factories of parts of a user's own, or of the session that does."""
    own = factories.own(experiment.model).values()
    files = _defining(own)
    typed = any(Path(code.co_filename) not in files for code in own)
    return [path.name for path in files] + ([SESSION] if typed else [])


def _defining(own: Collection[CodeType]) -> list[Path]:
    return sorted({path for code in own if (path := Path(code.co_filename)).is_file()})


def _with_imports(files: Sequence[Path]) -> dict[str, ast.AST]:
    """Syntax trees of some files, and of those beside or below one that it imports, by their paths from there."""
    found: dict[str, ast.AST] = {}
    for file in files:
        folder = file.absolute().parent
        left = [Path(file.name)]
        while left:
            path = left.pop(0)
            if path.as_posix() in found:
                continue
            place = folder / path
            found[path.as_posix()] = tree = _parsed(place, place.stat().st_mtime_ns)
            left += [beside for name in _imported(tree, path) if (beside := _module(folder, name))]
    return found


@functools.lru_cache(maxsize=256)
def _parsed(path: Path, _: int) -> ast.AST:
    """The syntax tree of a file, as long as it is of the same time."""
    return ast.parse(path.read_bytes())


def _imported(tree: ast.AST, path: Path) -> Iterator[tuple[str, ...]]:
    """The modules that a file imports, or may: the steps of their names from the folder where all begins."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = path.parts[: -node.level] if node.level else ()
            module = (*above, *(node.module or "").split(".")) if node.module else above
            yield from [module, *((*module, alias.name) for alias in node.names)]


def _module(folder: Path, name: tuple[str, ...]) -> Path | None:
    """The file of a module of the user's in a folder, from there on; None where it is not there, as installed ones."""
    if not name or name[0] == __name__.partition(".")[0]:
        return None
    for path in (Path(*name).with_suffix(".py"), Path(*name, "__init__.py")):
        if (folder / path).is_file():
            return path
    return None


def _plain(code: CodeType) -> str:
    """What a function does, wherever it stands."""
    inner = (_plain(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts)
    return repr((code.co_code, code.co_names, *inner))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
