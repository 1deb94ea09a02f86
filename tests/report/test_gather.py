"""What a report shows is what the run was trained and scored on, and of the checkpoint that it names."""

import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
from variants import BATCH, experiment, images

import aeflax
from aeflax.config import Data, GaussianLikelihood, Train
from aeflax.errors import ConfigError, DataError
from aeflax.report import words

ARRAY = images(55)


@pytest.fixture(autouse=True)
def words_alone(monkeypatch):
    """Figures have tests of their own."""
    monkeypatch.setattr("aeflax.report.page.FIGURES", {})


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run whose best checkpoint is not its last one."""
    path = tmp_path_factory.mktemp("runs") / "run"
    base = experiment("vanilla")
    settings = replace(
        base,
        data=Data(batch_size=BATCH, validation=12),
        train=Train(steps=60, eval_every=10, checkpoint_every=10, seed=3),
        optimizer=replace(base.optimizer, learning_rate=0.05),
    )
    run = aeflax.train(settings, ARRAY, run_dir=path, report=False)
    assert run.summary["best"]["step"] < 60
    return path


@pytest.fixture
def copy(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "run")


@pytest.mark.slow
def test_a_test_value_beyond_the_unit_range_is_refused_before_training_and_drawn_where_allowed(tmp_path):
    table = np.random.RandomState(0).rand(50, 5).astype(np.float32)
    table[4] = 1.5  # of the test split
    base = experiment("vanilla", steps=3)
    with pytest.raises(ConfigError, match=r"spans \[.*, 1\.5\]"):
        aeflax.train(base, table, run_dir=tmp_path / "run")
    for scale in ("none", "unit"):
        allowed = replace(base, model=replace(base.model, likelihood=GaussianLikelihood()))
        allowed = replace(allowed, data=Data(batch_size=BATCH, scale=scale))
        run = aeflax.train(allowed, table, run_dir=tmp_path / scale)
        assert run._material({}).examples.max() >= 1.5
        assert (tmp_path / scale / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["vanilla", "denoising"])
def test_the_examples_are_those_that_evaluation_scored(variant):
    base = experiment(variant)
    run = aeflax.train(replace(base, data=Data(batch_size=BATCH, binarize="fixed")), ARRAY)
    found, scores = run._material({}), run.evaluate()
    assert set(np.unique(found.examples)) == {0.0, 1.0}
    error = np.mean((found.reconstructions - found.examples) ** 2)
    # float32 sums of eleven examples
    assert error == pytest.approx(scores["mse" if variant == "vanilla" else "restored_mse"], rel=1e-5)
    built = run._program.built
    code = built.module.apply({"params": run.state.params}, found.examples, method="encode")
    np.testing.assert_allclose(found.codes, code, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["sparse", "rate", "top-k"])
def test_the_dictionarys_usage_counts_as_evaluation_does(variant):
    run = aeflax.train(experiment(variant, steps=40), ARRAY)
    found = run._material({})
    assert len(found.usage) == run.experiment.model.latent_dim
    assert found.usage.sum() == pytest.approx(run.evaluate()["l0"], rel=1e-6)
    assert (np.diff(found.usage) <= 0).all()


@pytest.mark.slow
def test_another_checkpoints_report_shows_that_checkpoint(copy):
    last, best = (aeflax.load(copy, ARRAY, step=step) for step in ("latest", "best"))
    assert last.summary["step"] == 60
    assert best.summary is None
    text = best.report().read_text()
    assert f"This is the checkpoint of step {best.step}, not the run&#39;s last one." in text
    for split in ("train", "validation", "test"):
        assert words.number(best.evaluate(split)["bce"]) in text
        assert words.number(last.summary[split]["bce"]) not in text
    assert last.summary["state_sha256"] not in text
    assert words.number(last.summary["pca"]["test"]["mse"]) in text
    assert "checkpoint of step" not in last.report().read_text()


def test_without_the_data_another_checkpoints_report_shows_what_was_logged(copy):
    best = aeflax.load(copy, step="best")
    text = best.report().read_text()
    assert words.number(aeflax.load(copy).summary["best"]["value"]) in text
    assert '<th scope="col">validation</th>' in text
    assert '<th scope="col">test</th>' not in text


@pytest.mark.slow
def test_a_notebook_shows_the_checkpoint_without_evaluating(copy, monkeypatch):
    best = aeflax.load(copy, ARRAY, step="best")
    monkeypatch.setattr("aeflax.trained.evaluate", lambda *_: pytest.fail("evaluated"))
    monkeypatch.setattr("aeflax.report.page.FIGURES", {"reconstructions": lambda material: None})
    assert words.number(aeflax.load(copy).summary["best"]["value"]) in best._repr_html_()


@pytest.mark.slow
def test_the_command_that_trains_it_again_begins_with_the_same_weights(tmp_path):
    path = tmp_path / "first run"
    base = replace(experiment("vanilla", steps=3), data=Data(source="digits", batch_size=BATCH))
    first = aeflax.train(base, run_dir=path, report=False)
    run = aeflax.train(base, run_dir=tmp_path / "second", init_from=path)
    assert run._material({}).command.endswith(f" --init-from '{path}'")
    text = (tmp_path / "second" / "report.html").read_text()
    assert f"step 3, SHA-256 {first.summary['state_sha256']}" in text
    assert "--init-from" not in first._material({}).command


@pytest.mark.slow
def test_a_report_that_cannot_be_written_is_a_configuration_error(copy):
    (copy / "figures").write_text("a file")
    with pytest.raises(ConfigError, match=r"cannot write the report to .*run: File exists; choose another --out"):
        aeflax.load(copy).report()
    with pytest.raises(ConfigError, match="cannot write the report"):
        aeflax.load(copy).report(copy / "experiment.json")


def test_damaged_examples_are_taken_from_the_data_again(copy):
    whole = aeflax.load(copy)._material({})
    (copy / "examples.npz").write_bytes(b"PK\x03\x04 damaged")
    again = aeflax.load(copy, ARRAY)._material({})
    jax.tree.map(np.testing.assert_array_equal, again.examples, whole.examples)


def test_kept_examples_of_another_shape_are_a_data_error(copy):
    np.savez(copy / "examples.npz", values=np.zeros((3, 5), np.uint8), index=np.arange(3))
    with pytest.raises(DataError, match=r"kept examples have the shape \(5,\), .* delete examples\.npz"):
        aeflax.load(copy).report()


def test_a_manifest_that_says_nonsense_of_the_first_weights_is_shown_as_far_as_it_goes(copy):
    run = aeflax.load(copy)
    for origin, shown in (([1, "a"], {}), ({"run": "x"}, "x, step unknown, SHA-256 unknown")):
        run._manifest = dict(run._manifest) | {"init_from": origin}
        assert run._material({}).data.get("first weights", {}) == shown


def test_a_report_replaces_a_link_to_a_folder_and_writes_nothing_there(copy, tmp_path):
    (tmp_path / "outside").mkdir()
    (copy / "figures").symlink_to(tmp_path / "outside", target_is_directory=True)
    aeflax.load(copy).report()
    assert list((tmp_path / "outside").iterdir()) == []
    assert not (copy / "figures").is_symlink()
