"""What a resumed run may change: how long it trains, on what, and what it keeps; nothing that decides its result."""

import contextlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
from faults import options, resuming
from variants import experiment, images

import aeflax
from aeflax.errors import AeflaxWarning, ConfigError, DataError
from aeflax.rundir import manifest
from aeflax.rundir.runs import MANIFEST, SUMMARY, read_metrics
from aeflax.storage.document import read_json, write_json

ARRAY = images(55)


def train(run_dir, **changes):
    settings = experiment("vanilla", steps=3)
    settings = replace(settings, train=replace(settings.train, **changes))
    return aeflax.train(settings, ARRAY, run_dir=run_dir, resume=run_dir.exists(), report=False)


@pytest.mark.slow
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
    moved = pytest.warns(AeflaxWarning, match="trained on 1 device, and goes on on 4: equal to rounding")
    with moved if "placement" in changes else contextlib.nullcontext():
        resumed = train(tmp_path / "run", steps=5, **changes)
    alone = train(tmp_path / "alone", steps=5)
    assert resumed.summary["test"]["mse"] == pytest.approx(alone.summary["test"]["mse"], rel=1e-4)


@pytest.mark.slow
def test_a_resume_that_trains_nothing_changes_no_devices(tmp_path):
    train(tmp_path / "run")
    train(tmp_path / "run", placement="pmap")
    assert read_json(tmp_path / "run" / MANIFEST)["devices"] == 1


@pytest.mark.slow
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


@pytest.mark.slow
def test_how_often_is_written_may_change(tmp_path):
    train(tmp_path / "run", checkpoint_every=2, log_every=2)
    resumed = train(tmp_path / "run", steps=9, checkpoint_every=3, log_every=4)
    assert resumed.summary["state_sha256"] == train(tmp_path / "alone", steps=9).summary["state_sha256"]
    assert [one["step"] for one in read_metrics(tmp_path / "run") if one["split"] == "train"] == [2, 3, 4, 8, 9]


def test_data_that_have_moved_are_named_anew(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)

    def run(source):
        settings = experiment("vanilla", steps=3)
        settings = replace(settings, data=replace(settings.data, source=source))
        return aeflax.train(settings, run_dir=tmp_path / "run", resume=(tmp_path / "run").exists(), report=False)

    first = run(f"npy:{tmp_path / 'a.npy'}")
    (tmp_path / "a.npy").rename(tmp_path / "b.npy")
    with pytest.raises(
        DataError, match=r"name them anew: aeflax train --resume --run-dir .*run --data.source npy:PLACE"
    ):
        aeflax.load(tmp_path / "run").evaluate("test")
    again = run(f"npy:{tmp_path / 'b.npy'}")
    assert again.summary == first.summary
    assert aeflax.load(tmp_path / "run").evaluate("test") == first.evaluate("test")
    np.save(tmp_path / "b.npy", ARRAY[::-1])
    with pytest.raises(ConfigError, match="train: the data differ"):
        run(f"npy:{tmp_path / 'b.npy'}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"accumulate": 2}, {"exact": True}, {"seed": 4}], ids=lambda c: next(iter(c))
)
def test_what_decides_the_result_may_not(changes, tmp_path):
    train(tmp_path / "run")
    (name,) = changes
    with pytest.raises(ConfigError, match=rf"another experiment.*train\.{name}: "):
        train(tmp_path / "run", **changes)


def test_every_field_is_free_or_tried_as_one_that_is_not():
    fields = {path for path, _, _ in options.known() if not path.startswith("model.")}
    elsewhere = {"data.size", "data.grey", "data.impute", "data.drop", "data.label"}  # tried with other data
    assert fields - elsewhere - {*manifest.FREE} == {
        said.split(":")[0] for _, said in resuming.CHANGES if said[0] != "m"
    }


@pytest.mark.slow
def test_other_versions_go_on_with_one_warning_and_are_kept_beside_the_first(tmp_path):
    train(tmp_path / "run")
    told = read_json(tmp_path / "run" / MANIFEST)
    now, old = told["versions"], told["versions"] | {"jax": "0.0.1", "python": "2.7"}
    write_json(tmp_path / "run" / MANIFEST, told | {"versions": old})
    with pytest.warns(AeflaxWarning) as warned:
        train(tmp_path / "run", steps=5)
    said = f"trained with python 2.7, jax 0.0.1, this is python {now['python']}, jax {now['jax']}: its bits may differ"
    assert [said in str(one.message) for one in warned] == [True]
    for steps in (5, 7):
        train(tmp_path / "run", steps=steps)
        told = read_json(tmp_path / "run" / MANIFEST)
        assert (told["versions"], told["resumed_with"]) == (old, [now])
    with pytest.warns(AeflaxWarning, match=r"trained with numpy 9, this is numpy"):
        again = manifest.continued({"versions": old, "resumed_with": [now | {"numpy": "9"}]}, {"versions": now})
    assert again == {"versions": old, "resumed_with": [now | {"numpy": "9"}, now]}


def test_a_run_without_a_checkpoint_begins_with_the_versions_of_now(tmp_path):
    train(tmp_path / "run")
    told = read_json(tmp_path / "run" / MANIFEST)
    write_json(tmp_path / "run" / MANIFEST, told | {"versions": told["versions"] | {"jax": "0.0.1"}})
    for step in (tmp_path / "run" / "checkpoints").iterdir():
        shutil.rmtree(step)
    (tmp_path / "run" / SUMMARY).unlink()  # which tells of an end that has a checkpoint
    train(tmp_path / "run", steps=5)
    again = read_json(tmp_path / "run" / MANIFEST)
    assert (again["versions"], "resumed_with" in again) == (told["versions"], False)


@pytest.mark.slow
def test_what_another_version_chose_stays_chosen(tmp_path):
    train(tmp_path / "run")
    stored = read_json(tmp_path / "run" / MANIFEST)
    stored["resolved"]["model"]["bottleneck"]["activation"] = "linear"  # as a version may have chosen it
    write_json(tmp_path / "run" / MANIFEST, stored)
    with pytest.raises(
        ConfigError, match=r"model.bottleneck.activation: 'linear' -> 'relu' \(this version chooses oth"
    ):
        train(tmp_path / "run", steps=5)
    settings = experiment("vanilla", steps=5)
    named = replace(settings.model, bottleneck=replace(settings.model.bottleneck, activation="linear"))
    aeflax.train(replace(settings, model=named), ARRAY, run_dir=tmp_path / "run", resume=True, report=False)
    assert read_json(tmp_path / "run" / MANIFEST)["resolved"]["model"]["bottleneck"]["activation"] == "linear"
