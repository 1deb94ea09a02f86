"""The order of a run as tables of examples, whole or one process's columns of them."""

import functools
import pickle

import numpy as np
import pytest

from aeflax.data.order import permutation
from aeflax.engine.feed import Feed, Streamed, Tables
from aeflax.engine.placement import choose

EXAMPLES, BATCH, SPAN = 44, 8, 4  # six steps an epoch, the last one of four examples; two chunks
ORDER = functools.partial(permutation, 3, examples=EXAMPLES)


def test_tables_hold_every_epoch_in_its_order_and_pad_its_end():
    tables = Tables(ORDER, EXAMPLES, BATCH, SPAN, slice(0, BATCH))
    assert (tables.steps_per_epoch, tables.per_epoch) == (6, 2)
    for epoch in range(3):
        rows = np.concatenate([tables[2 * epoch], tables[2 * epoch + 1]])
        assert rows.shape == (8, BATCH)
        np.testing.assert_array_equal(rows.reshape(-1)[:EXAMPLES], ORDER(epoch))
        assert (rows.reshape(-1)[EXAMPLES:] == -1).all()


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_together_read_the_one_order(processes):
    """The global order is the same for any number of them."""
    share = BATCH // processes
    parts = [Tables(ORDER, EXAMPLES, BATCH, SPAN, slice(i * share, (i + 1) * share)) for i in range(processes)]
    whole = Tables(ORDER, EXAMPLES, BATCH, SPAN, slice(0, BATCH))
    for chunk in range(5):
        np.testing.assert_array_equal(np.concatenate([part[chunk] for part in parts], axis=1), whole[chunk])


def test_tables_begin_anywhere_and_travel_to_a_worker():
    tables = Tables(ORDER, EXAMPLES, BATCH, SPAN, slice(0, BATCH))
    later = pickle.loads(pickle.dumps(tables.from_chunk(3)))
    np.testing.assert_array_equal(later[0], tables[3])
    assert len(later) == len(tables) - 3


class Counted:
    """Examples that count how they are read, and a reader that goes strictly forward."""

    def __init__(self):
        self.values = np.arange(EXAMPLES * 6, dtype=np.uint8).reshape(EXAMPLES, 2, 3)
        self.starts, self.closed = [], 0

    def read(self, tables):
        self.starts.append(tables.start)
        try:
            for i in range(10**6):
                yield self.values[np.maximum(tables[i], 0)]
        finally:
            self.closed += 1


def test_chunks_are_read_forward_once_and_a_jump_starts_anew(monkeypatch):
    monkeypatch.setattr("aeflax.engine.feed.CHUNK_BYTES", SPAN * BATCH * 6)
    data = Counted()
    scaling = np.zeros(1, np.float32), np.ones(1, np.float32)
    feed = Feed(Streamed(data.read, EXAMPLES, 6), scaling, BATCH, ORDER, choose("jit"))
    seen = []
    step = 0
    while step < 12:
        chunk = feed.chunk(step, limit=3)
        for row in range(chunk.first, chunk.first + chunk.steps):
            example, rows = np.asarray(chunk.order.example[row]), np.asarray(chunk.source.rows[row])
            np.testing.assert_array_equal(rows[example >= 0], data.values.reshape(EXAMPLES, 6)[example[example >= 0]])
            assert int(chunk.order.size[row]) == (example >= 0).sum()
            seen.extend(example[example >= 0])
        step += chunk.steps
    assert seen == [*ORDER(0), *ORDER(1)]
    assert data.starts == [0]
    feed.chunk(100, limit=1)  # epoch 16, row 4: the second chunk of it
    assert data.starts == [0, 33]
    assert data.closed == 1
    feed.close()
    assert data.closed == 2
