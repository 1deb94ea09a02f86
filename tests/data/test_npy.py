"""NPY files that are read when they are asked for."""

import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from aeflax.data import npy
from aeflax.data.rows import Lazy
from aeflax.errors import DataError


def stored(folder, values):
    np.save(folder / "a.npy", values)
    return folder / "a.npy"


@pytest.mark.parametrize("shape", [(50, 7), (50, 3, 2), (50, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f4", "f8", "i2", "?", "f2"])
def test_rows_are_those_of_the_file(tmp_path, shape, dtype):
    expected = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    found = npy.rows(stored(tmp_path, expected))
    assert isinstance(found, Lazy)
    assert found.shape == (*shape, 1)[: max(2, len(shape) + (len(shape) == 3))]
    assert found.dtype == (np.uint8 if dtype == "u1" else np.float32)
    expected = expected.astype(found.dtype).reshape(found.shape)
    for index in (slice(None), slice(5, 40, 3), [7, 8, 9, 3, 49, 0, 0], []):
        index = index if isinstance(index, slice) else np.array(index, np.int32)
        rows = found[index]
        np.testing.assert_array_equal(rows, expected[index])
        assert rows.dtype == found.dtype
        assert rows.flags.writeable
        assert rows.flags.c_contiguous


def test_rows_travel_to_another_process_by_path_and_not_by_value(tmp_path, monkeypatch):
    stored(tmp_path, np.arange(10**6, dtype=np.uint8).reshape(1000, 1000))
    monkeypatch.chdir(tmp_path)
    message = pickle.dumps(npy.rows(tmp_path.__class__("a.npy")))
    monkeypatch.chdir("/")
    assert len(message) < 1000
    assert pickle.loads(message)[np.array([3])].tolist() == [(np.arange(3000, 4000) % 256).tolist()]


def test_neighbours_are_read_at_once(tmp_path, monkeypatch):
    calls = []
    read = npy.os.preadv
    monkeypatch.setattr(npy.os, "preadv", lambda *of: calls.append(1) or read(*of))
    found = npy.rows(stored(tmp_path, np.arange(60, dtype=np.uint8).reshape(20, 3)))
    found[:]
    assert len(calls) == 1
    found[np.array([4, 5, 6, 1, 2, 19])]
    assert len(calls) == 4


def test_several_threads_read_at_one_time(tmp_path):
    expected = np.random.default_rng(0).integers(0, 256, (5000, 100)).astype(np.uint8)
    found, wrong = npy.rows(stored(tmp_path, expected)), []

    def check(seed):
        for _ in range(20):
            index = np.random.default_rng(seed).integers(0, 5000, 500)
            if not np.array_equal(found[index], expected[index]):
                wrong.append(seed)

    threads = [threading.Thread(target=check, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_array_stored_by_columns_is_read_whole_or_refused(tmp_path, monkeypatch):
    expected = np.arange(20.0, dtype=np.float32).reshape(5, 4)
    path = stored(tmp_path, np.asfortranarray(expected))
    np.testing.assert_array_equal(npy.rows(path), expected)
    monkeypatch.setattr(npy, "fits_memory", lambda nbytes: False)
    with pytest.raises(DataError, match=r"a\.npy is stored column by column, .*; write it again with numpy\.save"):
        npy.rows(path)


def test_a_file_that_was_cut_or_removed_since_is_a_data_error(tmp_path):
    path = stored(tmp_path, np.zeros((100, 50), np.uint8))
    found = npy.rows(path)
    message = pickle.dumps(found)
    with path.open("rb+") as file:
        file.truncate(3000)
    assert found[:2].shape == (2, 50)
    with pytest.raises(DataError, match=r"a\.npy has become shorter since it was opened"):
        found[np.array([1, 99])]
    path.unlink()
    with pytest.raises(DataError, match=r"cannot read .*a\.npy: No such file"):
        pickle.loads(message)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(3), "expected"),
        (np.ones((0, 3)), "is empty"),
        (np.array([["a"]]), "not numbers"),
        (np.ones((2, 3), complex), "not numbers"),
    ],
)
def test_what_are_no_examples_is_refused_at_once(tmp_path, values, message):
    with pytest.raises(DataError, match=rf"a\.npy .*{message}"):
        npy.rows(stored(tmp_path, values))


PASS = """
import sys
import numpy as np
from aeflax import config
from aeflax.data.dataset import load
from aeflax.data.kept import Kept

def resident():
    return [int(line.split()[1]) // 1024 for line in open('/proc/self/status') if line.startswith('VmHWM')][0]

path, small, scale = sys.argv[1:]
load(config.Data(source='npy:' + small, resident=False, scale=scale)).fingerprint()  # imports what it needs
before = resident()
data = load(config.Data(source='npy:' + path, resident=False, scale=scale, validation=1000))
data.span, data.fingerprint(), Kept.of(data)
for start in range(0, 400_000, 20_000):
    data.train.values[np.random.RandomState(start).randint(0, len(data.train), 20_000)]
print(resident() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "scale"), [("u1", "standard"), ("u1", "none"), ("f4", "standard"), ("f4", "none")])
def test_memory_stays_flat_over_a_file_of_any_size(tmp_path, dtype, scale):
    width = 784 // np.dtype(dtype).itemsize
    for name, rows in (("small", 50), ("large", 512_000)):  # 400 MB that take no room on the disk
        with (tmp_path / name).open("wb") as file:
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (rows, width)}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + rows * 784)
    done = subprocess.run(
        [sys.executable, "-c", PASS, str(tmp_path / "large"), str(tmp_path / "small"), scale],
        capture_output=True,
        text=True,
        check=True,
    )
    # A block of 4 Mi values as stored and, for moments, in float64; the 16 MB read at random and their indices.
    assert int(done.stdout) < 100
