"""Reads streamed examples in advance."""

import numpy as np


def ahead(rows, tables, *, workers):
    for i in range(len(tables)):
        yield rows[np.maximum(tables[i], 0)]


def default_workers(rows):
    return 0
