"""Files that are replaced whole or not at all."""

import os
import stat

import pytest

from aeflax.storage.durable import is_leftover, replacing


def test_the_file_has_its_new_content_only_at_the_end(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt(), ValueError("mine")])
@pytest.mark.parametrize("held", [True, False])
def test_an_error_leaves_what_was_there(tmp_path, error, held):
    path = tmp_path / "x"
    if held:
        path.write_bytes(b"old")

    def fail():
        with replacing(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == ({"x": b"old"} if held else {})


def test_content_and_folder_reach_the_disk(tmp_path, monkeypatch):
    """The file before it takes its place, and the folder that names it after."""
    synced = []
    sync = os.fsync

    def watched(descriptor):
        mode = os.fstat(descriptor).st_mode
        synced.append(("folder" if stat.S_ISDIR(mode) else "file", sorted(os.listdir(tmp_path))))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with replacing(tmp_path / "x") as file:
        file.write(b"new")
    (first, (temporary,)), last = synced
    assert (first, is_leftover(temporary)) == ("file", True)
    assert last == ("folder", ["x"])


def test_a_link_is_replaced_and_what_it_points_to_stays_as_it_is(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "x").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "far" / "x")
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_bytes() == b"new"
    assert (tmp_path / "far" / "x").read_bytes() == b"old"


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with replacing(tmp_path / "x") as one, replacing(tmp_path / "x") as other:
        one.write(b"one")
        other.write(b"other")
    assert (tmp_path / "x").read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["x"]


def test_a_missing_folder_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "x"):
        pass
