"""A sweep goes on as it began, whatever happened to its files, its memory or its members meanwhile."""

from dataclasses import replace

import numpy as np
import pytest
from variants import EXAMPLES, experiment, images

from aeflax.config import GaussianLikelihood, Optimizer
from aeflax.errors import AeflaxWarning, ConfigError, StoppedError
from aeflax.population import waves
from aeflax.population.grid import Axis
from aeflax.population.record import SWEEP
from aeflax.population.sweep import sweep
from aeflax.rundir.checkpoint import Checkpoints
from aeflax.rundir.runs import read_manifest
from aeflax.storage.document import read_json, write_json
from aeflax.storage.durable import leftover

DATA = images(EXAMPLES * 5 // 4)
SEEDS = {"train.seed": [0, 1, 2, 3]}


def frequent(**changed):
    base = experiment("vanilla", steps=20)
    return replace(base, train=replace(base.train, checkpoint_every=4, log_every=4, **changed))


def digests(found):
    return [member.get("state_sha256") for member in found.members]


def stopping(after):
    asked = []

    def stop():
        asked.append(None)
        return len(asked) > after

    return stop


class Watch(list):
    """Steps at which training began."""

    def __call__(self, record):
        if record.kind == "start":
            self.append(record.step)


@pytest.mark.slow
def test_values_that_are_several_words_can_be_resumed(tmp_path):
    grid = {"model.backbone.widths": [(5,), (6, 3)]}
    first = sweep(frequent(), grid, DATA, run_dir=tmp_path)
    assert digests(sweep(frequent(), grid, DATA, run_dir=tmp_path, resume=True)) == digests(first)


@pytest.mark.slow
def test_waves_stay_as_they_were_cut(tmp_path, monkeypatch):
    """Where there is more memory on the second day, larger waves would mix what was trained with what was not."""
    monkeypatch.setattr(waves, "free_bytes", lambda: 1)
    whole = sweep(frequent(), SEEDS, DATA, run_dir=tmp_path / "whole")
    with pytest.raises(StoppedError):
        sweep(frequent(), SEEDS, DATA, run_dir=tmp_path / "parts", stop=stopping(8))
    monkeypatch.undo()
    begun = Watch()
    again = sweep(frequent(), SEEDS, DATA, run_dir=tmp_path / "parts", resume=True, callbacks=(begun,))
    assert read_json(tmp_path / "parts" / SWEEP)["waves"] == [1]
    assert begun[0] > 0
    assert digests(again) == digests(whole)


@pytest.mark.slow
def test_waves_stay_where_less_memory_is_free(tmp_path, monkeypatch):
    whole = sweep(frequent(), SEEDS, DATA, run_dir=tmp_path / "whole")
    with pytest.raises(StoppedError):
        sweep(frequent(), SEEDS, DATA, run_dir=tmp_path / "parts", stop=stopping(3))
    monkeypatch.setattr(waves, "free_bytes", lambda: 1)
    again = sweep(frequent(), SEEDS, DATA, run_dir=tmp_path / "parts", resume=True)
    assert again.groups[0]["waves"] == 1
    assert digests(again) == digests(whole)


@pytest.mark.slow
def test_a_finished_sweep_whose_member_is_damaged_trains_that_one_alone(tmp_path):
    whole = sweep(frequent(), SEEDS, DATA, run_dir=tmp_path)
    for step in (tmp_path / "members" / "0002" / "checkpoints").iterdir():
        meta = step / "meta" / "metadata"
        meta.write_bytes(b"x" + meta.read_bytes()[1:])
    began = read_manifest(tmp_path / "members" / "0001")["created"]
    with pytest.warns(AeflaxWarning, match="damaged"):
        again = sweep(frequent(), SEEDS, DATA, run_dir=tmp_path, resume=True)
    assert [member["status"] for member in again.members] == ["done"] * 4
    assert digests(again)[:2] == digests(whole)[:2]
    # Alone, products round otherwise than beside others.
    assert again.members[2]["test"]["mse"] == pytest.approx(whole.members[2]["test"]["mse"], rel=1e-4)
    assert read_manifest(tmp_path / "members" / "0001")["created"] == began


@pytest.mark.slow
def test_a_sweep_of_an_earlier_version_remembers_who_diverged(tmp_path):
    whole = sweep(overflowing(), OVERFLOW, DATA, run_dir=tmp_path)
    told = read_json(tmp_path / SWEEP)
    for name in ("diverged", "waves", "spent"):
        del told[name]
    write_json(tmp_path / SWEEP, told)
    begun = Watch()
    assert (
        sweep(overflowing(), OVERFLOW, DATA, run_dir=tmp_path, resume=True, callbacks=(begun,)).members == whole.members
    )
    assert not begun


@pytest.mark.slow
def test_a_grid_in_another_order_is_another_sweep(tmp_path):
    """It numbers the members otherwise."""
    grid = {"optimizer.learning_rate": [1e-3, 1e-2], "train.seed": [0, 1]}
    sweep(frequent(), grid, DATA, run_dir=tmp_path, report=False)
    with pytest.raises(ConfigError, match="another sweep"):
        sweep(frequent(), dict(reversed(grid.items())), DATA, run_dir=tmp_path, resume=True)


def overflowing():
    base = frequent()
    model = replace(base.model, likelihood=GaussianLikelihood())
    return replace(base, model=model, optimizer=Optimizer(name="sgd"))


OVERFLOW = {"optimizer.learning_rate": [1e-4, 3e38]}  # finite gradients, whose updates are not


@pytest.mark.slow
def test_a_member_whose_weights_overflow_costs_the_others_nothing_when_it_goes_on(tmp_path):
    whole = sweep(overflowing(), OVERFLOW, DATA, run_dir=tmp_path / "whole")
    assert [member["status"] for member in whole.members] == ["done", "diverged"]
    begun = Watch()
    again = sweep(overflowing(), OVERFLOW, DATA, run_dir=tmp_path / "whole", resume=True, callbacks=(begun,))
    assert again.members == whole.members
    assert not begun
    with pytest.raises(StoppedError):
        sweep(overflowing(), OVERFLOW, DATA, run_dir=tmp_path / "parts", stop=stopping(4))
    assert read_json(tmp_path / "parts" / SWEEP)["diverged"] == {"1": None}
    parts = sweep(overflowing(), OVERFLOW, DATA, run_dir=tmp_path / "parts", resume=True, callbacks=(begun,))
    assert begun[0] > 0
    assert digests(parts) == digests(whole)
    assert [member["status"] for member in parts.members] == ["done", "diverged"]


@pytest.mark.slow
def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / leftover("abcd")).write_text("half a file")
    (tmp_path / "run.lock").write_text("")
    found = sweep(frequent(), SEEDS, DATA, run_dir=tmp_path, resume=True)
    assert [member["status"] for member in found.members] == ["done"] * 4
    assert not (tmp_path / leftover("abcd")).exists()


@pytest.mark.slow
def test_a_damaged_checkpoint_is_set_aside_and_the_step_before_taken(tmp_path):
    whole = sweep(frequent(), SEEDS, DATA, run_dir=tmp_path / "sweep")
    for member in (tmp_path / "sweep" / "members").iterdir():
        (member / "summary.json").unlink()
    damaged = tmp_path / "sweep" / "members" / "0002"
    with Checkpoints(damaged / "checkpoints") as checkpoints:
        newest = checkpoints.latest()
    meta = damaged / "checkpoints" / str(newest) / "meta" / "metadata"
    meta.write_bytes(b"x" + meta.read_bytes()[1:])
    with pytest.warns(AeflaxWarning, match="damaged"):
        again = sweep(frequent(), SEEDS, DATA, run_dir=tmp_path / "sweep", resume=True)
    assert digests(again) == digests(whole)
    assert (damaged / "damaged" / str(newest)).is_dir()


@pytest.mark.slow
def test_seconds_are_of_all_that_a_group_took(tmp_path):
    base = frequent()
    settings = replace(base, data=replace(base.data, validation=8))
    grid = {"optimizer.learning_rate": [1e-6, 1e-2]}
    found = sweep(settings, grid, DATA, run_dir=tmp_path, halving=True)
    assert [member["status"] for member in found.members] == ["dropped", "done"]
    (group,) = found.groups
    assert group["seconds"] > group["compile_seconds"] > 0
    (again,) = sweep(settings, grid, DATA, run_dir=tmp_path, halving=True, resume=True).groups
    assert again["seconds"] >= group["seconds"]


@pytest.mark.parametrize(
    ("settings", "grid", "said"),
    [
        (frequent(), {"train.patience": [1, 3]}, "varies train.patience, which is of a run alone"),
        (frequent(), {"train.placement": ["jit", "pmap"]}, "varies train.placement, which is of a run alone"),
        (frequent(digest_every=5), SEEDS, "train.digest_every follows one run"),
        (frequent(accumulate=3), SEEDS, "data.batch_size=16 does not divide"),
        (frequent(), [Axis("train.digest_every", (None, 5))], "varies train.digest_every, which is of a run alone"),
        (frequent(), {"model.backbone.widths": [np.array([[5, 6]])]}, "a value that model.backbone.widths cannot have"),
        (frequent(), {"train.seed": 8}, "name its values in a list"),
        (frequent(), {"train.seed": [[[1]]]}, "a value that train.seed cannot have"),
        (frequent(), {"optimizer.learning_rate": [10**400]}, "a value that optimizer.learning_rate cannot have"),
    ],
)
def test_what_no_member_could_be_is_refused_at_once(settings, grid, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        sweep(settings, grid, DATA, run_dir=tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()
