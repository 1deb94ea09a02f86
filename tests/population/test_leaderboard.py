"""What a sweep found, against values worked out by hand."""

import pytest

from aeflax.population.leaderboard import leaderboard, scores, shown


def member(index, rate, seed, mse=None, **more):
    told = {"index": index, "settings": {"optimizer.learning_rate": rate, "train.seed": seed}}
    return told | ({"status": "diverged"} if mse is None else {"status": "done", "test": {"mse": mse, **more}})


MEMBERS = [
    member(0, 0.1, 0, mse=3.0, psnr=1.0),
    member(1, 0.1, 1, mse=5.0, psnr=3.0),
    member(2, 0.2, 0, mse=2.0, psnr=9.0),
    member(3, 0.2, 1),
    member(4, 0.3, 0),
]


def test_settings_are_ranked_by_their_means_over_seeds():
    rows = leaderboard(MEMBERS, "mse")
    assert [row["members"] for row in rows] == [[2, 3], [0, 1], [4]]
    assert [row["diverged"] for row in rows] == [1, 0, 1]
    assert rows[1]["settings"] == {"optimizer.learning_rate": 0.1}
    found = rows[1]["metrics"]["mse"]
    # Student's t of one degree of freedom is 12.706 at 97.5 %; the deviation of 3 and 5 is √2, over √2 values.
    assert found["mean"] == 4.0
    assert found["high"] == pytest.approx(4 + 12.7062, abs=1e-3)
    assert rows[0]["metrics"]["mse"] == {"mean": 2.0, "low": None, "high": None}
    assert rows[2]["metrics"] == {}


def test_members_are_ranked_on_what_was_withheld_and_those_that_diverged_are_not():
    assert scores(MEMBERS, "mse") == {2: 2.0, 0: 3.0, 1: 5.0}
    assert list(scores(MEMBERS, "psnr")) == [2, 1, 0]
    held = [one | {"validation": {"mse": value}} for one, value in zip(MEMBERS[:3], (2.0, 1.0, 9.0), strict=True)]
    assert list(scores(held, "mse")) == [1, 0, 2]


def test_what_was_withheld_ranks_and_the_test_split_judges():
    held = [one | {"validation": {"mse": value}} for one, value in zip(MEMBERS[:3], (1.0, 1.0, 9.0), strict=True)]
    rows = leaderboard(held, "mse")
    assert [row["members"] for row in rows] == [[0, 1], [2]]
    assert rows[0]["score"]["mean"] == 1.0
    assert rows[0]["metrics"]["mse"]["mean"] == 4.0


def test_settings_that_read_alike_are_two():
    rows = leaderboard([member(0, 0.1234561, 0, mse=1.0), member(1, 0.1234564, 0, mse=2.0)], "mse")
    assert [row["members"] for row in rows] == [[0], [1]]


def test_of_some_metrics_more_is_better():
    assert [row["members"] for row in leaderboard(MEMBERS, "psnr")] == [[2, 3], [0, 1], [4]]
    assert leaderboard([*MEMBERS[:2], member(2, 0.2, 0, mse=2.0, psnr=0.5)], "psnr")[0]["members"] == [0, 1]


def test_principal_components_stand_beside_the_error_and_own_metrics_come_first():
    beside = {"pca": {"dim": 2, "compresses": True, "test": {"mse": 1.5, "psnr": 9.0}}}
    members = [
        member(0, 0.1, 0, mse=1.0, psnr=2.0, spread=7.0) | beside,
        member(1, 0.1, 1, mse=3.0, psnr=1.0, spread=9.0) | beside,
    ]
    whole = member(2, 0.2, 0, mse=0.5, psnr=9.0) | {"pca": {"dim": 2, "compresses": False, "test": {"mse": 0.0}}}
    rows = leaderboard([*members, whole], "psnr")
    assert ["pca_mse" in row["metrics"] for row in rows] == [False, True]
    assert rows[1]["metrics"]["pca_mse"] == {"mean": 1.5, "low": 1.5, "high": 1.5}
    assert shown(rows, "psnr") == ["psnr", "spread", "mse", "pca_mse"]
    assert shown(leaderboard([whole], "mse"), "mse") == ["mse", "psnr"]
