"""The words IN and OUT of a command, checked before anything heavy is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aeflax.data.places import require_readable, require_suited, require_writable, source_file
from aeflax.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# --- IN ---


@pytest.mark.parametrize(
    ("place", "file"),
    [
        ("x.npy", "x.npy"),
        ("a/x.CSV", "a/x.CSV"),
        ("x.npz#a", "x.npz"),
        ("a#1/x.npz#b", "a#1/x.npz"),
        ("x#1.npy", "x#1.npy"),
        ("npy:x.npy", "x.npy"),
        ("csv:x", "x"),
        ("npz:x.npz#a", "x.npz"),
        ("array", "array"),
        ("digits", None),
        ("idx:folder", None),
        ("synthetic:8x8x1:10", None),
    ],
)
def test_the_file_that_a_place_names(place, file):
    assert source_file(place) == (None if file is None else Path(file))


@pytest.mark.parametrize(
    "place", ["x.npy", "npy:x.npy", "digits", "tfds:anything", "./x.npy", "x.npz#a", "odd#name.npz"]
)
def test_a_file_or_source_is_readable(place):
    for name in ("x.npy", "x.npz", "odd#name.npz"):
        Path(name).touch()
    require_readable(place)


def test_a_file_whose_whole_name_exists_is_taken_before_an_array_of_another():
    Path("x.npz#a").touch()
    assert source_file("x.npz#a") == Path("x.npz#a")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("missing.npy", r"cannot read missing\.npy: No such file or directory; check the path, or name a source"),
        ("npy:missing", r"cannot read missing: No such file"),
        ("", r"\. is a folder"),
        ("mnits", r"cannot read mnits: No such file or directory; check the path.*did you mean mnist\?"),
        ("folder", r"folder is a folder; name a file in it, idx:folder for its IDX files or images:folder for its PNG"),
        ("x.npy/below", r"cannot read x\.npy/below: Not a directory"),
        ("a" * 300, r"cannot read a+: File name too long"),
        ("pipe", r"pipe is no ordinary file"),
    ],
)
def test_what_cannot_be_read_is_a_data_error_with_the_mend(place, message):
    Path("folder").mkdir()
    Path("x.npy").touch()
    os.mkfifo("pipe")
    with pytest.raises(DataError, match=message):
        require_readable(place)


# --- OUT ---


@pytest.mark.parametrize("name", ["x.npy", "x.NPZ", "folder/x.csv", "x.y.png", "there.npy"])
def test_a_file_of_a_known_suffix_in_a_folder_is_writable(name):
    Path("folder").mkdir()
    Path("there.npy").touch()
    require_writable(Path(name))
    assert {path.name for path in Path().iterdir()} == {"folder", "there.npy"}  # nothing is touched


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x", r"x has no suffix; end it in \.npy, \.npz, \.csv, \.parquet or \.png"),
        (
            "x.jpg",
            r"x\.jpg has the suffix \.jpg, which is not written; end it in \.npy, \.npz, .* or \.png",
        ),
        (".npy", r"\.npy has no suffix"),
        ("", r"\. has no suffix"),
        ("folder.npy", r"folder\.npy is a folder; name a file in it, such as folder\.npy/codes\.npy"),
        ("no/such/x.npy", r"cannot write no/such/x\.npy: no/such is no folder; create it first: mkdir -p no/such"),
        ("file/x.npy", r"cannot write file/x\.npy: file is no folder"),
        ("pipe.csv", r"pipe\.csv is no ordinary file; choose another name"),
    ],
)
def test_what_cannot_be_written_is_a_configuration_error_with_the_mend(name, message):
    Path("folder.npy").mkdir()
    Path("file").touch()
    os.mkfifo("pipe.csv")
    with pytest.raises(ConfigError, match=message) as caught:
        require_writable(Path(name))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("denied", "message"), [("folder", "no permission in folder"), ("folder/x.npy", "no permission")]
)
def test_a_lack_of_permission_is_told_beforehand(monkeypatch, denied, message):
    Path("folder").mkdir()
    Path("folder/x.npy").touch()
    # Tests may run as a user who may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != Path(denied))
    with pytest.raises(ConfigError, match=rf"cannot write folder/x\.npy: {message}.*; choose another place"):
        require_writable(Path("folder/x.npy"))


@pytest.mark.parametrize("place", ["x.npy", "./x.npy", "npy:x.npy", "link.npy", "hard.npy"])
def test_the_file_that_is_read_is_never_written(place):
    Path("x.npy").touch()
    Path("link.npy").symlink_to("x.npy")
    Path("hard.npy").hardlink_to("x.npy")
    Path("y.npy").touch()
    with pytest.raises(ConfigError, match=r"x\.npy is the file that is read, too; write to another one"):
        require_writable(Path("x.npy"), place)
    require_writable(Path("y.npy"), place)
    require_writable(Path("new.npy"), place)


def test_an_array_of_an_archive_counts_as_the_archive():
    Path("x.npz").touch()
    with pytest.raises(ConfigError, match="is the file that is read"):
        require_writable(Path("x.npz"), "x.npz#codes")
    require_writable(Path("x.npz"), "digits", "missing.npz")
    with pytest.raises(ConfigError, match="is the file that is read"):
        require_writable(Path("x.npz"), "digits", "npz:x.npz#codes")  # whichever it is


def test_a_file_of_a_folder_of_images_is_never_written():
    Path("faces/one").mkdir(parents=True)
    Path("faces/one/a.png").touch()
    with pytest.raises(ConfigError, match=r"a.png is a file of images:faces, which is read"):
        require_writable(Path("faces/one/a.png"), "images:faces")
    require_writable(Path("faces/one/b.png"), "images:faces")
    Path("faces/codes.npy").touch()
    require_writable(Path("faces/codes.npy"), "images:faces")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
@pytest.mark.parametrize("shape", [(3,), (4, 4), (4, 4, 1), (4, 4, 7)])
def test_arrays_hold_anything(suffix, shape):
    require_suited(Path("x" + suffix), shape)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_a_picture_shows_grey_and_colour_images(shape):
    require_suited(Path("x.PNG"), shape)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (784,),
            r"x\.png shows images, and these are vectors of 784 values; end it in \.npy, .* or \.parquet",
        ),
        (
            (4, 4, 2),
            r"x\.png shows images of 1 or 3 channels, and these have 2; end it in \.npy, .* or \.parquet",
        ),
    ],
)
def test_a_picture_of_anything_else_is_refused(shape, message):
    with pytest.raises(ConfigError, match=message):
        require_suited(Path("x.png"), shape)


def test_nothing_heavy_is_imported():
    code = "import sys, aeflax.data.places; print(sorted({'numpy', 'jax', 'sklearn', 'PIL'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
