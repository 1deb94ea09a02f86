"""Inputs that a reader once took wrongly, read again; `fuzz.py` found them."""

import pytest
from faults import fuzz, malformed


@pytest.mark.parametrize("path", sorted(fuzz.CORPUS.glob("*-*")), ids=lambda path: path.name)
def test_an_input_that_was_once_taken_wrongly_is_read_or_refused_in_one_sentence(path):
    assert not malformed.fault_of(path.name.partition("-")[0], path.read_bytes())


@pytest.mark.parametrize("kind", malformed.KINDS)
def test_what_is_valid_is_read(kind, tmp_path):
    name, valid, _, read = malformed.KINDS[kind]
    for number, content in enumerate(valid()):
        place = tmp_path / str(number)
        place.mkdir()
        (place / name).write_bytes(content)
        read(place / name)
