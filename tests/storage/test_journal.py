"""Files of one record a line: what is read back, what a resumed run writes again, and a disk that is full."""

import errno
import json
import math
import os

import pytest

from aeflax.errors import AeflaxWarning
from aeflax.storage import journal
from aeflax.storage.journal import Journal


@pytest.fixture
def place(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_a_line_is_json_also_where_a_value_is_not_finite(place):
    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    log = Journal(place, 0)
    log.write({"step": 1, "split": "test", "mse": math.nan, "psnr": math.inf, "elbo": -1.5})
    log.close()
    Journal(place, 1).close()  # writes the kept records again
    (line,) = place.read_text().splitlines()
    stored = json.loads(line, parse_constant=refuse)
    assert stored == {"step": 1, "split": "test", "mse": None, "psnr": None, "elbo": -1.5}
    (record,) = journal.read(place)
    assert math.isnan(record["mse"])
    assert record["elbo"] == -1.5


def test_records_after_the_step_are_dropped(place):
    records = [{"step": step, "split": "train", "loss": step / 2} for step in (1, 2, 3, 4)]
    log = Journal(place, 0)
    for record in records:
        log.write(record)
        assert journal.read(place)[-1] == record  # written at once
    log.close()
    log = Journal(place, 2)
    log.write({"step": 3, "again": True})
    log.close()
    assert journal.read(place) == [*records[:2], {"step": 3, "again": True}]


@pytest.mark.parametrize("torn", ['{"step": 2, "lo', "{", '{"step": 2}\0\0', "[2]", "2", "{}", b"\xff\xfe{"])
def test_a_torn_last_line_is_dropped_and_the_file_goes_on(place, torn):
    place.write_bytes(b'{"step": 1}\n' + (torn if isinstance(torn, bytes) else torn.encode()))
    assert journal.read(place) == [{"step": 1}]
    log = Journal(place, 5)
    log.write({"step": 6})
    log.close()
    assert place.read_text() == '{"step": 1}\n{"step": 6}\n'


def test_no_file_means_no_records(place):
    assert journal.read(place) == []


class Full:
    """A file on a disk that takes so many bytes and then no more."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        written = self.file.write(data[: self.room])
        self.room -= written
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_lines_that_a_full_disk_refuses_are_told_of_once_and_written_when_there_is_room(place):
    log = Journal(place, 0)
    log.write({"step": 1})
    log._file = Full(log._file, room=20)
    with pytest.warns(AeflaxWarning, match=r"metrics\.jsonl \(No space left on device\); its lines wait"):
        log.write({"step": 2, "loss": 1.0})
    for step in (3, 4):  # without another warning, which would be an error here
        log.write({"step": step, "loss": 1.0})
        assert journal.read(place)[-1]["step"] == 1  # nothing torn
    log._file.room = 10_000
    log.write({"step": 5})
    assert [record["step"] for record in journal.read(place)] == [1, 2, 3, 4, 5]
    log._file.room = 0
    with pytest.warns(AeflaxWarning, match="its lines wait"):
        log.write({"step": 6})
    log._file.room = 10_000
    log.close()  # a last attempt
    assert journal.read(place)[-1] == {"step": 6}


def test_lines_that_are_lost_are_told(place):
    log = Journal(place, 0)
    log._file = Full(log._file, room=0)
    with pytest.warns(AeflaxWarning, match="its lines wait"):
        log.write({"step": 1})
    with pytest.warns(AeflaxWarning, match=r"1 lines could not be written to .*metrics\.jsonl; they are lost"):
        log.close()
