"""Which feature is to blame, beside the closed form that there is for PCA."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aeflax.applications.attribution import CANDIDATES, Model, attribute


def projection(features, rank, seed):
    """What PCA reconstructs: an orthogonal projection [F, F]."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(features, rank)))
    return basis @ basis.T


def model(matrix, *, known=1e3):
    """Of a linear model; features are known to lie within so much of 0."""
    within = np.stack([-np.full(len(matrix), float(known)), np.full(len(matrix), float(known))])
    return Model(lambda rows: (rows.astype(np.float64) @ matrix).astype(np.float32), within)


def blamed(model, rows, weights=1.0):
    return attribute(model, rows, weights)


@given(features=st.integers(2, CANDIDATES), seed=st.integers(0, 999), data=st.data())
def test_of_a_projection_the_contributions_are_those_of_the_closed_form(features, seed, data):
    """Alcala & Qin 2009, equation 14: e_j^2 / c_jj, with e the residual and c_jj the diagonal of I - P."""
    matrix = projection(features, data.draw(st.integers(1, features - 1)), seed)
    rows = np.random.default_rng(seed + 1).normal(size=(5, features)).astype(np.float32)
    rest = np.eye(features) - matrix
    assume(np.diag(rest).min() > 0.01)  # what the code all but copies is expected far outside of what is known
    residual = rows @ rest
    contributions = residual**2 / np.diag(rest)
    found = blamed(model(matrix), rows)
    for row, (feature, *_) in enumerate(found.features):
        most, whole = contributions[row].max(), np.sum(residual[row] ** 2)
        # float32 rows of values up to 1,000, which are tried: their squares' roundings are some .1, and the parabola
        # through them is refined three times.
        assert contributions[row, feature] == pytest.approx(most, abs=2e-3)
        assert found.shares[row, 0] * whole == pytest.approx(most, abs=2e-3)
    assert (found.shares >= 0).all()
    assert (found.shares.sum(axis=1) <= 1 + 1e-12).all()
    assert all(len(set(row)) == found.features.shape[1] == min(3, features) for row in found.features)


@given(seed=st.integers(0, 999))
def test_with_weights_it_is_the_weighted_error_that_is_lowered(seed):
    """Of a linear model a parabola over the value, whose lowest point is a least-squares solution."""
    random = np.random.default_rng(seed)
    matrix, weights = random.normal(size=(6, 6)) / 3, random.uniform(0.1, 10, 6)
    rows = random.normal(size=(3, 6)).astype(np.float32)
    found = blamed(model(matrix, known=30), rows, weights)
    rest, root = np.eye(6) - matrix, np.sqrt(weights)
    for row, given_row in enumerate(rows):
        left = []
        for feature in range(6):
            direction, error = rest[feature] * root, given_row @ rest * root
            step = np.clip(-error @ direction / (direction @ direction), *(np.array([-30, 30]) - given_row[feature]))
            left.append(np.sum((error + step * direction) ** 2))
        whole = np.sum((given_row @ rest * root) ** 2)
        # Values up to 30 in float32: squares of the errors round by some 1e-4 of theirs.
        assert found.shares[row, 0] == pytest.approx(1 - min(left) / whole, abs=2e-3)
        assert left[found.features[row, 0]] == pytest.approx(min(left), abs=2e-3 * whole)


def test_a_stuck_feature_is_named_where_another_errs_most():
    loading = np.array([[0.9, 0.1, 0.1, 0.4]])
    matrix = loading.T @ loading / np.sum(loading**2)
    odd = np.array([[0, 1, 1, 4]], np.float32)  # where 9 is expected
    linear = model(matrix, known=20)
    assert ((linear.again(odd) - odd) ** 2).argmax() != 0
    found = blamed(linear, odd)
    assert found.features[0, 0] == 0
    assert found.expected[0, 0] == pytest.approx(9, rel=1e-3)
    assert found.shares[0, 0] == pytest.approx(1, abs=1e-5)


def test_nothing_is_expected_that_was_never_seen_but_as_far_as_the_row_is_reconstructed():
    loading = np.array([[0.9, 0.1, 0.1, 0.4]])
    matrix = loading.T @ loading / np.sum(loading**2)
    linear, odd = model(matrix, known=1), np.array([[0, 1, 1, 4]], np.float32)
    found = blamed(linear, odd)
    assert (np.abs(found.expected[:, 0]) <= np.maximum(1, np.abs(linear.again(odd).max()))).all()
    assert found.expected[0, 0] < 9  # which would leave nothing


def test_a_row_beyond_what_is_known_is_blamed_on_what_its_reconstruction_mends():
    """All of three features are twice what was ever seen, as they would be together, and one of them four times."""
    loading = np.ones((1, 3)) / np.sqrt(3)
    linear = model(loading.T @ loading, known=1)
    found = blamed(linear, np.array([[2, 2, 4]], np.float32))
    assert found.features[0, 0] == 2
    assert found.shares[0, 0] > 0.5


def test_what_weighs_nothing_is_not_to_blame():
    matrix = projection(6, 2, 0)
    rows = np.random.default_rng(1).normal(size=(8, 6)).astype(np.float32)
    weights = np.ones((8, 6))
    weights[:, 2] = 0
    rows[:, 2] += 50
    found = blamed(model(matrix, known=3), rows, weights)
    plain = blamed(model(matrix, known=3), rows)
    assert (plain.features[:, 0] == 2).all()
    assert (found.shares[:, 0] < 1 + 1e-12).all()


def test_two_odd_features_are_named_one_after_the_other():
    matrix = projection(12, 2, 0)
    well = np.random.default_rng(1).normal(size=(20, 12)) @ matrix
    odd = well.astype(np.float32)
    odd[:, 3] += 8
    odd[:, 7] -= 5
    found = blamed(model(matrix, known=9), odd)
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
    known = np.random.default_rng(1).normal(size=(50, 5))
    rows[0, 2], rows[1, 4] = 3e38, -3e38
    found = blamed(Model(reconstruct, known), rows)
    assert found.features[0, 0] == 2
    assert found.features[1, 0] == 4
    assert (np.abs(found.expected) < 10).all()
    assert np.isfinite(found.shares).all()


def test_a_row_without_error_blames_nothing_and_no_rows_none():
    same = model(np.eye(4))
    found = blamed(same, np.ones((2, 4), np.float32))
    np.testing.assert_array_equal(found.shares, 0)
    assert blamed(same, np.ones((0, 4), np.float32)).features.shape == (0, 3)
    assert blamed(model(np.zeros((1, 1))), np.ones((2, 1), np.float32)).shares.tolist() == [[1.0], [1.0]]


def test_many_features_are_looked_at_in_pieces(monkeypatch):
    linear = model(projection(40, 5, 3), known=5)
    rows = np.random.default_rng(2).normal(size=(30, 40)).astype(np.float32)
    whole = blamed(linear, rows)
    monkeypatch.setattr("aeflax.applications.attribution.MAX_VALUES", 40 * CANDIDATES * 7)
    pieces = blamed(linear, rows)
    np.testing.assert_array_equal(whole.features, pieces.features)
    np.testing.assert_allclose(whole.shares, pieces.shares)
