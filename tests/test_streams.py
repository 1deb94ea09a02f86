"""Standard streams that are closed, left by their reader or full: what is said there never decides how a run ends."""

import os
import subprocess
import sys

import pytest

from aeflax.cli import streams

SPEAK = "import sys; from aeflax.cli import streams; streams.hold()\n"


def spoken(code, **options):
    """Exit code of a process that holds its streams and then does this."""
    return subprocess.run([sys.executable, "-c", SPEAK + code], check=False, **options).returncode


@pytest.mark.parametrize("numbers", [(0,), (1,), (2,), (1, 2), (0, 1, 2)], ids=str)
def test_no_file_gets_the_number_of_a_stream_that_was_closed(numbers, tmp_path):
    code = (
        f"file = open({str(tmp_path / 'mine')!r}, 'w'); print('said'); print('told', file=sys.stderr)\n"
        "import os; os.write(1, b'x'); os.write(2, b'y'); assert file.fileno() > 2"
    )
    closed = " ".join(f"{number}>&-" for number in numbers)
    words = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, SPEAK + code]
    assert subprocess.run(words, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    assert (tmp_path / "mine").read_text() == ""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_leaves_changes_no_exit_code(stream):
    reading, writing = os.pipe()
    os.close(reading)
    code = f"for _ in range(3): print('x' * 9000, file=sys.{stream})\nsys.exit(3)"
    assert spoken(code, **{stream: writing}) == 3
    os.close(writing)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_results_that_cannot_be_kept_are_an_error_and_messages_are_not():
    with open("/dev/full", "w") as full:
        told = (
            "from aeflax.errors import ConfigError\ntry: print('x')\nexcept ConfigError as error: sys.exit(str(error))"
        )
        assert spoken(told, stdout=full) == 1
        assert spoken("print('x', file=sys.stderr); sys.exit(3)", stderr=full) == 3


def test_streams_that_another_took_stay_with_it(capsys):
    before = sys.stdout, sys.stderr
    streams.hold()
    assert (sys.stdout, sys.stderr) == before
