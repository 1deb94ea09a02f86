"""Training manners: early stopping, the best checkpoint, events, profiles, first weights."""

import gzip
import json
import logging
import shutil
from dataclasses import replace
from types import MappingProxyType

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from variants import BATCH, experiment, images

import aeflax
from aeflax.config import Data, Dense, GaussianLikelihood, Optimizer, Train
from aeflax.errors import AeflaxWarning, ConfigError, DivergedError, StoppedError
from aeflax.rundir.runs import read_metrics
from aeflax.training.monitor import Monitor
from aeflax.training.records import Record, events

ARRAY = images(75)
WITHHELD = Data(batch_size=BATCH, validation=12)


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """Reports have tests of their own, and take longer than these runs."""
    monkeypatch.setattr("aeflax.trained.Run.report", lambda run: None)


def overfitting(**train):
    """An experiment whose validation loss soon rises: random images, many units, a large learning rate."""
    base = experiment("vanilla")
    return replace(
        base,
        data=WITHHELD,
        model=replace(base.model, latent_dim=60, backbone=Dense(widths=(64,))),
        optimizer=Optimizer(learning_rate=0.02),
        train=Train(seed=3, steps=60, log_every=5, eval_every=3, checkpoint_every=10, **train),
    )


def validation(run_dir, name="bce"):
    return [(r["step"], r[name]) for r in read_metrics(run_dir) if r["split"] == "validation"]


def without_speed(path):
    return [
        {k: v for k, v in record.items() if k not in ("images_per_second", "data_wait")}
        for record in read_metrics(path)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["jit", pytest.param("pmap", marks=pytest.mark.slow)])
def test_training_stops_when_patience_ends(placement, tmp_path):
    run = aeflax.train(overfitting(patience=2, placement=placement), ARRAY, run_dir=tmp_path / "run")
    scores = validation(tmp_path / "run")
    best = min(scores, key=lambda score: score[1])
    assert run.summary["stopped_early"] is True
    assert run.summary["best"] == {"step": best[0], "monitor": "bce", "value": best[1]}
    assert run.step == best[0] + 2 * 3 < 60  # two evaluations without a better one
    assert run.summary["status"] == "done"
    assert run.summary["test"]["bce"] == aeflax.load(tmp_path / "run", ARRAY).evaluate()["bce"]


@pytest.mark.slow
def test_early_stopping_decides_alike_on_one_device_and_on_four(tmp_path):
    """The metric is one number over the whole split, whoever computed its parts."""
    stopped = [aeflax.train(overfitting(patience=2, placement=name), ARRAY).step for name in ("jit", "pmap")]
    assert stopped[0] == stopped[1]


@pytest.mark.slow
def test_the_best_checkpoint_outlives_newer_ones(tmp_path):
    run = aeflax.train(overfitting(), ARRAY, run_dir=tmp_path / "run")
    scores = validation(tmp_path / "run")
    step, value = min(scores, key=lambda score: score[1])
    assert run.summary["stopped_early"] is False
    assert step < 50  # two newer checkpoints are kept beside it
    best = aeflax.load(tmp_path / "run", ARRAY, step="best")
    assert best.step == step
    assert best.evaluate("validation")["bce"] == value
    held = sorted(int(entry.name) for entry in (tmp_path / "run" / "checkpoints").iterdir())
    assert held == [step, 50, 60]
    assert aeflax.load(tmp_path / "run", ARRAY, step=50).step == 50
    with pytest.raises(ConfigError, match=f"holds no checkpoint of step 49, only {step}, 50, 60"):
        aeflax.load(tmp_path / "run", ARRAY, step=49)


def test_a_run_without_validation_has_no_best_checkpoint(tmp_path):
    aeflax.train(experiment("vanilla"), ARRAY, run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"no best checkpoint; train it with --data\.validation N"):
        aeflax.load(tmp_path / "run", step="best")


@pytest.mark.slow
def test_patience_survives_interruptions(tmp_path, monkeypatch):
    monkeypatch.setattr("aeflax.training.clock.FIRST_CHUNK", 1)
    monkeypatch.setattr("aeflax.training.clock.CHUNK_SECONDS", 0.0)
    whole = aeflax.train(overfitting(patience=3), ARRAY, run_dir=tmp_path / "whole")
    assert 12 < whole.step < 60
    for _ in range(100):
        polls = iter(range(7))
        try:
            parts = aeflax.train(
                overfitting(patience=3),
                ARRAY,
                run_dir=tmp_path / "parts",
                resume=True,
                stop=lambda polls=polls: next(polls, None) is None,
            )
            break
        except StoppedError:
            continue
    assert parts.summary["state_sha256"] == whole.summary["state_sha256"]
    assert parts.summary["best"] == whole.summary["best"]
    assert without_speed(tmp_path / "parts") == without_speed(tmp_path / "whole")
    again = aeflax.train(overfitting(patience=3), ARRAY, run_dir=tmp_path / "parts", resume=True)
    assert again.summary == parts.summary  # finished, although not at its last step


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": Train(patience=3)}, "train.patience needs a validation split"),
        ({"train": Train(monitor="mse")}, "train.monitor needs a validation split"),
        (
            {"train": Train(monitor="elbo"), "data": WITHHELD},
            "monitor=elbo is no metric of this model; choose bce",
        ),
    ],
)
def test_a_monitor_that_cannot_be_is_refused_at_once(change, message):
    with pytest.raises(ConfigError, match=message):
        aeflax.train(replace(experiment("vanilla"), **change), ARRAY)


def test_a_bounded_mean_needs_data_in_the_unit_range():
    base = experiment("vanilla")
    settings = replace(
        base, model=replace(base.model, likelihood=GaussianLikelihood(bounded=True)), train=Train(steps=3)
    )
    with pytest.raises(ConfigError, match=r"model\.likelihood\.bounded needs data in"):
        aeflax.train(settings, np.random.RandomState(0).normal(size=(75, 9)).astype(np.float32))


def test_a_psnr_monitor_needs_data_in_the_unit_range():
    base = experiment("vanilla")
    settings = replace(
        base,
        data=WITHHELD,
        model=replace(base.model, likelihood=GaussianLikelihood()),
        train=Train(steps=3, monitor="psnr"),
    )
    with pytest.raises(ConfigError, match=r"train\.monitor psnr needs data in"):
        aeflax.train(settings, np.random.RandomState(0).normal(size=(75, 9)).astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "monitor"), [("vanilla", "bce"), ("vae", "elbo"), ("denoising", "restored_bce"), ("sparse", "bce")]
)
def test_the_default_monitor_suits_the_variant(variant, monitor):
    run = aeflax.train(replace(experiment(variant, steps=3), data=WITHHELD), ARRAY)
    assert run.experiment.train.monitor == run.summary["best"]["monitor"] == monitor
    assert run.summary["best"]["value"] == run.summary["validation"][monitor]


def test_higher_is_better_for_some_metrics_and_nan_is_never():
    monitor = Monitor("elbo", patience=2)
    assert [monitor.observe(step, {"elbo": value}) for step, value in enumerate([-5.0, -4.0, float("nan"), -4.0])] == [
        True,
        True,
        False,
        False,
    ]
    assert (monitor.step, monitor.best, monitor.exhausted) == (1, -4.0, True)
    assert Monitor("bce").observe(0, {"bce": float("nan")}) is False


@pytest.mark.slow
def test_tensorboard_reads_what_a_run_wrote(tmp_path):
    run = aeflax.train(overfitting(), ARRAY, run_dir=tmp_path / "run")
    reader = EventAccumulator(str(tmp_path / "run"))
    reader.Reload()
    found = [(event.step, event.value) for event in reader.Scalars("validation/bce")]
    np.testing.assert_allclose(found, validation(tmp_path / "run"), rtol=1e-6)  # events hold float32
    assert [event.step for event in reader.Scalars("train/loss")] == list(range(5, 61, 5))
    assert set(run.history) == {"train", "validation"}
    assert "train/images_per_second" in reader.Tags()["scalars"]


def test_events_of_a_run_that_never_reached_a_checkpoint_are_replaced(tmp_path):
    for second, steps in ((1, (5, 10, 15)), (2, (5, 10))):
        write = events(tmp_path)
        for kind, step in (("start", 0), *(("train", step) for step in steps), ("end", steps[-1])):
            write(Record(kind, step, 20, step / 3, split="train", metrics={"loss": float(step + second)}))
        (written,) = tmp_path.glob("events.out.tfevents.*.0")
        written.rename(tmp_path / f"events.out.tfevents.{second}.host")  # as if it had begun in another second
    reader = EventAccumulator(str(tmp_path))
    reader.Reload()
    assert [(event.step, event.value) for event in reader.Scalars("train/loss")] == [(5, 7.0), (10, 12.0)]


@pytest.mark.slow
def test_a_resumed_run_replaces_the_events_it_writes_again(tmp_path):
    polls = iter(range(2))
    with pytest.raises(StoppedError):
        aeflax.train(overfitting(), ARRAY, run_dir=tmp_path / "run", stop=lambda: next(polls, None) is None)
    aeflax.train(overfitting(), ARRAY, run_dir=tmp_path / "run", resume=True)
    reader = EventAccumulator(str(tmp_path / "run"))
    reader.Reload()
    assert [event.step for event in reader.Scalars("train/loss")] == list(range(5, 61, 5))


@pytest.mark.slow
def test_history_is_the_metrics_log_as_arrays(tmp_path):
    kept = aeflax.train(overfitting(), ARRAY, run_dir=tmp_path / "run")
    alone = aeflax.train(overfitting(), ARRAY)
    loaded = aeflax.load(tmp_path / "run")
    for run in (kept, alone, loaded):
        np.testing.assert_array_equal(run.history["train"]["step"], range(5, 61, 5))
        np.testing.assert_array_equal(run.history["validation"]["bce"], [v for _, v in validation(tmp_path / "run")])
        assert np.isfinite(run.history["train"]["loss"]).all()


@pytest.mark.slow
def test_callbacks_see_read_only_records_of_every_kind(tmp_path):
    seen = []
    aeflax.train(overfitting(), ARRAY, run_dir=tmp_path / "run", callbacks=[seen.append])
    assert {record.kind for record in seen} == {"start", "chunk", "train", "evaluation", "checkpoint", "end"}
    assert [seen[0].kind, seen[-1].kind] == ["start", "end"]
    assert isinstance(seen[-2].metrics, MappingProxyType)
    with pytest.raises(TypeError):
        seen[-2].metrics["bce"] = 0.0
    with pytest.raises(AttributeError):
        seen[0].step = 3


def test_callbacks_hear_of_the_end_of_a_run_that_fails():
    seen = []

    def fail(record):
        seen.append(record.kind)
        if record.kind == "chunk":
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        aeflax.train(overfitting(), ARRAY, callbacks=[fail])
    assert seen[-1] == "end"


@pytest.mark.slow
def test_a_profile_holds_a_trace_and_changes_nothing(tmp_path):
    run = aeflax.train(overfitting(), ARRAY, profile=tmp_path / "profile")
    (trace,) = (tmp_path / "profile").rglob("*.trace.json.gz")
    assert json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert run.summary["state_sha256"] == aeflax.train(overfitting(), ARRAY).summary["state_sha256"]


@pytest.mark.slow
def test_a_run_begins_with_the_weights_of_another(tmp_path):
    first = aeflax.train(overfitting(), ARRAY, run_dir=tmp_path / "first")
    second = replace(overfitting(), train=Train(steps=2, seed=9), optimizer=Optimizer(learning_rate=0.0))
    run = aeflax.train(second, ARRAY, run_dir=tmp_path / "second", init_from=tmp_path / "first")
    jax.tree.map(np.testing.assert_array_equal, run.state.params, first.state.params)
    origin = json.loads((tmp_path / "second" / "experiment.json").read_text())["init_from"]
    assert origin == {"run": str(tmp_path / "first"), "step": 60, "state_sha256": first.summary["state_sha256"]}
    with pytest.raises(ConfigError, match="init_from: the first weights differ"):
        aeflax.train(second, ARRAY, run_dir=tmp_path / "second", resume=True)


@pytest.mark.slow
def test_a_run_with_a_checkpoint_needs_the_run_it_began_with_no_more(tmp_path):
    """It goes on where the first run was trained further, and where it is gone."""
    first, second = tmp_path / "first", tmp_path / "second"
    aeflax.train(overfitting(), ARRAY, run_dir=first)
    whole = aeflax.train(overfitting(), ARRAY, init_from=first)
    polls = iter(range(2))
    with pytest.raises(StoppedError):
        aeflax.train(overfitting(), ARRAY, run_dir=second, init_from=first, stop=lambda: next(polls, None) is None)
    origin = json.loads((second / "experiment.json").read_text())["init_from"]
    shutil.rmtree(first)
    with pytest.raises(ConfigError, match="first holds no run"):
        aeflax.train(overfitting(), ARRAY, run_dir=tmp_path / "third", init_from=first, resume=True)
    run = aeflax.train(overfitting(), ARRAY, run_dir=second, init_from=first, resume=True)
    assert run.summary["state_sha256"] == whole.summary["state_sha256"]
    assert json.loads((second / "experiment.json").read_text())["init_from"] == origin


@pytest.mark.slow
def test_a_finished_run_that_is_resumed_gets_the_report_that_it_lacks(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("aeflax.trained.Run.report", lambda run: drawn.append(run.step))
    settings = replace(experiment("vanilla"), train=Train(steps=3))
    aeflax.train(settings, ARRAY, run_dir=tmp_path / "run", report=False)
    aeflax.train(settings, ARRAY, run_dir=tmp_path / "run", resume=True, report=False)
    assert drawn == []
    aeflax.train(settings, ARRAY, run_dir=tmp_path / "run", resume=True)
    assert drawn == [3]
    (tmp_path / "run" / "report.html").touch()
    aeflax.train(settings, ARRAY, run_dir=tmp_path / "run", resume=True)
    assert drawn == [3]


def test_the_manifest_names_the_generator_that_was_used_whatever_jaxs_default_is(tmp_path):
    settings = replace(experiment("vanilla"), train=Train(steps=1))
    with jax.default_prng_impl("rbg"):
        aeflax.train(settings, ARRAY, run_dir=tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert manifest["random"]["implementation"] == "threefry2x32"
    aeflax.train(settings, ARRAY, run_dir=tmp_path / "run", resume=True)


def test_a_profile_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").touch()
    seen = []
    with pytest.raises(ConfigError, match=r"cannot write to the profile .*Not a directory"):
        aeflax.train(experiment("vanilla"), ARRAY, profile=tmp_path / "file" / "x", callbacks=[seen.append])
    assert seen == []


def test_checkpoints_neither_warn_nor_silence_the_logger_that_orbax_shares_with_others(tmp_path):
    settings = replace(experiment("vanilla"), train=Train(steps=1))
    heard = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())
    logger = logging.getLogger("absl")
    logger.addHandler(handler)
    try:
        for _ in range(2):
            aeflax.train(settings, ARRAY, run_dir=tmp_path / "run", overwrite=True)
        logger.warning("mine")
    finally:
        logger.removeHandler(handler)
    assert heard == ["mine"]


@pytest.mark.slow
def test_first_weights_are_the_averaged_ones_where_they_are_kept(tmp_path):
    settings = replace(overfitting(), optimizer=Optimizer(learning_rate=0.02, ema=0.9))
    first = aeflax.train(settings, ARRAY, run_dir=tmp_path / "first")
    second = replace(overfitting(), train=Train(steps=1), optimizer=Optimizer(learning_rate=0.0))
    run = aeflax.train(second, ARRAY, init_from=tmp_path / "first")
    jax.tree.map(np.testing.assert_array_equal, run.state.params, first.state.ema)


def test_first_weights_of_another_model_are_refused_with_the_difference(tmp_path):
    aeflax.train(experiment("vanilla"), ARRAY, run_dir=tmp_path / "first")
    base = experiment("vanilla")
    other = replace(base, model=replace(base.model, latent_dim=5))
    with pytest.raises(ConfigError, match=r"bottleneck/.*kernel is \(63, 4\), expected \(63, 5\)"):
        aeflax.train(other, ARRAY, init_from=tmp_path / "first")


@pytest.mark.slow
def test_weights_that_overflow_are_never_saved_nor_called_done(tmp_path):
    """A finite gradient times an infinite step: every later update is skipped, and nothing leads back."""
    hot = Optimizer(schedule="piecewise", boundaries=(20,), factor=3e38, learning_rate=10.0)
    settings = replace(overfitting(), optimizer=hot)
    with pytest.raises(DivergedError, match="training diverged"):
        aeflax.train(settings, ARRAY, run_dir=tmp_path / "run")
    kept = aeflax.load(tmp_path / "run")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(kept.state.params)))
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_run_that_breaks_in_its_last_steps_is_not_done():
    with pytest.raises(DivergedError):
        aeflax.train(replace(overfitting(), train=Train(steps=5), optimizer=Optimizer(learning_rate=1e38)), ARRAY)


@pytest.mark.slow
def test_a_damaged_summary_is_made_again(tmp_path):
    first = aeflax.train(overfitting(), ARRAY, run_dir=tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text('{"step": 60}')
    assert aeflax.load(tmp_path / "run").summary is None
    again = aeflax.train(overfitting(), ARRAY, run_dir=tmp_path / "run", resume=True)
    assert again.summary["state_sha256"] == first.summary["state_sha256"]
    assert again.summary["test"] == first.summary["test"]


def test_a_report_that_cannot_be_written_is_warned_of(tmp_path, monkeypatch):
    """The run is complete without it."""

    def full(_):
        raise ConfigError("cannot write the report to run: No space left on device; choose another --out")

    monkeypatch.setattr("aeflax.trained.Run.report", full)
    with pytest.warns(AeflaxWarning, match=r"left on device; the run is complete, and aeflax report .* draws it later"):
        run = aeflax.train(experiment("vanilla", steps=2), ARRAY, run_dir=tmp_path / "run")
    assert json.loads((run.path / "summary.json").read_text())["status"] == "done"
