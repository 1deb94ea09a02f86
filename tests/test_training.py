"""The host loop: resume, records, divergence, stopping."""

import json
import os
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
from variants import BATCH, BY_VARIANT, experiment, images

import aeflax
from aeflax import api
from aeflax.config import Data, GaussianLikelihood, Optimizer, Train
from aeflax.config.defaults import resolve
from aeflax.data.dataset import load
from aeflax.errors import AeflaxWarning, CheckpointError, ConfigError, DataError, DivergedError, StoppedError
from aeflax.program import prepare
from aeflax.rundir.audit import verify
from aeflax.rundir.checkpoint import Checkpoints, state_sha256
from aeflax.rundir.runs import read_metrics
from aeflax.training.clock import CHUNK_SECONDS, FIRST_CHUNK, paced
from aeflax.training.trainer import Trainer

ARRAY = images(55)
STEPS = 11  # of 3 to an epoch: the stop at 5 is in the middle of one


def settings(variant, **train):
    base = experiment(variant)
    return replace(base, train=replace(base.train, steps=STEPS, log_every=4, eval_every=6, checkpoint_every=8, **train))


def stop_after(polls):
    """A stop that says yes at the given poll, counted from 0; one poll is one chunk."""
    count = iter(range(10**6))
    return lambda: next(count) >= polls


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """Reports have tests of their own, and take longer than these runs."""
    monkeypatch.setattr("aeflax.trained.Run.report", lambda run: None)


@pytest.fixture
def short_chunks(monkeypatch):
    monkeypatch.setattr("aeflax.training.clock.FIRST_CHUNK", 1)
    monkeypatch.setattr("aeflax.training.clock.CHUNK_SECONDS", 0.0)


def without_speed(path):
    return [
        {k: v for k, v in record.items() if k not in ("images_per_second", "data_wait")}
        for record in read_metrics(path)
    ]


@pytest.mark.parametrize("given", [print, [1], "ab"], ids=["function", "number", "word"])
def test_callbacks_are_a_list_of_functions(given, tmp_path):
    with pytest.raises(ConfigError, match=r"callbacks takes a list of functions of a Record, \[f\], and got"):
        aeflax.train(experiment("vanilla"), images(), run_dir=tmp_path / "run", callbacks=given)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["jit", pytest.param("pmap", marks=pytest.mark.slow)])
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_resume_reproduces_the_uninterrupted_run(variant, placement, tmp_path, short_chunks):
    whole = aeflax.train(settings(variant, placement=placement), ARRAY, run_dir=tmp_path / "whole")
    for polls in (5, 2):  # stops at step 5, goes on, stops at step 7
        with pytest.raises(StoppedError, match="--resume"):
            aeflax.train(
                settings(variant, placement=placement),
                ARRAY,
                run_dir=tmp_path / "parts",
                resume=True,
                stop=stop_after(polls),
            )
    parts = aeflax.train(settings(variant, placement=placement), ARRAY, run_dir=tmp_path / "parts", resume=True)
    assert parts.summary["state_sha256"] == whole.summary["state_sha256"] == state_sha256(whole.state)
    assert parts.summary["test"] == whole.summary["test"]
    assert without_speed(tmp_path / "parts") == without_speed(tmp_path / "whole")


def test_records_stand_where_they_were_asked_for(tmp_path):
    seen = []
    aeflax.train(settings("vae"), ARRAY, run_dir=tmp_path / "run", callbacks=[seen.append])
    at = {kind: [r.step for r in seen if r.kind == kind] for kind in ("train", "evaluation", "checkpoint")}
    assert at == {"train": [4, 8, 11], "evaluation": [6, 11], "checkpoint": [8, 11]}
    assert seen[0].kind == "start"
    records = read_metrics(tmp_path / "run")
    assert [(r["step"], r["split"]) for r in records] == [
        (4, "train"),
        (6, "test"),
        (8, "train"),
        (11, "train"),
        (11, "test"),
    ]
    for record in records:
        assert record["epoch"] == record["step"] / 3
        name = "loss" if record["split"] == "train" else "elbo"
        assert np.isfinite(record[name])


@pytest.mark.slow
def test_a_records_loss_is_the_mean_over_its_own_examples(tmp_path):
    every = aeflax.train(replace(settings("vanilla"), train=Train(steps=6, log_every=1)), ARRAY, run_dir=tmp_path / "a")
    whole = aeflax.train(replace(settings("vanilla"), train=Train(steps=6, log_every=6)), ARRAY, run_dir=tmp_path / "b")
    assert every.summary["state_sha256"] == whole.summary["state_sha256"]
    single = [r["loss"] for r in read_metrics(tmp_path / "a") if r["split"] == "train"]
    weights = [16, 16, 12, 16, 16, 12]
    (together,) = [r["loss"] for r in read_metrics(tmp_path / "b") if r["split"] == "train"]
    np.testing.assert_allclose(np.average(single, weights=weights), together, rtol=1e-6)


@pytest.mark.slow
def test_the_directory_a_listener_and_the_placement_of_data_change_no_bit(tmp_path):
    digests = {
        aeflax.train(settings("denoising"), ARRAY).summary["state_sha256"],
        aeflax.train(settings("denoising"), ARRAY, run_dir=tmp_path / "run").summary["state_sha256"],
        aeflax.train(replace(settings("denoising"), data=Data(batch_size=BATCH, resident=False)), ARRAY).summary[
            "state_sha256"
        ],
        aeflax.train(settings("denoising"), ARRAY, callbacks=[lambda record: None]).summary["state_sha256"],
    }
    assert len(digests) == 1
    other = aeflax.train(settings("denoising", seed=4), ARRAY).summary["state_sha256"]
    assert other not in digests


def test_a_finished_run_is_returned_as_it_is(tmp_path):
    first = aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run")
    seen = []
    again = aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run", resume=True, callbacks=[seen.append])
    assert again.summary == first.summary
    assert seen == []


@pytest.mark.slow
def test_a_resumed_run_may_train_longer(tmp_path):
    aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run")
    longer = replace(settings("vanilla"), train=replace(settings("vanilla").train, steps=STEPS + 4))
    resumed = aeflax.train(longer, ARRAY, run_dir=tmp_path / "run", resume=True)
    assert resumed.summary["state_sha256"] == aeflax.train(longer, ARRAY).summary["state_sha256"]
    assert resumed.step == STEPS + 4


@pytest.mark.slow
def test_a_page_that_tells_of_an_earlier_step_goes_where_none_is_drawn(tmp_path):
    first = aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run")
    page = tmp_path / "run" / "report.html"
    page.write_text("of step 11")  # as one is drawn, which the fixture above leaves out
    assert first.summary["devices"] == "1 × cpu (jit)"
    aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run", resume=True, report=False)
    assert page.exists()  # nothing was trained
    longer = replace(settings("vanilla"), train=replace(settings("vanilla").train, steps=STEPS + 4))
    aeflax.train(longer, ARRAY, run_dir=tmp_path / "run", resume=True, report=False)
    assert not page.exists()


@pytest.mark.slow
def test_a_run_moves_between_placements(tmp_path):
    with pytest.raises(StoppedError):
        aeflax.train(settings("vae"), ARRAY, run_dir=tmp_path / "run", stop=stop_after(1))
    with pytest.warns(AeflaxWarning, match="trained on 1 device, and goes on on 4: equal to rounding"):
        moved = aeflax.train(settings("vae", placement="pmap"), ARRAY, run_dir=tmp_path / "run", resume=True)
    alone = aeflax.train(settings("vae"), ARRAY)
    for name, value in alone.summary["test"].items():
        assert moved.summary["test"][name] == pytest.approx(value, rel=1e-3)  # Adam amplifies float32 rounding


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"optimizer": Optimizer(learning_rate=0.5)}, "optimizer.learning_rate: 0.003 -> 0.5"),
        ({"data": Data(batch_size=8)}, "data.batch_size: 16 -> 8"),
        ({"train": Train(steps=5, seed=3)}, "may train longer, not shorter"),
        ({"model": experiment("sparse").model}, "model.bottleneck"),
    ],
)
def test_resuming_another_experiment_is_refused_with_the_list(change, named, tmp_path):
    first = aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match=named):
        aeflax.train(replace(settings("vanilla"), **change), ARRAY, run_dir=tmp_path / "run", resume=True)
    assert aeflax.load(tmp_path / "run", ARRAY).summary == first.summary


def test_resuming_on_other_data_is_refused(tmp_path):
    aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run")
    changed = ARRAY.copy()
    changed[0, 0, 0, 0] ^= 1
    with pytest.raises(ConfigError, match="train: the data differ"):
        aeflax.train(settings("vanilla"), changed, run_dir=tmp_path / "run", resume=True)
    loaded = aeflax.load(tmp_path / "run", changed)
    with pytest.raises(DataError, match="has changed"):
        loaded.evaluate()


@pytest.mark.slow
def test_a_schedule_that_depends_on_the_length_may_not_be_lengthened(tmp_path):
    cosine = replace(settings("vanilla"), optimizer=Optimizer(schedule="cosine"))
    aeflax.train(cosine, ARRAY, run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match="the cosine schedule depends on it"):
        aeflax.train(
            replace(cosine, train=replace(cosine.train, steps=20)), ARRAY, run_dir=tmp_path / "run", resume=True
        )


@pytest.mark.slow
def test_divergence_ends_the_run_saves_the_last_good_state_and_says_what_to_try(tmp_path):
    # A squared error beyond float32 overflows: non-finite from some step on, with parameters that stay finite.
    hot = replace(
        settings("vanilla"), optimizer=Optimizer(name="sgd", learning_rate=1e30), train=Train(steps=40, log_every=1)
    )
    with pytest.raises(
        DivergedError, match=r"1\d updates in a row before step \d+ .* lower optimizer.learning_rate=1e\+30"
    ):
        aeflax.train(hot, ARRAY, run_dir=tmp_path / "run")
    loaded = aeflax.load(tmp_path / "run", ARRAY)
    assert int(loaded.state.skipped_in_row) >= 10
    assert all(np.isfinite(leaf).all() for leaf in np.atleast_1d(*[loaded.state.params["decoder"]["output"]["bias"]]))


# Orbax leaves a coroutine behind where a restore fails half-way.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_checkpoint_is_never_restored(tmp_path):
    """Read, it is passed over with a warning; taken for more training, it is moved aside; the result is the same."""
    asked = replace(settings("vanilla"), train=replace(settings("vanilla").train, steps=STEPS, checkpoint_every=4))
    longer = replace(asked, train=replace(asked.train, steps=STEPS + 5))
    whole = aeflax.train(longer, ARRAY, run_dir=tmp_path / "whole").summary["state_sha256"]
    aeflax.train(asked, ARRAY, run_dir=tmp_path / "run")
    newest, *older = sorted(aeflax.verify(tmp_path / "run").checkpoints, reverse=True)
    damaged(tmp_path / "run", newest)
    audit = aeflax.verify(tmp_path / "run")
    assert (audit.sound, audit.resumes_at) == (False, older[0])
    with pytest.warns(AeflaxWarning, match=rf"{newest} is damaged \(.* has changed\); taking the one before"):
        assert aeflax.load(tmp_path / "run", ARRAY).step == older[0]
    with pytest.raises(CheckpointError, match=rf"checkpoints/{newest} is damaged .*; choose another --step"):
        aeflax.load(tmp_path / "run", ARRAY, step=newest)
    with pytest.warns(AeflaxWarning, match=rf"moved to .*damaged/{newest}; taking the one before"):
        resumed = aeflax.train(longer, ARRAY, run_dir=tmp_path / "run", resume=True)
    assert resumed.summary["state_sha256"] == whole
    assert aeflax.verify(tmp_path / "run").sound
    for held in aeflax.verify(tmp_path / "run").checkpoints:
        (tmp_path / "run" / "checkpoints" / str(held) / "seal.json").unlink()
    for _ in range(2):  # nothing is moved where nothing is sound: a second attempt does not begin anew
        with pytest.raises(CheckpointError, match=r"no checkpoint in .* is sound"):
            aeflax.train(longer, ARRAY, run_dir=tmp_path / "run", resume=True)


def test_a_memory_that_is_full_is_no_fault_of_the_checkpoint(tmp_path, monkeypatch):
    aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run")

    def full(*args, **names):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory while allocating 7 bytes")

    monkeypatch.setattr("orbax.checkpoint.CheckpointManager.restore", full)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        aeflax.load(tmp_path / "run", ARRAY)


def damaged(path, step):
    """Flips a bit in the largest file of a checkpoint."""
    weights = max((path / "checkpoints" / str(step)).rglob("*"), key=lambda file: file.stat().st_size)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 4
    weights.write_bytes(content)


@pytest.mark.slow
def test_a_finished_run_whose_last_checkpoint_is_damaged_is_finished_again(tmp_path):
    asked = replace(settings("vanilla"), train=replace(settings("vanilla").train, steps=STEPS, checkpoint_every=4))
    first = aeflax.train(asked, ARRAY, run_dir=tmp_path / "run").summary
    damaged(tmp_path / "run", STEPS)
    with pytest.warns(AeflaxWarning, match=rf"{STEPS} is damaged"):
        again = aeflax.train(asked, ARRAY, run_dir=tmp_path / "run", resume=True)
    assert again.summary["state_sha256"] == first["state_sha256"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["step"] == STEPS


@pytest.fixture
def saved(tmp_path):
    """Saves a state as any step, and holds the checkpoints."""
    state = aeflax.train(settings("vanilla"), ARRAY).state

    with Checkpoints(tmp_path / "checkpoints", held=True) as checkpoints:

        def save(step, best=None):
            checkpoints.save(state.replace(step=jax.numpy.int32(step)), {}, best=best)
            checkpoints.wait()
            return checkpoints.steps()

        yield save, checkpoints, jax.tree.map(shape, state)


def shape(leaf):
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


@pytest.mark.slow
def test_the_newest_and_the_best_are_kept(saved):
    save, _, _ = saved
    assert [save(step, best) for step, best in ((1, 1), (2, 1), (3, 1), (4, 4), (5, 4), (6, 4))] == [
        [1], [1, 2], [1, 2, 3], [3, 4], [4, 5], [4, 5, 6]
    ]  # fmt: skip


@pytest.mark.slow
def test_a_best_one_that_could_not_be_saved_does_not_cost_the_one_before(saved, monkeypatch):
    from aeflax.storage import seal

    save, checkpoints, _ = saved
    for step in (1, 2, 3):
        save(step, 1)

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(seal, "close", full)
        with pytest.raises(CheckpointError, match=r"cannot save step 4 in .*No space left on device"):
            save(4, 4)
    assert checkpoints.steps() == [1, 2, 3]
    assert save(5, 4) == [1, 3, 5]
    assert save(6, 6) == [5, 6]


@pytest.mark.slow
def test_what_is_passed_over_can_be_saved_again_and_costs_no_other(saved, tmp_path):
    save, checkpoints, template = saved
    save(6)
    save(9)
    damaged(tmp_path, 9)
    with pytest.warns(AeflaxWarning, match=r"9 is damaged .* moved to .*damaged/9; taking the one before"):
        assert int(checkpoints.restore(template)[0].step) == 6
    assert save(7) == [6, 7]
    assert save(9) == [7, 9]


def test_a_checkpoint_under_another_name_is_refused(saved, tmp_path):
    save, checkpoints, template = saved
    save(6)
    (tmp_path / "checkpoints" / "6").rename(tmp_path / "checkpoints" / "12")
    with pytest.raises(CheckpointError, match="is not what was saved as that step"):
        checkpoints.restore(template)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["7.orbax-checkpoint-tmp", "5.orbax-checkpoint-tmp-old"])
def test_what_a_killed_process_left_goes_and_only_under_the_lock(saved, tmp_path, name):
    save, _, template = saved
    save(6)
    left = tmp_path / "checkpoints" / name / "state"
    left.mkdir(parents=True)
    for held in (False, True):
        with Checkpoints(tmp_path / "checkpoints", held=held) as checkpoints:
            checkpoints.restore(template)
        assert left.exists() is not held


def test_the_digest_covers_every_leaf(tmp_path):
    import jax

    state = aeflax.train(settings("vanilla"), ARRAY).state
    base = state_sha256(state)
    leaves, structure = jax.tree.flatten(jax.device_get(state))
    for index, leaf in enumerate(leaves):
        changed = list(leaves)
        changed[index] = np.asarray(leaf) + np.asarray(leaf).dtype.type(1)
        assert state_sha256(jax.tree.unflatten(structure, changed)) != base
    widened = jax.tree.unflatten(structure, [np.asarray(leaf, np.float64) for leaf in leaves])
    assert state_sha256(widened) != base


def test_the_digest_is_the_documented_one():
    """Recomputed from the contract: path, dtype, global shape, little-endian bytes, sorted by path."""
    import hashlib

    tree = {"b": np.arange(3, dtype=np.int32), "a": {"x": np.float32(1.5)}}
    expected = hashlib.sha256()
    expected.update(b"a/x\0float32\0()\0" + np.float32(1.5).tobytes())
    expected.update(b"b\0int32\0(3,)\0" + np.arange(3, dtype="<i4").tobytes())
    assert state_sha256(tree) == expected.hexdigest()


def test_checkpoints_keep_the_newest_and_name_a_missing_one(tmp_path):
    aeflax.train(
        replace(settings("vanilla"), train=Train(steps=9, checkpoint_every=2)), ARRAY, run_dir=tmp_path / "run"
    )
    kept = sorted(int(p.name) for p in (tmp_path / "run" / "checkpoints").iterdir() if p.name.isdigit())
    assert kept == [8, 9]
    with Checkpoints(tmp_path / "none") as empty:
        assert empty.latest() is None
        with pytest.raises(CheckpointError, match="no complete checkpoint"):
            empty.restore(None, None)


@pytest.mark.slow
def test_a_run_directory_holds_what_the_contract_names(tmp_path):
    run = aeflax.train(settings("vae"), ARRAY, run_dir=tmp_path / "run", preset="vae")
    manifest = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert manifest["preset"] == "vae"
    assert manifest["experiment"]["data"]["batch_size"] == BATCH
    assert manifest["resolved"]["train"]["steps"] == STEPS
    assert manifest["data"]["train"]["shape"] == [44, 9, 7, 1]
    assert set(manifest["versions"]) >= {"aeflax", "python", "jax", "flax", "optax", "orbax-checkpoint"}
    assert manifest["random"]["implementation"] == "threefry2x32"
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary.pop("sha256")  # of the rest
    assert summary == run.summary
    contract = {"status", "step", "epoch", "seconds", "images_per_second", "state_sha256", "train", "test", "pca"}
    assert contract <= set(summary)
    assert set(summary["pca"]) >= {"dim", "test"}
    assert summary["status"] == "done"
    assert set(summary["test"]) == {"bce", "bce_floor", "mse", "psnr", "reconstruction_nats", "kl", "elbo"}


@pytest.mark.slow
def test_load_gives_the_same_run(tmp_path):
    run = aeflax.train(settings("denoising"), ARRAY, run_dir=tmp_path / "run")
    loaded = aeflax.load(tmp_path / "run", ARRAY)
    assert state_sha256(loaded.state) == run.summary["state_sha256"]
    assert loaded.evaluate("test") == run.evaluate("test") == run.summary["test"]
    assert loaded.experiment == run.experiment


def test_validation_examples_are_never_trained_on_and_take_tests_place_during_training(tmp_path):
    seen = []
    held = replace(settings("vanilla"), data=Data(batch_size=BATCH, validation=12))
    run = aeflax.train(held, ARRAY, run_dir=tmp_path / "run", callbacks=[seen.append])
    assert {r.split for r in seen if r.kind == "evaluation"} == {"validation"}
    assert set(run.summary) >= {"train", "validation", "test"}
    poisoned = ARRAY.copy()
    train_positions = np.flatnonzero(np.arange(55) % 5 != 4)
    poisoned[train_positions[-12:]] ^= 0xFF
    assert aeflax.train(held, poisoned).summary["state_sha256"] == run.summary["state_sha256"]


def test_bad_calls_say_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="--resume needs --run-dir"):
        aeflax.train(settings("vanilla"), ARRAY, resume=True)
    with pytest.raises(ConfigError, match="holds no run"):
        aeflax.load(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="does not divide over 4 devices; try 16"):
        aeflax.train(replace(settings("vanilla", placement="pmap"), data=Data(batch_size=18)), ARRAY)
    with pytest.raises(ConfigError, match=r"--model.likelihood gaussian or --data.scale unit"):
        aeflax.train(settings("vanilla"), ARRAY.astype(np.float32))
    assert api.Run.__doc__


@pytest.mark.slow
def test_a_run_loads_and_scores_on_other_devices_than_it_was_trained_on(tmp_path, monkeypatch):
    run = aeflax.train(settings("vae", placement="pmap"), ARRAY, run_dir=tmp_path / "run")
    three = jax.local_devices()[:3]  # 16 does not divide over three
    monkeypatch.setattr(jax, "local_devices", lambda: three)
    found = aeflax.load(tmp_path / "run", ARRAY).evaluate("test")
    assert found == pytest.approx(run.summary["test"], rel=1e-5)


def test_bad_data_costs_nothing_of_the_run_that_was_to_be_overwritten(tmp_path):
    first = aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run")
    with pytest.raises(DataError):
        aeflax.train(settings("vanilla"), np.full((20, 4), np.nan), run_dir=tmp_path / "run", overwrite=True)
    with pytest.raises(ConfigError):
        aeflax.train(settings("conv"), np.ones((20, 4)), run_dir=tmp_path / "run", overwrite=True)
    assert aeflax.load(tmp_path / "run", ARRAY).summary == first.summary


@pytest.mark.slow
def test_data_that_go_bad_while_they_are_streamed_end_the_run_with_everything_saved(tmp_path, short_chunks):
    source = tmp_path / "a.npy"
    np.save(source, ARRAY)
    base = settings("vanilla")
    data = replace(base.data, source=f"npy:{source}", resident=False)
    asked = replace(base, data=data, train=replace(base.train, steps=60, eval_every=60, checkpoint_every=60))
    whole = aeflax.train(asked, run_dir=tmp_path / "whole")

    def damage(record):
        if record.kind == "chunk" and record.step == 7:
            os.truncate(source, 500)

    with pytest.raises(
        DataError, match=r"a\.npy has become shorter.*; step \d+ is saved, and --resume goes on from it"
    ):
        aeflax.train(asked, run_dir=tmp_path / "run", callbacks=[damage])
    with Checkpoints(tmp_path / "run" / "checkpoints") as kept:
        assert 7 <= kept.latest() < 60
    np.save(source, ARRAY)
    resumed = aeflax.train(asked, run_dir=tmp_path / "run", resume=True)
    assert resumed.summary["state_sha256"] == whole.summary["state_sha256"]
    assert without_speed(tmp_path / "run") == without_speed(tmp_path / "whole")


def test_a_run_on_an_array_says_that_the_array_is_needed_again(tmp_path):
    aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run")
    loaded = aeflax.load(tmp_path / "run")
    assert loaded.encode(ARRAY).shape == (55, 4)  # needs no data of the run
    with pytest.raises(DataError, match="was trained on an array from Python; pass it"):
        loaded.evaluate()


def test_divergence_is_found_within_a_long_record():
    hot = Optimizer(name="sgd", learning_rate=1e30)
    with pytest.raises(DivergedError) as caught:
        aeflax.train(replace(settings("vanilla"), optimizer=hot, train=Train(steps=5000, log_every=5000)), ARRAY)
    assert int(str(caught.value).split("before step ")[1].split()[0]) < 1000


def test_an_unfinished_longer_run_has_no_summary_of_the_shorter_one(tmp_path):
    aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run")
    longer = replace(settings("vanilla"), train=replace(settings("vanilla").train, steps=STEPS + 40))
    with pytest.raises(StoppedError):
        aeflax.train(longer, ARRAY, run_dir=tmp_path / "run", resume=True, stop=stop_after(0))
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data": Data(binarize="fixed", batch_size=BATCH)}, "data.binarize needs data in"),
        ({"model": experiment("denoising").model}, "model.corruption.clip needs data in"),
    ],
)
def test_what_needs_the_unit_range_is_refused_beyond_it(changes, named):
    base = replace(settings("vanilla"), **changes)
    base = replace(base, model=replace(base.model, likelihood=GaussianLikelihood()))
    with pytest.raises(ConfigError, match=named):
        aeflax.train(base, ARRAY.astype(np.float32))


@pytest.mark.parametrize("step_seconds", [1e-4, 0.01, 0.1, 3.0])
def test_the_pace_settles_at_the_asked_time(step_seconds):
    """The host sees each chunk complete after it has dispatched the next one: no swinging for all that."""
    pace, dispatched, chunks = FIRST_CHUNK, 0, []
    for _ in range(40):
        completed, dispatched = dispatched, pace
        if completed:
            pace = paced(pace, completed, completed * step_seconds)
        chunks.append(dispatched)
    assert set(chunks[20:]) == {max(1, round(CHUNK_SECONDS / step_seconds))}


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 50])
def test_a_long_run_of_skipped_updates_ends_the_run_whatever_the_chunk_lengths(length, monkeypatch):
    """Four updates in a row are skipped and good ones follow, all within one long chunk."""
    monkeypatch.setattr("aeflax.training.clock.FIRST_CHUNK", length)
    monkeypatch.setattr("aeflax.training.clock.paced", lambda *_: length)
    dataset = load(Data(), ARRAY)
    dataset = replace(dataset, train=replace(dataset.train, values=np.tile(dataset.train.values, (30, 1, 1, 1))))
    for allowed, ends in ((4, True), (5, False)):
        base = replace(experiment("vanilla"), train=Train(steps=20, log_every=20, max_nonfinite=allowed))
        program = prepare(resolve(base, dataset.shape, len(dataset.train.values)), dataset.shape)
        objective = program.built.parts.objective

        def broken(outputs, targets, batch_mean, hyper, step, objective=objective):
            loss, terms = objective(outputs, targets, batch_mean, hyper, step)
            return jax.numpy.where((step >= 3) & (step < 7), jax.numpy.nan, loss), terms

        parts = program.built.parts._replace(objective=broken)
        trainer = Trainer(replace(program, built=replace(program.built, parts=parts)), dataset)
        if ends:
            with pytest.raises(DivergedError, match="4 updates in a row"):
                trainer.fit()
        else:
            assert int(trainer.fit().skipped) == 4


def test_a_diverged_run_that_is_resumed_is_still_diverged(tmp_path):
    hot = Optimizer(name="sgd", learning_rate=1e30)
    settings_ = replace(settings("vanilla"), optimizer=hot, train=Train(steps=400, log_every=400))
    found = []
    for resume in (False, True):
        with pytest.raises(DivergedError) as caught:
            aeflax.train(settings_, ARRAY, run_dir=tmp_path / "run", resume=resume)
        found.append((str(caught.value), sorted(entry.name for entry in (tmp_path / "run" / "checkpoints").iterdir())))
    assert found[0] == found[1]


def test_a_finished_run_whose_checkpoints_are_gone_does_not_start_over(tmp_path):
    aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run", report=False)
    summary = (tmp_path / "run" / "summary.json").read_bytes()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(CheckpointError, match=rf"was trained to step {STEPS}, but its checkpoints are gone; put them"):
        aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run", resume=True, report=False)
    assert (tmp_path / "run" / "summary.json").read_bytes() == summary
    audit = verify(tmp_path / "run")
    assert not audit.sound
    (fault,) = audit.files["summary.json"]
    assert f"tells of step {STEPS}, of which there is no checkpoint" in fault


def test_a_lost_last_checkpoint_is_seen_and_a_damaged_manifest_promises_no_resume(tmp_path):
    aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run", report=False)
    assert verify(tmp_path / "run").sound
    manifest = tmp_path / "run" / "experiment.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"steps"', '"stops"'))
    audit = verify(tmp_path / "run")
    assert (audit.sound, audit.resumes_at) == (False, None)
    manifest.write_text(text)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / str(STEPS))
    audit = verify(tmp_path / "run")
    assert (audit.sound, audit.resumes_at) == (False, max(audit.checkpoints))


def test_a_run_in_another_order_is_not_resumed(tmp_path, monkeypatch):
    aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run", report=False)
    monkeypatch.setattr("aeflax.rundir.manifest.order_sha256", lambda seed, examples: "another")
    with pytest.raises(ConfigError, match=r"random.order_sha256: \w+ -> another"):
        aeflax.train(settings("vanilla"), ARRAY, run_dir=tmp_path / "run", resume=True, report=False)


def test_a_sharding_pattern_must_match_a_parameter():
    base = settings("vanilla", placement="mesh")
    with pytest.raises(ConfigError, match=r"train.sharding: nonsense matches no parameter; there are bottleneck/code"):
        aeflax.train(replace(base, train=replace(base.train, sharding=("nonsense=0",))), ARRAY)
