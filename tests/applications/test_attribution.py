"""Which feature is to blame, beside the closed form that there is for PCA."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aeflax.applications.attribution import CANDIDATES, LONGEST, attribute


def projection(features, rank, seed):
    """What PCA reconstructs: an orthogonal projection [F, F]."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(features, rank)))
    return basis @ basis.T


def reconstructing(matrix):
    return lambda rows: (rows.astype(np.float64) @ matrix).astype(np.float32)


@given(features=st.integers(2, CANDIDATES), seed=st.integers(0, 999), data=st.data())
def test_of_a_projection_the_contributions_are_those_of_the_closed_form(features, seed, data):
    """Alcala & Qin 2009, equation 14: e_j^2 / c_jj, with e the residual and c_jj the diagonal of I - P."""
    matrix = projection(features, data.draw(st.integers(1, features - 1)), seed)
    rows = np.random.default_rng(seed + 1).normal(size=(5, features)).astype(np.float32)
    rest = np.eye(features) - matrix
    assume(np.diag(rest).min() > 1.1 / LONGEST)  # what the code all but copies is not extrapolated to
    residual = rows @ rest
    contributions = residual**2 / np.diag(rest)
    found = attribute(reconstructing(matrix), rows)
    for row, (feature, *_) in enumerate(found.features):
        most, whole = contributions[row].max(), np.sum(residual[row] ** 2)
        # float32 rows: what a feature takes away is known to some 1e-6 of the row's squares, not of its error.
        close = 1e-4 * np.sum(rows[row] ** 2)
        assert contributions[row, feature] == pytest.approx(most, abs=close)
        assert found.shares[row, 0] * whole == pytest.approx(most, abs=close)
    assert (found.shares >= 0).all()
    assert (found.shares.sum(axis=1) <= 1 + 1e-12).all()
    assert all(len(set(row)) == found.features.shape[1] == min(3, features) for row in found.features)


def test_a_stuck_feature_is_named_where_another_errs_most():
    """Three features that are one number: two of them say it, and a fourth that follows from all shows the error."""
    loading = np.array([[0.9, 0.1, 0.1, 0.4]])
    matrix = loading.T @ loading / np.sum(loading**2)
    well = np.array([[9, 1, 1, 4]], np.float32)
    odd = well.copy()
    odd[0, 0] = 0
    errors = (reconstructing(matrix)(odd) - odd) ** 2
    assert errors.argmax() != 0
    found = attribute(reconstructing(matrix), odd)
    assert found.features[0, 0] == 0
    assert found.expected[0, 0] == pytest.approx(9, rel=1e-4)
    assert found.shares[0, 0] == pytest.approx(1, abs=1e-6)


def test_two_odd_features_are_named_one_after_the_other():
    matrix = projection(12, 2, 0)
    well = np.random.default_rng(1).normal(size=(20, 12)) @ matrix
    odd = well.astype(np.float32)
    odd[:, 3] += 8
    odd[:, 7] -= 5
    found = attribute(reconstructing(matrix), odd)
    np.testing.assert_array_equal(found.features[:, :2], [[3, 7]] * 20)
    # The first one's stands beside a second that is odd still; with both replaced nothing is left.
    np.testing.assert_allclose(found.shares[:, :2].sum(axis=1), 1, atol=0.1)
    assert (found.shares[:, 1] > 0.1).all()


def test_numbers_beyond_all_bounds_are_to_blame_and_nothing_breaks():
    def reconstruct(rows):
        with np.errstate(over="ignore", invalid="ignore"):
            again = np.tanh(rows) + rows * rows * np.float32(1e-3)
            return np.where(np.abs(rows).max(axis=1, keepdims=True) > 1e30, np.nan, again).astype(np.float32)

    rows = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    rows[0, 2], rows[1, 4] = 3e38, -3e38
    found = attribute(reconstruct, rows)
    assert found.features[0, 0] == 2
    assert found.features[1, 0] == 4
    assert (np.abs(found.expected) < 10).all()
    assert np.isfinite(found.shares).all()


def test_a_row_without_error_blames_nothing_and_no_rows_none():
    found = attribute(lambda rows: rows, np.ones((2, 4), np.float32))
    np.testing.assert_array_equal(found.shares, 0)
    assert attribute(lambda rows: rows, np.ones((0, 4), np.float32)).features.shape == (0, 3)
    assert attribute(lambda rows: 0 * rows, np.ones((2, 1), np.float32)).shares.tolist() == [[1.0], [1.0]]


def test_many_features_are_looked_at_in_pieces(monkeypatch):
    matrix = projection(40, 5, 3)
    rows = np.random.default_rng(2).normal(size=(30, 40)).astype(np.float32)
    whole = attribute(reconstructing(matrix), rows)
    monkeypatch.setattr("aeflax.applications.attribution.MAX_VALUES", 40 * CANDIDATES * 7)
    pieces = attribute(reconstructing(matrix), rows)
    np.testing.assert_array_equal(whole.features, pieces.features)
    np.testing.assert_allclose(whole.shares, pieces.shares)
