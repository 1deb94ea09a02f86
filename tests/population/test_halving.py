"""Successive halving keeps the better settings, on held-out training examples, and goes on where it was stopped."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from variants import experiment, images

from aeflax.errors import ConfigError, StoppedError
from aeflax.population.grid import Member, axes, members
from aeflax.population.halving import ranked, rungs, step_of
from aeflax.population.leaderboard import leaderboard
from aeflax.population.sweep import sweep

DATA = images(60)
RATES = [1e-5, 3e-3, 1e-2, 1e-4]  # of which the third learns fastest in twenty steps, and the second next
GRID = {"optimizer.learning_rate": RATES, "train.seed": [3, 5]}


def settings(**train):
    base = experiment("vanilla", steps=20)
    return replace(base, data=replace(base.data, validation=8), train=replace(base.train, **train))


def test_rungs_halve_the_settings_and_not_the_seeds():
    found = members(settings(), axes(GRID, settings()))
    assert rungs(found) == (-2, -1)
    assert [step_of(rung, 20) for rung in rungs(found)] == [5, 10]
    values = {0: 3.0, 1: 3.0, 2: 1.0, 3: 1.2, 4: 0.9, 5: 5.0, 6: float("nan"), 7: 0.1}
    order = ranked(found, values, "mse")
    # The third setting has the best seed of all that count, and the worse mean; a value that is none is the last.
    assert [one["members"] for one in order] == [[2, 3], [4, 5], [0, 1], [6, 7]]
    assert [one["kept"] for one in order] == [True, True, False, False]
    assert [one["value"] for one in order] == [1.1, 2.95, 3.0, None]
    assert [one["members"] for one in ranked(found[:6], values, "psnr")] == [[0, 1], [4, 5], [2, 3]]
    assert [one["kept"] for one in ranked(found[:6], values, "psnr")] == [True, True, False]


def test_settings_that_read_alike_compete():
    grid = axes({"optimizer.learning_rate": [0.1234561, 0.1234564]}, settings())
    assert rungs(members(settings(), grid)) == (-1,)


@pytest.mark.parametrize(
    ("grid", "changed", "sentence"),
    [
        ({"train.seed": [0, 1]}, {}, "varies the seed alone"),
        ({"train.steps": [10, 20]}, {}, "length of training"),
        ({"train.monitor": ["mse", "bce"]}, {}, "one metric"),
        ({"optimizer.learning_rate": [1e-3, 2e-3]}, {"validation": 0}, "--data.validation"),
    ],
)
def test_a_sweep_that_cannot_be_halved_is_refused(grid, changed, sentence):
    base = settings()
    base = replace(base, data=replace(base.data, **changed))
    with pytest.raises(ConfigError, match=sentence):
        rungs(members(base, axes(grid, base)))


@pytest.mark.slow
def test_survivors_are_trained_as_if_nobody_had_been_dropped(tmp_path):
    halved = sweep(settings(), GRID, DATA, run_dir=tmp_path / "halved", halving=True)
    assert [rung["step"] for rung in halved.rungs] == [5, 10]
    assert [member["status"] for member in halved.members] == ["dropped"] * 4 + ["done"] * 2 + ["dropped"] * 2
    assert [member.get("step") for member in halved.members] == [5, 5, 10, 10, 20, 20, 5, 5]
    whole = sweep(settings(), GRID, DATA, run_dir=tmp_path / "whole")
    for index in (4, 5):
        pairs = zip(*(jax.tree.leaves(found.load(index).state.params) for found in (halved, whole)), strict=True)
        for a, b in pairs:  # to the bit on a processor, which trains them in turn
            np.testing.assert_array_equal(a, b)
    assert halved.load(0).step == 5  # one that was dropped is a run that was stopped
    best, second, *others = leaderboard(halved.members, "mse")
    assert best["members"] == [4, 5]
    assert (best["dropped"], second["dropped"]) == (None, 10)
    assert all(row["dropped"] == 5 for row in others)


@pytest.mark.slow
def test_a_stopped_halving_goes_on_to_the_same_bits(tmp_path):
    frequent = settings(checkpoint_every=2, log_every=1)
    whole = sweep(frequent, GRID, DATA, run_dir=tmp_path / "whole", halving=True)
    asked = []

    def stop():
        asked.append(None)
        return len(asked) > 7

    with pytest.raises(StoppedError):
        sweep(frequent, GRID, DATA, run_dir=tmp_path / "parts", halving=True, stop=stop)
    again = sweep(frequent, GRID, DATA, run_dir=tmp_path / "parts", halving=True, resume=True)
    digests = [[member.get("state_sha256") for member in found.members] for found in (whole, again)]
    assert digests[0] == digests[1]
    assert again.rungs == whole.rungs
    with pytest.raises(ConfigError, match="another sweep"):
        sweep(frequent, GRID, DATA, run_dir=tmp_path / "parts", resume=True)


def test_one_setting_is_described_without_its_seed():
    from aeflax.population.halving import settings_of

    assert settings_of(Member(0, {"optimizer.learning_rate": 1e-3, "train.seed": 4}, settings())) == (
        "optimizer.learning_rate=0.001"
    )
