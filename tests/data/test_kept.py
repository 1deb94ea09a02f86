"""The examples that a run directory keeps."""

import numpy as np
import pytest

from aeflax import config
from aeflax.data.dataset import load
from aeflax.data.kept import Kept
from aeflax.errors import DataError


def dataset(labels=None, examples=100):
    values = np.random.RandomState(0).randint(0, 256, (examples, 3, 2)).astype(np.uint8)
    found = load(config.Data(), values)
    if labels is not None:
        object.__setattr__(found.test, "labels", labels)
    return found


@pytest.mark.parametrize("labels", [None, np.arange(20)])
def test_kept_examples_are_read_back_as_they_were(labels, tmp_path):
    kept = Kept.of(dataset(labels))
    kept.save(tmp_path / "examples.npz")
    again = Kept.load(tmp_path / "examples.npz")
    np.testing.assert_array_equal(again.values, kept.values)
    np.testing.assert_array_equal(again.index, np.arange(20))
    assert (again.values.dtype, again.values.shape) == (np.uint8, (20, 3, 2, 1))
    np.testing.assert_array_equal(again.labels, labels)
    assert [path.name for path in tmp_path.iterdir()] == ["examples.npz"]


def test_few_examples_of_many_are_kept_evenly_spaced(monkeypatch):
    monkeypatch.setattr("aeflax.data.kept.EXAMPLES", 5)
    kept = Kept.of(dataset())
    assert kept.index.tolist() == [0, 4, 9, 14, 19]
    np.testing.assert_array_equal(kept.values, dataset().test.values[kept.index])


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "other", "missing"])
def test_damaged_kept_examples_are_a_data_error(harm, tmp_path):
    path = tmp_path / "examples.npz"
    Kept.of(dataset()).save(path)
    whole = path.read_bytes()
    if harm == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif harm == "flipped":
        place = len(whole) // 4
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "other":
        np.savez(path, a=np.ones(3))
    else:
        path.unlink()
    with pytest.raises(DataError, match=r"examples\.npz"):
        Kept.load(path)


VALUES, INDEX = np.zeros((3, 2, 2, 1), np.uint8), np.arange(3)


@pytest.mark.parametrize(
    "arrays",
    [
        {"values": np.array([None] * 3), "index": INDEX},
        {"values": np.full((3, 2), np.nan), "index": INDEX},
        {"values": np.zeros(()), "index": INDEX},
        {"values": VALUES, "index": np.arange(4)},
        {"values": VALUES, "index": np.zeros(3)},
        {"values": VALUES, "index": INDEX, "labels": np.arange(2)},
    ],
)
def test_kept_examples_that_another_hand_wrote_are_a_data_error(arrays, tmp_path):
    np.savez(tmp_path / "examples.npz", **arrays)
    with pytest.raises(DataError, match=r"examples\.npz"):
        Kept.load(tmp_path / "examples.npz")


def test_keeping_examples_replaces_a_link_and_not_what_it_points_to(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "examples.npz").symlink_to("precious")
    Kept.of(dataset()).save(tmp_path / "examples.npz")
    assert (tmp_path / "precious").read_text() == "precious"
    assert len(Kept.load(tmp_path / "examples.npz").values) == 20
