"""Files that are replaced whole or not at all, whatever happens meanwhile: an error, a signal, a power cut."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_PREFIX, _SUFFIX = ".aeflax-", ".tmp"  # of a file that is being written
_unfinished: set[Path] = set()


@contextlib.contextmanager
def replacing(path: Path, *, through_links: bool = False) -> Iterator[BinaryIO]:
    """A new file beside the path, which takes its place at the end, durably; after an error it is gone.

    Args:
      path: of the file.
      through_links: where the path is a link, replace what it points to, as a user expects of a file of their own. Else
        the link is replaced, so that a run directory never leads outside of itself.

    Raises:
      OSError: if it cannot be written; the path is then as it was.
    """
    path = Path(os.path.realpath(path)) if through_links else path
    temporary = path.with_name(leftover(secrets.token_hex(4)))
    _unfinished.add(temporary)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        _unfinished.discard(temporary)
    sync(path.parent)


def abandon() -> None:
    """Removes what is being written, for a process that ends without another word."""
    for temporary in tuple(_unfinished):
        with contextlib.suppress(OSError):
            temporary.unlink()


def sync(path: Path) -> None:
    """Makes what a file holds, or which names a folder holds, survive a power cut. Raises OSError."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def leftover(name: str) -> str:
    """The name of a file that is in the way of nothing if a process is killed while it writes it."""
    return f"{_PREFIX}{name}{_SUFFIX}"


def is_leftover(name: str) -> bool:
    """Whether a file of this name is what a process left that was killed while it wrote."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)
