"""Results written in batches: read back they are the same, and a failure leaves what was there."""

import errno
import io
import os
import resource
import stat
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from aeflax.data.inputs import batches, open_examples
from aeflax.data.writers import write
from aeflax.errors import CheckpointError, ConfigError, DataError

SUFFIXES = (".npy", ".npz", ".csv", ".png")
CODES = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
PICTURES = np.random.default_rng(1).integers(0, 256, (7, 4, 5, 1), np.uint8)


def parts(size=3, **whole):
    """The arrays in batches."""
    length = len(next(iter(whole.values())))
    for first in range(0, length, size):
        yield {name: values[first : first + size] for name, values in whole.items()}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One folder for all the examples of a hypothesis test."""
    return tmp_path_factory.mktemp("out")


# --- NPY and NPZ ---

ANY = arrays.arrays(
    st.sampled_from([np.float32, np.uint8, np.int64, np.float64, np.bool_]),
    arrays.array_shapes(min_dims=1, max_dims=4, max_side=6),
)


@given(values=ANY, size=st.integers(1, 7))
@settings(deadline=None)
def test_npy_is_byte_for_byte_what_numpy_saves(scratch, values, size):
    path = scratch / "x.npy"
    assert write(path, parts(size, code=values, label=np.arange(len(values)))) == len(values)
    expected = io.BytesIO()
    np.save(expected, values)
    assert path.read_bytes() == expected.getvalue()


@given(values=ANY, size=st.integers(1, 7))
@settings(deadline=None)
def test_npz_holds_every_array(scratch, values, size):
    path = scratch / "x.npz"
    labels = np.arange(len(values))
    assert write(path, parts(size, code=values, label=labels)) == len(values)
    with np.load(path, allow_pickle=False) as found:
        assert found.files == ["code", "label"]
        np.testing.assert_array_equal(found["code"], values)
        np.testing.assert_array_equal(found["label"], labels)
        assert found["code"].dtype == values.dtype


def test_npz_is_the_same_file_every_time(tmp_path):
    for name in ("a.npz", "b.npz"):
        write(tmp_path / name, parts(code=CODES))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize("values", [np.asfortranarray(CODES), CODES[:, ::2], CODES[::-1]])
def test_arrays_of_any_layout_are_written_in_order(tmp_path, values):
    write(tmp_path / "x.npy", parts(code=values))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), values)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_a_result_larger_than_memory_is_never_held_whole(tmp_path, suffix):
    block = np.zeros((1000, 64), np.float32)
    many = 5 if suffix == ".csv" else 200
    tracemalloc.start()
    try:
        assert write(tmp_path / f"x{suffix}", ({"code": block} for _ in range(many))) == 1000 * many
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Two batches, or the text of one; 200 of them would be 51 MB.
    assert peak < (12e6 if suffix == ".csv" else 2e6)


# --- CSV ---


LARGEST = float(np.finfo(np.float32).max)  # that an example can have
CELLS = {
    np.float32: {"allow_nan": False, "allow_infinity": False},
    np.float64: {"min_value": -LARGEST, "max_value": LARGEST},
    np.uint8: {},
}


@given(
    values=st.sampled_from([*CELLS]).flatmap(
        lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=CELLS[kind])
    ),
    size=st.integers(1, 7),
)
@settings(deadline=None)
def test_a_table_is_read_back_exactly_with_its_labels(scratch, values, size):
    path = scratch / "x.csv"
    labels = np.arange(len(values)) % 3
    write(path, parts(size, label=labels, code=values))  # wherever it comes, the label is the last column
    found = open_examples(str(path))
    np.testing.assert_array_equal(found.values.astype(values.dtype), values)
    np.testing.assert_array_equal(found.labels, labels)
    assert path.read_text().splitlines()[0] == ",".join([*(f"code_{i}" for i in range(values.shape[1])), "label"])


def test_a_table_says_floats_in_their_shortest_digits(tmp_path):
    write(tmp_path / "x.csv", [{"code": np.array([[0.1, 1 / 3]], np.float32), "score": np.array([1e-9], np.float32)}])
    assert (tmp_path / "x.csv").read_text() == "code_0,code_1,score\n0.1,0.33333334,1e-09\n"


def test_a_table_holds_images_as_rows_and_truth_as_numbers(tmp_path):
    write(
        tmp_path / "x.csv",
        [{"pixel": np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1), "odd": np.array([True, False])}],
    )
    assert (tmp_path / "x.csv").read_text() == "pixel_0,pixel_1,pixel_2,pixel_3,odd\n0,1,2,3,1\n4,5,6,7,0\n"


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_features_give_their_names_to_the_columns_of_a_table(tmp_path, suffix):
    path, values = tmp_path / f"x{suffix}", np.arange(6, dtype=np.float32).reshape(3, 2)
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    write(path, parts(2, made=values, label=np.arange(3)), ("mass", "the height"))
    if suffix == ".npz":  # arrays have names of their own
        with np.load(path) as stored:
            np.testing.assert_array_equal(stored["made"], values)
        return
    found = open_examples(str(path))
    assert found.columns == ("mass", "the height")
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.labels, np.arange(3))


def test_names_for_columns_of_another_number_are_left(tmp_path):
    write(tmp_path / "x.csv", [{"code": np.zeros((1, 2), np.float32)}], ("mass",))
    assert (tmp_path / "x.csv").read_text().splitlines()[0] == "code_0,code_1"


@pytest.mark.parametrize("other", [{"mass": np.zeros(1)}, {"mass": np.zeros((1, 2)), "label": np.zeros(1)}])
def test_names_that_another_column_has_are_left(tmp_path, other):
    names = ("mass_1", "height") if other["mass"].ndim > 1 else ("mass", "height")
    write(tmp_path / "x.csv", [{"made": np.zeros((1, 2), np.float32), **other}], names)
    heading = (tmp_path / "x.csv").read_text().splitlines()[0].split(",")
    assert heading[:2] == ["made_0", "made_1"]
    assert len(set(heading)) == len(heading)


# --- PNG ---


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_picture_is_a_grid_with_a_line_between_the_images(tmp_path):
    assert write(tmp_path / "x.png", parts(pixel=PICTURES)) == 7
    found = pixels(tmp_path / "x.png")
    assert found.shape == (3 * 4 + 2, 3 * 5 + 2)  # 3 by 3 cells
    for i, picture in enumerate(PICTURES):
        row, column = divmod(i, 3)
        np.testing.assert_array_equal(found[row * 5 : row * 5 + 4, column * 6 : column * 6 + 5], picture[..., 0])
    assert (found[4] == 255).all()
    assert (found[10:, 6:] == 255).all()  # two cells are left over


def test_a_picture_of_shares_is_scaled_and_clipped(tmp_path):
    values = np.array([0.0, 1.0, 0.5, -3.0, 9.0, np.nan, 1e-9, 0.999], np.float32).reshape(1, 2, 4)
    write(tmp_path / "x.png", [{"pixel": values}])
    assert pixels(tmp_path / "x.png").tolist() == [[0, 255, 128, 0], [255, 0, 0, 255]]


def test_a_picture_keeps_colours(tmp_path):
    values = np.random.default_rng(2).integers(0, 256, (1, 3, 4, 3), np.uint8)
    write(tmp_path / "x.png", [{"pixel": values}])
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), values[0])


def test_a_picture_shows_a_hundred_images_and_asks_for_no_more(tmp_path):
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield {"pixel": np.zeros((30, 2, 2), np.uint8)}

    assert write(tmp_path / "x.png", endless()) == 100
    assert len(asked) == 4
    assert pixels(tmp_path / "x.png").shape == (29, 29)


@pytest.mark.slow
def test_a_picture_of_large_images_shows_fewer(tmp_path):
    assert write(tmp_path / "x.png", [{"pixel": np.zeros((30, 2048, 2048), np.uint8)}]) == 16


def test_a_picture_of_vectors_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"x\.png shows images, and these are vectors of 3 values"):
        write(tmp_path / "x.png", parts(code=CODES))
    assert list(tmp_path.iterdir()) == []


# --- whatever the suffix ---


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_file_appears_at_the_end_and_alone(tmp_path, suffix):
    path = tmp_path / f"x{suffix.upper()}"
    path.write_bytes(b"old")

    def watching():
        for part in parts(pixel=PICTURES):
            yield part
            assert path.read_bytes() == b"old"

    write(path, watching())
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size > 3
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("existing", [None, b"old"])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "error",
    [DataError("bad"), KeyboardInterrupt(), OSError(errno.EIO, "the reader's own"), CheckpointError("an OSError, too")],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_midway_leaves_what_was_there_and_passes_through(tmp_path, suffix, existing, error):
    path = tmp_path / f"x{suffix}"
    if existing:
        path.write_bytes(existing)

    def failing():
        yield {"pixel": PICTURES}
        raise error

    with pytest.raises(type(error)) as caught:
        write(path, failing())
    assert caught.value is error
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([existing] if existing else [])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_no_examples_are_a_file_of_none(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    assert write(path, [{"code": CODES[:0]}, {"code": CODES[:0]}]) == 0
    if suffix == ".csv":
        assert path.read_text() == "code_0,code_1,code_2\n"
    else:
        found = np.load(path)
        assert (found if suffix == ".npy" else found["code"]).shape == (0, 3)


def test_a_picture_of_no_images_is_the_callers_mistake(tmp_path):
    with pytest.raises(ValueError, match="no images"):
        write(tmp_path / "x.png", [{"pixel": PICTURES[:0]}])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_the_system_will_not_let_grow_is_one_sentence(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"old")
    noise = np.random.default_rng(3).integers(0, 256, (20, 100, 100), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(ConfigError, match=rf"cannot write .*x\{suffix}: File too large; choose another place"):
            write(path, parts(pixel=noise))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=rf"cannot write .*x\{suffix}: No space left on device; choose another place"):
        write(path, parts(pixel=PICTURES))
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_a_place_that_cannot_be_written_is_refused_before_the_first_batch(tmp_path):
    def never():
        raise AssertionError
        yield

    with pytest.raises(ConfigError, match="is no folder; create it first"):
        write(tmp_path / "no" / "x.npy", never())
    with pytest.raises(ConfigError, match="end it in"):
        write(tmp_path / "x.jpg", never())


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    link = tmp_path / "x.npy"
    link.symlink_to("far/y.npy")
    write(link, parts(code=CODES))
    assert link.is_symlink()
    np.testing.assert_array_equal(np.load(tmp_path / "far" / "y.npy"), CODES)


def test_a_long_name_is_no_hindrance(tmp_path):
    path = tmp_path / ("x" * 251 + ".npy")
    write(path, parts(code=CODES))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_relative_path_is_taken_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("x.npy"), parts(code=CODES))
    assert (tmp_path / "x.npy").is_file()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no batches"),
        ([{"a": PICTURES}, {"b": PICTURES}], "batches differ"),
        ([{"a": PICTURES}, {"a": PICTURES[:, 1:]}], "batches differ"),
        ([{"a": PICTURES}, {"a": PICTURES.astype(np.float32)}], "batches differ"),
        ([{"a": PICTURES, "b": PICTURES[1:]}], "of one batch differ in length"),
    ],
)
def test_batches_that_do_not_fit_together_are_the_callers_mistake(tmp_path, suffix, given, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / f"x{suffix}", given)
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_read_in_batches_again(tmp_path):
    write(tmp_path / "x.npy", parts(pixel=PICTURES))
    np.testing.assert_array_equal(
        np.concatenate([part.values for part in batches(open_examples(str(tmp_path / "x.npy")), 2)]), PICTURES
    )
