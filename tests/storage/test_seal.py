"""The seal of a checkpoint finds every change of what it covers."""

import json

import pytest

from aeflax.storage import seal


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "state" / "d").mkdir(parents=True)
    (tmp_path / "state" / "d" / "weights").write_bytes(bytes(range(200)))
    (tmp_path / "meta").write_text("{}")
    (tmp_path / "empty").touch()
    seal.close(tmp_path)
    return tmp_path


def test_a_sealed_folder_is_sound(sealed):
    assert seal.faults(sealed) == []
    assert set(json.loads((sealed / seal.NAME).read_text())["files"]) == {"state/d/weights", "meta", "empty"}


@pytest.mark.slow
def test_every_bit_counts(sealed):
    path = sealed / "state" / "d" / "weights"
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert seal.faults(sealed) == ["state/d/weights has changed"]


@pytest.mark.parametrize("name", ["state/d/weights", "meta"])
def test_what_is_cut_emptied_or_gone_is_named(sealed, name):
    path = sealed / name
    path.write_bytes(path.read_bytes()[:1])
    assert seal.faults(sealed) == [f"{name} has changed"]
    path.write_bytes(b"")
    assert seal.faults(sealed) == [f"{name} has changed"]
    path.unlink()
    assert seal.faults(sealed) == [f"{name} is missing"]
    path.symlink_to(sealed / "empty")  # a link is no file of the checkpoint
    assert seal.faults(sealed) == [f"{name} is missing"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"files": []}', b"\xff", b"[" * 100_000])
def test_a_broken_seal_is_no_seal(sealed, content):
    (sealed / seal.NAME).write_bytes(content)
    assert seal.faults(sealed) == ["seal.json is missing or cannot be read"]


def test_a_seal_never_leads_out_of_its_folder(sealed):
    (sealed / seal.NAME).write_text(json.dumps({"files": {"/etc/passwd": "0", "../../x": "0"}}))
    assert seal.faults(sealed) == ["../../x is missing", "/etc/passwd is missing"]


def test_what_orbax_writes_last_is_not_covered_and_an_own_file_beside_does_no_harm(sealed):
    for name in (*seal.UNSEALED, "notes.txt"):
        (sealed / name).write_text("x")
    assert seal.faults(sealed) == []
