"""Any file or source as examples, read in batches."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflax.data import inputs
from aeflax.data.inputs import Inputs, batches, open_examples
from aeflax.data.sources import Examples, Raw
from aeflax.errors import ConfigError, DataError

IMAGES = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2)


def idx_bytes(values):
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape) + values.tobytes()


def whole(found, size=2):
    return np.concatenate([batch.values for batch in batches(found, size)])


@pytest.fixture
def source(monkeypatch):
    """Lets every source read as the given Raw."""
    return lambda raw: monkeypatch.setattr(inputs, "read", lambda *_, **__: raw)


# --- files ---


@pytest.mark.parametrize(
    "name",
    [
        "x.npy",
        "x.NPY",
        "a#b.npy",
        "x.npz",
        "x.npz#images",
        "x.idx",
        "x-ubyte",
        "x.idx3-ubyte.gz",
        "x.gz",
        "idx",
        "x.bin",
    ],
)
def test_files_are_read_by_their_suffix_else_by_their_first_bytes(tmp_path, name):
    path = tmp_path / name.removesuffix("#images")
    if ".npz" in name:
        np.savez(path, **({"images": IMAGES, "other": IMAGES + 1} if "#" in name else {"images": IMAGES}))
    elif ".npy" in name.lower() or name == "x.bin":
        with path.open("wb") as file:
            np.save(file, IMAGES)
    else:
        path.write_bytes(gzip.compress(idx_bytes(IMAGES)) if name.endswith("gz") else idx_bytes(IMAGES))
    found = open_examples(str(tmp_path / name))
    assert found.name == str(tmp_path / name)
    assert found.labels is None
    assert (len(found), found.shape) == (5, (3, 2, 1))
    np.testing.assert_array_equal(np.reshape(found.values[:], IMAGES.shape), IMAGES)
    np.testing.assert_array_equal(whole(found), IMAGES[..., None])


@pytest.mark.parametrize("name", ["x.csv", "x.CSV", "x.csv.gz"])
def test_tables_bring_their_labels(tmp_path, name):
    text = b"a,label,b\n1,7,2\n3,8,4\n5,9,6.5\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    found = open_examples(str(tmp_path / name))
    assert found.shape == (2,)
    parts = list(batches(found, 2))
    assert [part.values.tolist() for part in parts] == [[[1, 2], [3, 4]], [[5, 6.5]]]
    assert [part.labels.tolist() for part in parts] == [[7, 8], [9]]
    assert parts[0].values.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", b"no", r"x\.npy is no NPY file"),
        ("x.npz", b"no", r"x\.npz is no NPZ file"),
        ("x.csv", b"1,a\n2,b\n", r"x\.csv: the value in line 2, column 2 \('a'\) is 'b', not a number"),
        ("x.idx", b"no", r"x\.idx is no IDX file"),
        ("x.txt", b"some text", r"x\.txt is of no kind that is read; give it as \.npy, \.npz, \.csv, \.parquet or IDX"),
        ("x", b"", r"x is of no kind that is read"),
        ("x.gz", b"\x1f\x8b", r"x\.gz is a damaged or truncated gzip file"),
        ("x.gz", gzip.compress(b"some text", mtime=0), r"x\.gz is of no kind that is read"),
    ],
)
def test_a_bad_file_is_a_data_error(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_examples(str(tmp_path / name))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(3), r"x\.npy has the shape \(3,\); expected"),
        (np.ones((0, 3)), r"x\.npy is empty"),
        (np.array([["a"]]), r"x\.npy holds values of type <U1, not numbers"),
    ],
)
def test_what_the_shape_rules_out_is_told_before_a_value_is_read(tmp_path, values, message):
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(DataError, match=message):
        open_examples(str(tmp_path / "x.npy"))


def test_a_missing_file_is_told_with_the_mend(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*missing\.npy: No such file or directory; check the path"):
        open_examples(str(tmp_path / "missing.npy"))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_file_has_no_splits(tmp_path, split):
    np.save(tmp_path / "x.npy", np.ones((2, 2)))
    with pytest.raises(ConfigError, match=rf"x\.npy brings no split '{split}' of its own; take --split all"):
        open_examples(str(tmp_path / "x.npy"), split)


# --- sources ---


def test_a_source_without_splits_is_read_whole():
    found = open_examples("digits")
    assert (found.name, len(found), found.shape) == ("digits", 1797, (8, 8, 1))
    assert found.values.dtype == np.uint8
    assert found.labels.shape == (1797,)
    with pytest.raises(ConfigError, match="digits brings no split 'test' of its own"):
        open_examples("digits", "test")


def test_splits_of_a_source_are_chosen_or_joined(source):
    source(Raw(Examples(IMAGES[:3], np.arange(3)), Examples(IMAGES[3:], np.arange(3, 5))))
    for split, part in (("train", slice(0, 3)), ("test", slice(3, 5)), ("all", slice(0, 5))):
        found = open_examples("mnist", split)
        np.testing.assert_array_equal(found.values, IMAGES[part])
        assert found.labels.tolist() == list(range(5))[part]


def test_joined_splits_have_labels_only_where_both_do(source):
    source(Raw(Examples(IMAGES[:3], np.arange(3)), Examples(IMAGES[3:])))
    assert open_examples("mnist").labels is None


def test_splits_of_different_shapes_cannot_be_joined(source):
    source(Raw(Examples(np.ones((2, 3))), Examples(np.ones((2, 4)))))
    with pytest.raises(DataError, match=r"mnist: training examples have the shape \(3,\), test examples \(4,\).*agree"):
        open_examples("mnist")
    assert open_examples("mnist", "test").shape == (4,)


def test_the_faults_of_a_source_pass_through(tmp_path):
    with pytest.raises(ConfigError, match="has the form synthetic:HxWxC:N"):
        open_examples("synthetic:8")
    with pytest.raises(DataError, match="holds no file train-images"):
        open_examples(f"idx:{tmp_path}")


# --- batches ---


@given(
    total=st.integers(1, 30), size=st.integers(1, 40), rank=st.integers(2, 4), dtype=st.sampled_from(["u1", "i4", "f8"])
)
@settings(deadline=None)
def test_batches_are_the_examples_in_order(total, size, rank, dtype):
    values = np.arange(total * 6).astype(dtype).reshape(total, *((6,), (2, 3), (2, 3, 1))[rank - 2])
    found = list(batches(Inputs("x", values, np.arange(total)), size))
    assert [len(part.values) for part in found] == [min(size, total - first) for first in range(0, total, size)]
    joined = np.concatenate([part.values for part in found])
    np.testing.assert_array_equal(joined, values.reshape(joined.shape))
    assert joined.dtype == (np.uint8 if dtype == "u1" else np.float32)
    assert joined.shape[1:] == Inputs("x", values).shape
    assert np.concatenate([part.labels for part in found]).tolist() == list(range(total))


def test_a_value_that_is_not_finite_is_named_by_its_index_in_the_file():
    values = np.zeros((10, 2))
    values[7, 1] = np.nan
    found = batches(Inputs("x.npy", values), 3)
    assert len([next(found), next(found)]) == 2
    with pytest.raises(DataError, match=r"x\.npy \(examples 6 to 8\) holds 1 value .* the first at index \[7, 1\]"):
        next(found)
    with pytest.raises(DataError, match=r"^x\.npy holds 1 value that is"):
        next(batches(Inputs("x.npy", values), 10))


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_holds_at_least_one_example(size):
    with pytest.raises(ValueError, match=f"size={size}"):
        next(batches(Inputs("x", np.ones((2, 2))), size))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_file_larger_than_memory_is_never_copied_whole(tmp_path, dtype):
    shape = (2**31 // 1024 // np.dtype(dtype).itemsize, 32, 32)
    path = tmp_path / "large.npy"
    with path.open("wb") as file:  # 2 GiB of zeros that take no room on the disk
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        )
        file.truncate(file.tell() + 2**31)
    tracemalloc.start()
    try:
        found = open_examples(str(path))
        parts = batches(found, 256)
        for _ in range(3):
            assert next(parts).values.shape == (256, 32, 32, 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == shape[0]
    # float32, twice while the next batch is made, and its mask of finite values; 4 MiB would hold four batches
    assert peak < 4 * 2**20


def test_batches_are_read_only_when_they_are_asked_for():
    asked = []

    class Rows(np.ndarray):
        def __getitem__(self, index):
            asked.append(index)
            return np.asarray(self)[index]

    found = batches(Inputs("x", np.ones((10, 2)).view(Rows)), 4)
    assert asked == []
    next(found)
    assert asked == [slice(0, 4)]
