"""What errors of libraries are taken for, and what of them is told."""

import errno
import os

import pytest

from aeflax import cli
from aeflax.bench import throughput as bench
from aeflax.errors import AeflaxWarning, ConfigError, is_out_of_memory, reason

DISK = (
    'RESOURCE_EXHAUSTED: Error writing "opt_state.0.count/0" in OCDBT database at local file '
    f'"{"a/" * 60}ocdbt.process_0/": Failed to write: [OS error {{}}: {{}}]'
)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_more_is_told_alone_and_is_no_lack_of_memory(number):
    error = ValueError(DISK.format(number, os.strerror(number)))
    assert reason(error) == os.strerror(number)
    assert not is_out_of_memory(error)


def test_memory_that_is_exhausted_is_told_from_it():
    assert is_out_of_memory(ValueError("RESOURCE_EXHAUSTED: Out of memory while allocating 8 bytes"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(ConfigError("RESOURCE_EXHAUSTED is a word"))


def test_a_message_is_one_line_that_fits_a_sentence():
    assert reason(ValueError("first\nsecond")) == "first"
    assert reason(KeyError()) == "KeyError"
    assert reason(ValueError("x" * 1000)) == "x" * 200


def test_a_package_that_is_missing_is_named(run, monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "doctor", "a_package_that_is_missing:main")
    code, _, said = run("doctor")
    mend = "install it, or aeflax anew with all that it needs (aeflax doctor)"
    assert (code, said) == (2, f"aeflax: the package a_package_that_is_missing is missing; {mend}\n")


def test_places_in_memory_are_no_part_of_a_message(run, monkeypatch):
    def fail(words):
        raise ConfigError(f"{fail!r} is no number")

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert run()[2] == "aeflax: <function test_places_in_memory_are_no_part_of_a_message.<locals>.fail> is no number\n"


def test_a_warning_names_the_caller_s_line_also_where_it_comes_through_a_context_manager():
    leaving_out = bench._leaving_out(lambda left: None, *"ab", 3, alone=False)
    with pytest.warns(AeflaxWarning, match="are left out: no") as found, leaving_out:
        raise ConfigError("no")
    assert [one.filename for one in found] == [__file__]
