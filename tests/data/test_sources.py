"""Sources by name."""

import gzip
import hashlib
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from aeflax.config.sources import PLACED, source_fault
from aeflax.data.sources import read
from aeflax.errors import ConfigError, DataError


def write_idx(path, values):
    content = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist_like(folder, *, end=".gz", joint="-"):
    """Five training and two test images of 3x2, numbered through, with their labels."""
    folder.mkdir(parents=True)
    images = np.arange(7 * 6, dtype=np.uint8).reshape(7, 3, 2)
    labels = np.arange(7, dtype=np.uint8)
    for prefix, part in (("train", slice(0, 5)), ("t10k", slice(5, 7))):
        write_idx(folder / f"{prefix}-images{joint}idx3-ubyte{end}", images[part])
        write_idx(folder / f"{prefix}-labels{joint}idx1-ubyte{end}", labels[part])
    return images, labels


def assert_mnist_like(raw, images, labels):
    np.testing.assert_array_equal(raw.train.values, images[:5])
    np.testing.assert_array_equal(raw.train.labels, labels[:5])
    np.testing.assert_array_equal(raw.test.values, images[5:])
    np.testing.assert_array_equal(raw.test.labels, labels[5:])
    assert raw.train.values.dtype == np.uint8


@pytest.mark.parametrize("source", ["mnits", "", "digits:8", "ftp:somewhere", "MNIST", "csv :a"])
def test_an_unknown_source_is_a_configuration_error_that_lists_the_known_ones(source):
    with pytest.raises(ConfigError, match=r"data\.source=.* is unknown; choose one of") as caught:
        read(source)
    assert caught.value.exit_code == 2
    placed = ", ".join(f"{kind}:..." for kind in ("idx", "npy", "npz", "csv", "parquet", "images", "tfds", "synthetic"))
    assert f"digits, mnist, fashion_mnist, {placed}" in str(caught.value)
    assert repr(source) in str(caught.value)


# --- embedded and generated ---


@pytest.mark.parametrize("where", ["file", "package"])
def test_digits_are_scikit_learns_with_divisor_sixteen(where, monkeypatch):
    if where == "package":
        monkeypatch.setattr(Path, "is_file", lambda path: False)
    raw = read("digits")
    assert raw.train.values.shape == (1797, 8, 8)  # scikit-learn's user guide, "Optical recognition of digits"
    assert raw.train.values.dtype == np.uint8
    assert raw.train.values.max() == raw.divisor == 16.0
    assert raw.test is None
    assert sorted(set(raw.train.labels.tolist())) == list(range(10))
    # The first digit is a zero; its top row as scikit-learn's documentation prints it.
    assert raw.train.labels[0] == 0
    assert raw.train.values[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    theirs = load_digits()
    np.testing.assert_array_equal(raw.train.values, theirs.images)
    np.testing.assert_array_equal(raw.train.labels, theirs.target)


@pytest.mark.slow
def test_training_on_digits_imports_no_scikit_learn():
    """Which alone takes longer than so small a model trains."""
    trained = "aeflax.train(replace(aeflax.presets.vanilla(2), train=aeflax.config.Train(steps=2)))"
    code = f"import sys, aeflax; from dataclasses import replace; {trained}; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("source", ["book.xlsx", "xls:book.xls", "a.b.ods"])
def test_a_workbook_is_to_be_saved_as_csv(source):
    stem = source.rpartition(":")[2].rpartition(".")[0]
    assert source_fault(source).endswith(f"is a workbook; save its sheet as CSV: csv:{stem}.csv")


def test_synthetic_images_have_the_size_and_number_asked_for():
    raw = read("synthetic:5x7x3:11")
    assert raw.train.values.shape == (11, 5, 7, 3)
    assert raw.train.values.dtype == np.uint8
    assert raw.train.labels is None
    assert raw.test is None


def test_synthetic_images_are_the_same_at_every_call_and_every_number():
    few, many = (read(f"synthetic:6x6x1:{examples}").train.values for examples in (50, 4200))
    np.testing.assert_array_equal(many[:50], few)  # 4200 is more than one block


def test_synthetic_images_differ_and_use_the_range():
    values = read("synthetic:8x8x1:500").train.values
    assert len(np.unique(values.reshape(500, -1), axis=0)) == 500
    assert values.min() < 32
    assert values.max() > 223


@pytest.mark.parametrize(
    "place", ["8x8:10", "8x8x1", "8x8x1:0", "0x8x1:10", "-8x8x1:10", "8x8x1:ten", "8x8x1:10 ", "8,8,1:10"]
)
def test_a_malformed_synthetic_source_is_answered_with_the_form(place):
    with pytest.raises(ConfigError, match=r"has the form synthetic:HxWxC:N, e\.g\. synthetic:28x28x1:10000"):
        read(f"synthetic:{place}")


# --- files ---


@pytest.mark.parametrize("joint", ["-", "."])
@pytest.mark.parametrize("end", [".gz", ""])
def test_idx_folders_keep_their_splits_and_labels(tmp_path, end, joint):
    images, labels = write_mnist_like(tmp_path / "set", end=end, joint=joint)
    assert_mnist_like(read(f"idx:{tmp_path / 'set'}"), images, labels)


@pytest.mark.parametrize("prefix", ["train", "t10k"])
@pytest.mark.parametrize("what", ["images-idx3", "labels-idx1"])
def test_a_missing_idx_file_is_named(tmp_path, prefix, what):
    write_mnist_like(tmp_path / "set")
    (tmp_path / "set" / f"{prefix}-{what}-ubyte.gz").unlink()
    with pytest.raises(DataError, match=rf"set holds no file {prefix}-{what}-ubyte\.gz") as caught:
        read(f"idx:{tmp_path / 'set'}")
    assert caught.value.exit_code == 5


def test_a_missing_idx_folder_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="absent holds no file train-images"):
        read(f"idx:{tmp_path / 'absent'}")


@pytest.mark.parametrize(
    "labels", [np.arange(4), np.arange(6), np.zeros((5, 1)), np.array(5)], ids=["fewer", "more", "rank 2", "rank 0"]
)
def test_idx_labels_that_do_not_match_their_images_are_a_data_error(tmp_path, labels):
    write_mnist_like(tmp_path / "set")
    write_idx(tmp_path / "set" / "train-labels-idx1-ubyte.gz", labels.astype(np.uint8))
    with pytest.raises(DataError, match=r"has the shape \(5, 3, 2\) and train-labels.* one label an example"):
        read(f"idx:{tmp_path / 'set'}")


def test_idx_images_without_axes_are_a_data_error(tmp_path):
    write_mnist_like(tmp_path / "set")
    write_idx(tmp_path / "set" / "train-images-idx3-ubyte.gz", np.array(5, np.uint8))
    with pytest.raises(DataError, match=r"has the shape \(\) and"):
        read(f"idx:{tmp_path / 'set'}")


def test_npy_npz_and_csv_sources_deliver_what_their_files_hold(tmp_path):
    values = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", x=values, y=values + 1)
    (tmp_path / "a.csv").write_text("label,u,v\n7,0,1\n8,2,3\n9,4,5\n")
    for source, expected in (("npy:{}/a.npy", values), ("npz:{}/a.npz#y", values + 1), ("csv:{}/a.csv", values)):
        raw = read(source.format(tmp_path))
        np.testing.assert_array_equal(raw.train.values[:], expected)
        assert raw.test is None
        assert raw.divisor is None
    assert raw.train.labels.tolist() == [7, 8, 9]


# --- MNIST and Fashion-MNIST ---


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist_is_read_under_the_data_folder(tmp_path, monkeypatch, name):
    monkeypatch.setenv("AEFLAX_DATA_DIR", str(tmp_path))
    images, labels = write_mnist_like(tmp_path / name)
    assert_mnist_like(read(name), images, labels)


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("absent", r"AEFLAX_DATA_DIR=.*absent is no folder; set it to one whose mnist/ holds train-images-idx3-ubyte"),
        ("", r"AEFLAX_DATA_DIR=.* holds no folder mnist; put train-images-idx3-ubyte\.gz and the three"),
        ("set", r"mnist holds no file train-images-idx3-ubyte\.gz"),
    ],
)
def test_a_data_folder_without_mnist_is_a_data_error_and_no_silent_fallback(tmp_path, monkeypatch, root, message):
    (tmp_path / "set" / "mnist").mkdir(parents=True)
    monkeypatch.setenv("AEFLAX_DATA_DIR", str(tmp_path / root))
    with pytest.raises(DataError, match=message):
        read("mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist_that_is_nowhere_is_answered_with_the_commands_that_fetch_it(tmp_path, monkeypatch, name):
    monkeypatch.delenv("AEFLAX_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match=rf"AEFLAX_DATA_DIR to a folder whose {name}/ holds train-images") as caught:
        read(name)
    assert "pip install 'aeflax[tfds]'" in str(caught.value)
    assert f"tfds.builder('{name}', file_format='array_record').download_and_prepare()" in str(caught.value)


@pytest.mark.skipif(not os.environ.get("AEFLAX_DATA_DIR"), reason="needs MNIST's files: set AEFLAX_DATA_DIR")
def test_mnist_is_the_published_data():
    raw = read("mnist")
    assert raw.train.values.shape == (60000, 28, 28)
    assert raw.test.values.shape == (10000, 28, 28)
    # MD5 of the unzipped files train-images-idx3-ubyte and t10k-images-idx3-ubyte, from README.md beside the data.
    for examples, md5 in (
        (raw.train, "6bbc9ace898e44ae57da46a324031adb"),
        (raw.test, "2646ac647ad5339dbf082846283269ea"),
    ):
        header = bytes.fromhex("00000803") + struct.pack(">3i", *examples.values.shape)
        assert hashlib.md5(header + examples.values.tobytes()).hexdigest() == md5
    assert raw.train.labels[:5].tolist() == [5, 0, 4, 1, 9]  # the first digits, as every MNIST tutorial shows them


@pytest.mark.parametrize("source", ["images.npy", "/a/b.NPZ#x", "./t.csv"])
def test_a_bare_file_is_answered_with_its_source(source):
    kind = source.partition("#")[0].lower()[-3:]
    assert f"did you mean {kind}:{source}?" in (source_fault(source) or "")


@pytest.mark.parametrize("source", ["images", "images:", "idx:", "npy", "npz:", "synthetic:"])
def test_a_source_without_a_place_is_told_its_form(source):
    kind = source.rstrip(":")
    assert f"is not complete; it has the form {kind}:{PLACED[kind]}" in (source_fault(source) or "")
