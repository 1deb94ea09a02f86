"""What a resumed run may change: how long it trains, on what, and what it keeps; nothing that decides its result."""

from dataclasses import replace

import numpy as np
import pytest
from variants import experiment, images

import aeflax
from aeflax.errors import ConfigError

ARRAY = images(55)


def train(run_dir, **changes):
    settings = experiment("vanilla", steps=3)
    settings = replace(settings, train=replace(settings.train, **changes))
    return aeflax.train(settings, ARRAY, run_dir=run_dir, resume=run_dir.exists(), report=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"rematerialize": True},
        {"placement": "mesh"},
        pytest.param({"placement": "mesh", "fsdp": 2, "sharding": ("output/kernel=0",)}, marks=pytest.mark.slow),
    ],
    ids=["rematerialize", "mesh", "fsdp"],
)
def test_where_and_how_a_run_is_computed_may_change(changes, tmp_path):
    train(tmp_path / "run")
    resumed = train(tmp_path / "run", steps=5, **changes)
    alone = train(tmp_path / "alone", steps=5)
    assert resumed.summary["test"]["mse"] == pytest.approx(alone.summary["test"]["mse"], rel=1e-4)


@pytest.mark.parametrize("changes", [{"resident": False}, {"workers": 2}], ids=str)
def test_how_data_are_read_may_change(changes, tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)

    def run(steps, **how):
        settings = experiment("vanilla", steps=steps)
        data = replace(settings.data, source=f"npy:{tmp_path / 'a.npy'}", **how)
        directory = tmp_path / "run"
        settings = replace(settings, data=data)
        return aeflax.train(settings, run_dir=directory, resume=directory.exists(), report=False)

    run(3)
    run(5, **changes)
    np.save(tmp_path / "a.npy", ARRAY[::-1])
    with pytest.raises(ConfigError, match="train: the data differ"):
        run(7, **changes)


@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"accumulate": 2}, {"exact": True}, {"seed": 4}], ids=lambda c: next(iter(c))
)
def test_what_decides_the_result_may_not(changes, tmp_path):
    train(tmp_path / "run")
    (name,) = changes
    with pytest.raises(ConfigError, match=rf"another experiment.*train\.{name}: "):
        train(tmp_path / "run", **changes)
