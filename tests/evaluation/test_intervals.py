"""Intervals over seeds."""

import math

import numpy as np

from aeflax.evaluation.intervals import interval, share


def test_an_interval_is_students():
    """4.302653: the 97.5 % quantile of Student's distribution with 2 degrees of freedom (any table of it)."""
    found = interval([1.0, 2.0, 3.0])
    np.testing.assert_allclose(found["mean"], 2)
    half = 4.302653 / math.sqrt(3)
    np.testing.assert_allclose([found["low"], found["high"]], [2 - half, 2 + half], rtol=1e-6)


def test_one_measurement_has_no_interval():
    assert interval([0.5]) == share([0.5]) == {"mean": 0.5, "low": None, "high": None}


def test_a_share_stays_between_nothing_and_all():
    assert share([0.0, 1.0]) == {"mean": 0.5, "low": 0.0, "high": 1.0}
