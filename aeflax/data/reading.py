"""Examples read ahead of their use, by grain: in threads of this process, or in processes of their own.

What is read depends on the index alone, so that any number of workers gives the same items in the same order, and a
restart needs no saved position.
"""

import atexit
import functools
import gc
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np

from aeflax.data.rows import Rows, is_costly
from aeflax.errors import SIGNALS, DataError, reason

AHEAD = 2  # items that a process has ready or in work
SHARED_MEMORY = "/dev/shm"  # where items of worker processes travel
PAUSE = 10  # seconds that a worker process may be stopped, as by SIGSTOP, before it is ended


def default_workers(rows: Rows) -> int:
    """Processes worth reading such rows: one a processor where examples are decoded, none where they are copied."""
    return _processors() if is_costly(rows) else 0


def _processors() -> int:
    """Processors that this process may use; `os.process_cpu_count` is new in Python 3.13."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ahead(rows: Rows, tables: Sequence[np.ndarray], *, workers: int | None) -> Generator[np.ndarray, None, None]:
    """Yields the rows of each table in turn, strictly in order: of a table [...], an array [..., *example].

    Closing the iterator ends its threads and processes.

    Args:
      rows: an array is read by this process, whatever `workers` says, for a process more would be a copy of it more.
      tables: indices, int32 of any shape; any row may stand where the index is -1.
      workers: processes; fewer run where items would not fit in the shared memory that they travel in. 0: two threads
        of this process; None: one a processor where examples are decoded, none where they are copied.

    Raises:
      DataError: what the reader raised, and where a worker process ended before its time.
    """
    import grain
    from absl import flags

    if not flags.FLAGS.is_parsed():  # grain asks for its flags, which nobody gives
        flags.FLAGS.mark_as_parsed()
    grain.config.update("py_traceback_filtering", "off")  # which writes into the messages of errors
    wanted = default_workers(rows) if workers is None else workers
    count = 0 if isinstance(rows, np.ndarray) else _fitting(rows, tables, wanted)
    items = grain.MapDataset.source(_Items(rows, tables)).to_iter_dataset(
        grain.ReadOptions(num_threads=AHEAD, prefetch_buffer_size=AHEAD)
    )
    if count:
        options = grain.MultiprocessingOptions(num_workers=count, per_worker_buffer_size=1)
        items = items.mp_prefetch(options, worker_init_fn=_begin)
    held = [iter(items)]
    ask = _first if count else _next
    ended = threading.Event()
    if count:
        threading.Thread(target=_end_stopped, args=(set(multiprocessing.active_children()), ended), daemon=True).start()
    end = functools.partial(_end, held, count)
    atexit.register(end)  # where nobody closes this; comes before the exit of multiprocessing, which ends the processes
    forget = functools.partial(atexit.unregister, end)  # works when Python has taken this module down, too
    try:
        for _ in range(len(tables)):
            yield ask(held[0], count)
            ask = _next
    finally:
        ended.set()
        forget()
        end()


def _end(held: list[Any], workers: int) -> None:
    """Closes grain's iterator and lets go of it, for it cannot be closed any more when Python is being taken down."""
    if not held:
        return
    held.pop().close()
    if workers:
        gc.collect()  # what grain holds in a cycle keeps the last item of each process in shared memory


def _first(iterator: Iterator[np.ndarray], workers: int) -> np.ndarray:
    """The first item, asked for by a thread that hears no signals, as then do the processes that it starts.

    So a signal to a whole group of processes, as a terminal sends it, is left to the one that can stop in order.
    """
    with ThreadPoolExecutor(1, initializer=_hear_no_signals) as starter:
        return starter.submit(_next, iterator, workers).result()


def _hear_no_signals() -> None:
    for _ in range(2):  # the tracker of shared memory, where it is started, lets some of them through again
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        resource_tracker.ensure_running()


def _next(iterator: Iterator[np.ndarray], workers: int) -> np.ndarray:
    try:
        # A copy, of what a worker wrote into shared memory: a device may hold on to what it is given until Python ends.
        return np.array(next(iterator))
    except RuntimeError as error:
        if not workers or "Worker process was terminated" not in str(error):
            raise
        raise DataError(
            f"a process that reads examples ahead ended before its time ({reason(error)}): give it more memory or set "
            "data.workers lower; 0 does without, as must a script that has no `if __name__ == '__main__':`"
        ) from error


def _end_stopped(others: set[Any], ended: threading.Event) -> None:
    """Ends worker processes that stay stopped, for which the run would wait for ever.

    The seconds count while this process itself goes on: a terminal may stop all of them for as long as it likes.

    Args:
      others: processes that are not looked at.
      ended: says that nothing is read any more.
    """
    seconds: dict[int, int] = {}
    while not ended.wait(1):
        for process in multiprocessing.active_children():
            if process in others or process.pid is None:
                continue
            with suppress(OSError):  # it has ended, or there is no /proc
                state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
                seconds[process.pid] = seconds.get(process.pid, 0) + 1 if state == "T" else 0
                if seconds[process.pid] >= PAUSE:
                    process.kill()


class _Items:
    """What grain reads from: item i is the rows of table i."""

    def __init__(self, rows: Rows, tables: Sequence[np.ndarray]) -> None:
        self._rows, self._tables = rows, tables

    def __len__(self) -> int:
        return len(self._tables)

    def __getitem__(self, index: Any) -> np.ndarray:
        table = self._tables[int(index)]
        found = self._rows[np.maximum(table, 0).reshape(-1)]
        return found.reshape(*table.shape, *found.shape[1:])


def _fitting(rows: Rows, tables: Sequence[np.ndarray], workers: int) -> int:
    """The most workers whose items fit in shared memory: two of each worker, and those that are in use.

    Fewer than there are items, too: starting a process takes seconds, which a single item does not repay.
    """
    workers = max(0, min(workers, len(tables) - 1))
    if not workers or not os.path.isdir(SHARED_MEMORY):
        return workers
    item = tables[0].size * (rows.nbytes // len(rows))
    free = shutil.disk_usage(SHARED_MEMORY).free
    return max(0, min(workers, (free // max(item, 1) - 3) // 2))


def _begin(worker: int, workers: int) -> None:
    """In a new worker process: ends with the parent, and touches no accelerator."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
