"""Classifiers over an encoder: what they begin with, what they learn from, what is told of them."""

import json
from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from variants import BATCH, BY_VARIANT, Harness, experiment, images

import aeflax
from aeflax import optimizers, presets
from aeflax.applications import classifier, finetune
from aeflax.applications.classifier import IDENTITY, Budget, encoder_of
from aeflax.cli import main
from aeflax.config import Data, Train
from aeflax.engine.keys import Keys, root_key
from aeflax.engine.state import Source
from aeflax.errors import ConfigError, DivergedError

SHORT = Budget(steps=40, batch_size=16, learning_rate=0.01)
PLAIN = (np.zeros(1, np.float32), np.ones(1, np.float32))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("finetune") / "run"
    settings = replace(presets.vanilla(8), data=Data(source="digits", limit=400), train=Train(steps=60))
    return aeflax.train(settings, run_dir=path, report=False)


def apart(count, seed=0):
    """Three classes of vectors that a line parts."""
    random, known = np.random.RandomState(seed), np.arange(count) % 3
    return (8 * np.eye(4)[known] + random.normal(size=(count, 4))).astype(np.float32), known


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_a_classifier_begins_with_the_autoencoders_codes(variant):
    run = aeflax.train(experiment(variant, steps=6), images(55))
    encoder, weights = encoder_of(run.inference.program.built), finetune._encoder_weights(run.inference)
    numbers = run.inference.program.hyper["model"]["bottleneck"]
    drawn = jax.eval_shape(encoder.init, root_key(0))
    assert jax.tree.map(np.shape, weights) == jax.tree.map(lambda leaf: leaf.shape, drawn)
    rows = images(BATCH).reshape(BATCH, -1).astype(np.float32) / 255
    np.testing.assert_allclose(encoder.apply(*weights, numbers, rows), run.encode(images(BATCH)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("initialization", ["glorot", "he"])
def test_from_scratch_a_classifier_begins_as_the_autoencoder_does(initialization):
    base = experiment("vanilla")
    settings = replace(base, model=replace(base.model, initialization=initialization))
    built = Harness(settings).built
    params, _ = encoder_of(built).init(root_key(5))
    chex.assert_trees_all_equal(params, {"bottleneck": built.parts.init(root_key(5))[0]["bottleneck"]})


def test_the_objective_is_the_cross_entropy_of_the_label_in_the_row():
    parts = classifier.classifier(IDENTITY, 4, 3)
    rows, known = apart(6)
    shift, divisor = np.array([2, 2, 2, 2, 0], np.float32), np.array([4, 4, 4, 4, 1], np.float32)
    targets = parts.prepare(Source(np.column_stack([rows, known]), shift, divisor), Keys(root_key(0), 0, known))
    params = {"encoder": {}, "head": {"kernel": np.eye(4, 3, dtype=np.float32), "bias": np.ones(3, np.float32)}}
    loss, _ = parts.objective(parts.apply(params, {}, targets, None, {"bottleneck": {}}, None), targets, None, {}, 0)
    logits = (rows - 2) / 4 @ np.eye(4, 3) + 1
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(6), known]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.slow
def test_the_engine_trains_a_classifier_as_a_plain_loop_does():
    """Full batches, then no order matters; up to float32 rounding."""
    rows, known = apart(31)  # not 30: Adam makes steps of the rounding of a gradient that is zero
    judged, _ = apart(50, seed=1)
    budget = Budget(steps=25, batch_size=99, learning_rate=0.05)
    found = classifier.train(IDENTITY, rows, known, 3, scaling=PLAIN, weights=None, budget=budget, seed=0)
    tx = optimizers.transformation("adam", jnp.float32(0.05), {"b1": 0.9, "b2": 0.999, "eps": 1e-8})
    head = {"kernel": np.zeros((4, 3), np.float32), "bias": np.zeros(3, np.float32)}
    state = tx.init(head)

    def loss(head):
        logits = rows @ head["kernel"] + head["bias"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, known).mean()

    for _ in range(25):
        updates, state = tx.update(jax.grad(loss)(head), state)
        head = optax.apply_updates(head, updates)
    params = found.args[1]
    for name in head:
        np.testing.assert_allclose(params["head"][name], head[name], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found(judged), np.argmax(judged @ head["kernel"] + head["bias"], axis=1))


def test_what_a_line_parts_is_learned():
    rows, known = apart(60)
    judged, classes = apart(700, seed=1)
    fit = classifier.train(IDENTITY, rows, known, 3, scaling=PLAIN, weights=None, budget=SHORT, seed=0)
    np.testing.assert_array_equal(fit(judged), classes)


def test_a_classifier_that_diverges_is_no_result():
    rows, known = apart(60)
    wild = replace(SHORT, learning_rate=1e38)
    with pytest.raises(DivergedError, match=r"of \d+ updates at the learning rate 1e\+38 .*; lower the learning rate"):
        classifier.train(IDENTITY, rows, known, 3, scaling=PLAIN, weights=None, budget=wild, seed=0)


@pytest.mark.slow
def test_three_arms_with_intervals_and_a_gain(run):
    found = run.judge.finetuning((2, 10), budget=SHORT, seeds=2)
    assert [(entry["per_class"], entry["labels"]) for entry in found["counts"]] == [(2, 20), (10, 100)]
    for entry in found["counts"]:
        assert tuple(entry["arms"]) == finetune.ARMS
        for arm in entry["arms"].values():
            assert 0.1 < arm["mean"] < 1
            assert 0 <= arm["low"] <= arm["mean"] <= arm["high"] <= 1
        gain = entry["arms"]["finetuned"]["mean"] - entry["arms"]["scratch"]["mean"]
        np.testing.assert_allclose(entry["gain"]["mean"], gain, atol=1e-12)
    assert found == run.judge.finetuning((2, 10), budget=SHORT, seeds=2)


@pytest.mark.slow
def test_fine_tuning_leaves_the_run_as_it_was(run):
    before = jax.device_get(run.state.params)
    run.judge.finetuning((2,), budget=SHORT, seeds=1)
    jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(run.state.params))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels_per_class": (0,)}, "0 labels per class are too few"),
        ({"labels_per_class": (999,)}, "999 labels per class are more than there are: class"),
        ({"labels_per_class": ()}, "no number of labels per class"),
        ({"labels_per_class": (2,), "seeds": 0}, "0 seeds"),
        ({"labels_per_class": (2,), "budget": Budget(steps=0)}, "0 steps train nothing"),
        ({"labels_per_class": (2,), "budget": Budget(batch_size=0)}, "a batch of 0 examples"),
        ({"labels_per_class": (2,), "budget": Budget(learning_rate=float("nan"))}, "the learning rate nan"),
    ],
)
def test_what_cannot_be_is_refused(run, options, message):
    with pytest.raises(ConfigError, match=message):
        run.judge.finetuning(**options)


@pytest.mark.slow
def test_the_command_tells_keeps_and_shows(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # tables are not broken
    words = ["--labels-per-class", "2", "5", "--steps", "30", "--seeds", "2", "--json"]
    assert main(["finetune", str(run.path), *words]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [entry["per_class"] for entry in found["counts"]] == [2, 5]
    assert "gain over scratch" in err
    assert json.loads((run.path / "applications" / "finetune.json").read_text())["counts"] == found["counts"]
    assert "The encoder as a beginning" in aeflax.load(run.path).report().read_text()
    assert (run.path / "figures" / "finetune.png").exists()


@pytest.mark.parametrize("words", [["--labels-per-class", "999"], ["--labels-per-class", "2", "--steps", "0"], []])
def test_mistakes_on_the_command_line_get_one_answer(run, capsys, words):
    assert main(["finetune", str(run.path), *words]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err
    assert "Traceback" not in err
