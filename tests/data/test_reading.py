"""Reading ahead: the same items in the same order by any number of workers, errors told, nothing left behind."""

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from aeflax.data import npy, reading
from aeflax.data.rows import Lazy, Spaced, take
from aeflax.errors import DataError

ROWS, WORKERS = 500, [0, 1, 3]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Rows of a file and the same as an array."""
    values = np.random.default_rng(0).integers(0, 256, (ROWS, 4, 3, 1)).astype(np.uint8)
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    np.save(path, values)
    return npy.rows(path), values


def some(count, *shape):
    return [np.random.default_rng(i).integers(-1, ROWS, shape).astype(np.int32) for i in range(count)]


def left():
    """Threads and processes of reading ahead that still run."""
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("grain-prefetch")]
    return threads + multiprocessing.active_children()


def shared():
    """Items in shared memory."""
    return {name for name in os.listdir(reading.SHARED_MEMORY) if name.startswith("psm_")}


def assert_nothing_is_left():
    until = time.monotonic() + 20
    while left() and time.monotonic() < until:
        time.sleep(0.05)
    assert left() == []


@pytest.mark.slow
@pytest.mark.parametrize("taken", [1, 5, 10])
def test_items_leave_shared_memory(stored, taken):
    before = shared()
    found = reading.ahead(stored[0], some(10, 4, 5), workers=2)
    for _ in range(taken):
        next(found)
    items = shared() - before
    assert items
    if taken == 10:
        assert list(found) == []
    else:
        found.close()
    until = time.monotonic() + 20
    while items & shared() and time.monotonic() < until:
        time.sleep(0.05)
    assert not items & shared()


slow = functools.partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize("workers", [0, slow(1), slow(3)])
def test_items_are_the_rows_of_the_tables_in_their_order(stored, workers):
    rows, values = stored
    tables = some(10, 4, 5)
    found = list(reading.ahead(rows, tables, workers=workers))
    assert len(found) == 10
    for item, table in zip(found, tables, strict=True):
        assert (type(item), item.shape, item.dtype) == (np.ndarray, (4, 5, 4, 3, 1), np.uint8)
        assert item.flags.c_contiguous
        np.testing.assert_array_equal(item[table >= 0], values[table[table >= 0]])
    assert_nothing_is_left()


@pytest.mark.parametrize("workers", [0, slow(2)])
def test_views_are_read_ahead_from_any_table_on(stored, workers):
    rows, values = stored
    tables = [np.arange(i, i + 3, dtype=np.int32) for i in range(20)]
    found = list(reading.ahead(take(rows, Spaced(100, 200, 2)), tables[15:], workers=workers))
    for item, table in zip(found, tables[15:], strict=True):
        np.testing.assert_array_equal(item, values[100:500:2][table])


def test_an_array_is_read_by_this_process_whatever_is_asked(stored):
    _, values = stored
    found = reading.ahead(values, some(3, 5), workers=4)
    next(found)
    assert multiprocessing.active_children() == []
    assert len(list(found)) == 2


class Broken:
    """Reads rows until one that is damaged, or that ends the process."""

    def __init__(self, kill=None):
        self.kill = kill

    def __call__(self, positions):
        if 7 in positions:
            if self.kill:
                os.kill(os.getpid(), self.kill)
            raise DataError("row 7 is damaged; replace it")
        return np.zeros((len(positions), 2), np.uint8)


def broken(**how):
    return Lazy((ROWS, 2), np.dtype(np.uint8), Broken(**how))


@pytest.mark.parametrize("workers", [0, slow(1), slow(3)])
def test_a_damaged_row_is_told_as_its_reader_told_it_after_the_items_before(workers):
    found = reading.ahead(broken(), [np.array([i]) for i in range(20)], workers=workers)
    for _ in range(7):
        next(found)
    with pytest.raises(DataError, match=r"^row 7 is damaged; replace it$"):
        next(found)
    assert_nothing_is_left()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_a_data_error_in_bounded_time():
    found = reading.ahead(broken(kill=signal.SIGKILL), [np.array([i]) for i in range(20)], workers=2)
    start = time.monotonic()
    with pytest.raises(DataError, match=r"ended before its time \(.*exit code -9.*set data\.workers lower"):
        list(found)
    assert time.monotonic() - start < 30
    assert_nothing_is_left()


@pytest.mark.slow
def test_a_worker_that_stays_stopped_is_a_data_error_in_bounded_time(monkeypatch):
    monkeypatch.setattr(reading, "PAUSE", 2)
    found = reading.ahead(broken(kill=signal.SIGSTOP), [np.array([i]) for i in range(20)], workers=2)
    with pytest.raises(DataError, match=r"ended before its time \(.*exit code -9"):
        list(found)
    assert_nothing_is_left()


@pytest.mark.parametrize("workers", [0, slow(3)])
def test_closing_early_ends_threads_and_processes(stored, workers):
    found = reading.ahead(stored[0], some(1000, 5), workers=workers)
    next(found)
    assert left()
    found.close()
    assert_nothing_is_left()


def test_no_more_is_read_ahead_than_a_few_items():
    read = []

    class Counted:
        def __call__(self, positions):
            read.append(int(positions[0]))
            return np.zeros((len(positions), 2), np.uint8)

    found = reading.ahead(
        Lazy((ROWS, 2), np.dtype(np.uint8), Counted()), [np.array([i]) for i in range(100)], workers=0
    )
    next(found)
    time.sleep(0.2)
    assert max(read) <= 1 + reading.AHEAD
    found.close()


def test_workers_are_as_many_as_shared_memory_has_room_for(stored, monkeypatch):
    tables = some(9, 10, 10)
    item = 100 * 12
    for room, workers in ((3, 0), (5, 1), (8, 2), (1000, 4)):
        free = type("Usage", (), {"free": room * item})
        monkeypatch.setattr(reading.shutil, "disk_usage", lambda place, free=free: free)
        assert reading._fitting(stored[0], tables, 4) == workers
    assert reading._fitting(stored[0], tables, 0) == 0


def test_no_process_is_started_for_a_single_item(stored):
    assert [reading._fitting(stored[0], some(count, 10), 4) for count in (0, 1, 2, 5)] == [0, 0, 1, 4]


def test_processes_are_the_default_only_where_examples_are_decoded(stored):
    decoded = Lazy((9, 2), np.dtype(np.uint8), Broken(), costly=True)
    assert reading.default_workers(stored[0]) == reading.default_workers(stored[1]) == 0
    assert reading.default_workers(take(decoded, Spaced(0, 3))) == len(os.sched_getaffinity(0))


PROGRAM = """
import sys, time
import numpy as np
from pathlib import Path
from aeflax.data import npy, reading

if __name__ == "__main__":
    rows = npy.rows(Path(sys.argv[1]))
    found = reading.ahead(rows, [np.arange(50, dtype=np.int32)] * 10**6, workers=2)
    next(found), next(found)
    import multiprocessing
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    if sys.argv[2] == "wait":
        time.sleep(60)
"""


def running(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("how", ["end", "kill"])
def test_workers_end_with_their_parent_and_leave_no_words(stored, tmp_path, how):
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    np.save(tmp_path / "a.npy", stored[1])
    words = [sys.executable, "-W", "error", str(script), str(tmp_path / "a.npy"), "wait" if how == "kill" else "end"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            workers = process.stdout.readline().split()
            _, errors = process.communicate(timeout=60 if how == "end" else 0.01)
            assert errors == ""
        except subprocess.TimeoutExpired:
            assert how == "kill"
        finally:
            process.kill()
    assert len(workers) == 2
    until = time.monotonic() + 20
    while any(map(running, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(running, workers))


SIGNALLED = """
import os, signal, sys, threading, time
import numpy as np
from pathlib import Path
from aeflax.data import npy, reading

if __name__ == "__main__":
    heard = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: heard.append(1))

    def keep_on():
        for _ in range(30):
            time.sleep(0.1)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.killpg(0, number)

    rows = npy.rows(Path(sys.argv[1]))
    found = reading.ahead(rows, [np.arange(50, dtype=np.int32)] * 10**6, workers=2)
    threading.Thread(target=keep_on).start()
    next(found)
    until = time.monotonic() + 4
    while time.monotonic() < until:
        next(found)
    found.close()
    print(len(heard) > 9)
"""


@pytest.mark.slow
def test_signals_to_all_of_a_group_are_for_the_process_that_reads_from_its_workers(stored, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SIGNALLED)
    np.save(tmp_path / "a.npy", stored[1])
    words = [sys.executable, "-W", "error", str(script), str(tmp_path / "a.npy")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, start_new_session=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


HELD = """
import sys, time
import jax
import numpy as np
from pathlib import Path
from aeflax.data import npy, reading

if __name__ == "__main__":
    rows = npy.rows(Path(sys.argv[1]))
    for item in reading.ahead(rows, [np.arange(500, dtype=np.int32)] * 3, workers=2):
        held = jax.device_put(item)
    del item
    time.sleep(1)  # grain lets go of shared memory in a thread of its own
"""


@pytest.mark.slow
def test_what_a_device_holds_until_the_end_does_not_stay_in_shared_memory(stored, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(HELD)
    np.save(tmp_path / "a.npy", stored[1])
    words = [sys.executable, str(script), str(tmp_path / "a.npy")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
