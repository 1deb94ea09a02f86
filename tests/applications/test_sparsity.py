"""The panel of a sparse code, every metric against NumPy on a model whose matrices are known."""

import copy
from dataclasses import replace

import jax
import numpy as np
import pytest
from variants import experiment, images

import aeflax
from aeflax import presets
from aeflax.applications import diagnosis, sparsity
from aeflax.applications.findings import Findings
from aeflax.applications.inference import Inference
from aeflax.config import Conv, Data, Dense, GaussianLikelihood, Rate, Sparse, TopK, Train
from aeflax.errors import ConfigError, DataError
from aeflax.report import canvas
from aeflax.report.sparsity import section, sentences, tables

FEATURES, UNITS = 6, 9
RANDOM = np.random.default_rng(0)
ENCODER = RANDOM.standard_normal((FEATURES, UNITS))
BIAS = np.array([0, 0, 0.3, -0.5, -1, -50, 0.2, 0, -2])  # the sixth unit is dead
DECODER = RANDOM.standard_normal((UNITS, FEATURES)) / 5
DECODER[8] = -1.5 * DECODER[0]  # as alike as two directions can be
OFFSET = RANDOM.standard_normal(FEATURES) / 5
VALUES = (RANDOM.standard_normal((700, FEATURES)) * [1, 2, 0.5, 1, 1, 3] + 1).astype(np.float32)


def known(bottleneck):
    """The model relu(x E + b) D + c, its data, and the test split."""
    base = presets.sparse(UNITS)
    model = replace(base.model, bottleneck=bottleneck, likelihood=GaussianLikelihood())
    run = aeflax.train(replace(base, model=model, data=Data(source="array"), train=Train(steps=1)), VALUES)
    params = {
        "bottleneck": {"code": {"kernel": ENCODER, "bias": BIAS}},
        "decoder": {"output": {"kernel": DECODER, "bias": OFFSET}},
    }
    params = jax.tree.map(lambda leaf, own: np.asarray(leaf, own.dtype), params, run.state.params)
    test = run.split("test").values[:].astype(np.float64)
    return Inference(run._program, run.state.replace(params=params), run.inference.domain), run._dataset(), test


@pytest.fixture(scope="module")
def model():
    return known(Sparse())


@pytest.mark.slow
def test_every_metric_of_examples_is_numpys(model):
    inference, dataset, x = model
    values, arrays = sparsity.judge(inference, dataset)
    codes = np.maximum(x @ ENCODER + BIAS, 0)
    again = codes @ DECODER + OFFSET
    expected = {
        "l0": np.mean(np.count_nonzero(codes, axis=1)),
        "l1": np.mean(np.abs(codes).sum(axis=1)),
        "mse": np.mean((x - again) ** 2),
        "unexplained": np.sum((x - again) ** 2) / np.sum((x - x.mean(axis=0)) ** 2),
        "cosine": np.mean([a @ b / np.sqrt(a @ a * (b @ b)) for a, b in zip(x, again, strict=True)]),
        "l2_ratio": np.mean(np.sqrt(np.sum(again**2, axis=1) / np.sum(x**2, axis=1))),
        "dead_fraction": 1 / 9,
    }
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, rel=1e-5), name  # the model computes in float32
    np.testing.assert_allclose(arrays["density"], np.mean(codes > 0, axis=0), atol=1e-12)
    assert values["examples"] == len(x) == 140
    assert values["penalty"] == 0.1


def test_every_metric_of_the_dictionary_is_numpys(model):
    values, arrays = sparsity.judge(*model[:2])
    lengths = np.linalg.norm(DECODER, axis=1)
    cosines = np.abs(DECODER @ DECODER.T) / np.outer(lengths, lengths)
    np.fill_diagonal(cosines, 0)
    np.testing.assert_allclose(arrays["nearest_cosine"], cosines.max(axis=1), rtol=1e-5)
    assert values["coherence"] == pytest.approx(1.0)
    columns = np.linalg.norm(ENCODER, axis=0)
    np.testing.assert_allclose(arrays["encoder_norm"], columns, rtol=1e-6)
    same = [ENCODER[:, k] @ DECODER[k] / columns[k] / lengths[k] for k in range(UNITS)]
    np.testing.assert_allclose(arrays["encoder_decoder_cosine"], same, rtol=1e-4, atol=1e-6)
    assert values["linear"]
    assert values["of_units"]["encoder_norm"]["median"] == pytest.approx(np.median(columns), rel=1e-6)
    assert values["of_units"]["density"]["high"] == pytest.approx(np.quantile(arrays["density"], 0.95))


@pytest.mark.slow
def test_top_k_keeps_k():
    inference, dataset, x = known(TopK(k=2))
    values, arrays = sparsity.judge(inference, dataset)
    codes = np.maximum(x @ ENCODER + BIAS, 0)
    kept = np.minimum(np.count_nonzero(codes, axis=1), 2)
    assert values["l0"] == pytest.approx(kept.mean())
    assert arrays["density"].sum() == pytest.approx(kept.mean())
    assert values["l1"] == pytest.approx(np.sort(codes, axis=1)[:, -2:].sum(axis=1).mean(), rel=1e-5)


def test_batches_and_blocks_change_nothing(model, monkeypatch):
    inference, dataset, _ = model
    whole, arrays = sparsity.judge(inference, dataset)
    monkeypatch.setattr("aeflax.evaluation.batches.MAX_BATCH", 1)
    monkeypatch.setattr(sparsity, "_BLOCK", 4)
    small = replace(inference.program, experiment=replace(inference.program.experiment, data=Data(batch_size=4)))
    parted = copy.copy(inference)
    parted.program = small
    assert parted.size == 4
    found, again = sparsity.judge(parted, dataset)
    for name in ("l0", "l1", "mse", "unexplained", "cosine", "l2_ratio", "dead_fraction", "coherence"):
        assert found[name] == pytest.approx(whole[name], rel=1e-6), name
    assert found["histogram"] == whole["histogram"]
    for name, array in arrays.items():
        np.testing.assert_allclose(again[name], array, rtol=1e-5, atol=1e-6)


def test_the_histogram_counts_every_living_unit_once():
    """1,000 examples: from 10^-3, one example among all, to 1, every example; both ends are held."""
    density = np.array([0, 0, 1 / 1000, 3 / 1000, 0.1, 0.11, 1.0])
    found = sparsity.histogram(density, 1000)
    assert found["edges"][0] == -3
    assert found["edges"][-1] == 0
    assert len(found["edges"]) == len(found["units"]) + 1 == 13
    assert sum(found["units"]) == 5
    assert found["units"][0] == 1
    assert found["units"][8] == 2  # [-1, -.75)
    assert found["units"][-1] == 1


@pytest.mark.parametrize("examples", [1, 3, 7, 10, 999, 1000, 49_999, 100_000])
def test_a_unit_of_one_example_is_counted(examples):
    assert sum(sparsity.histogram(np.array([1 / examples]), examples)["units"]) == 1


def test_directions_without_a_length_are_alike_to_nothing():
    found = sparsity.nearest_cosines(np.float32([[0, 0], [1, 0], [1, 1]]))
    np.testing.assert_allclose(found, [0, 0.5**0.5, 0.5**0.5], rtol=1e-6)
    assert sparsity.nearest_cosines(np.float32([[2, 1]])) == [0]


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [Dense(widths=(8,)), Conv(features=(3,))], ids=["dense", "conv"])
def test_what_needs_an_encoder_matrix_is_left_out_of_other_backbones(backbone):
    base = experiment("sparse", steps=2)
    run = aeflax.train(replace(base, model=replace(base.model, backbone=backbone)), images(55), report=False)
    values, arrays = sparsity.judge(run.inference, run._dataset())
    assert set(arrays) == {"density", "nearest_cosine"}
    assert not values["linear"]
    assert "are left out" in sentences(values)[-1]
    assert len(tables(values)[1].rows) == 2


@pytest.mark.slow
def test_a_sigmoid_is_active_above_a_tenth_and_data_without_length_has_no_cosine():
    base = experiment("rate", steps=2)
    assert isinstance(base.model.penalties.rate, Rate)
    run = aeflax.train(base, images(55), report=False)
    values, _ = sparsity.judge(run.inference, run._dataset())
    assert values["l0"] == pytest.approx(run.evaluate("test")["l0"])
    assert values["penalty"] is None
    dataset = run._dataset()
    black = replace(dataset, test=replace(dataset.test, values=np.zeros_like(dataset.test.values)))
    found, arrays = sparsity.judge(run.inference, black)
    assert found["cosine"] is None
    assert found["l2_ratio"] is None
    assert found["unexplained"] == 1.0  # nothing varies, and what is made of it errs
    assert section(Findings("0", found, arrays)).tables[0].rows[4][1] == "–"


def test_other_codes_and_diverged_models_are_refused(model):
    inference, dataset, _ = model
    vanilla = aeflax.train(experiment("vanilla", steps=2), images(55), report=False)
    with pytest.raises(ConfigError, match="needs a sparse code, as the preset sparse has"):
        sparsity.judge(vanilla.inference, vanilla._dataset())
    with pytest.raises(ConfigError, match="there is nothing to diagnose"):
        diagnosis.judge(vanilla.inference, vanilla._dataset())
    with pytest.raises(ConfigError, match="no split 'validation'"):
        sparsity.judge(inference, dataset, "validation")
    broken = copy.copy(inference)
    broken.weights = jax.tree.map(lambda leaf: leaf * np.float32("nan"), inference.weights)
    with pytest.raises(DataError, match="the model has diverged"):
        sparsity.judge(broken, dataset)


def test_the_section_shows_the_panel(model):
    values, arrays = sparsity.judge(*model[:2])
    made = section(Findings("0", values, arrays))
    (figure,) = (figure for figure, _ in made.figures.values())
    assert canvas.INK not in canvas.svg(figure, "density")
    assert made.tables[0].rows[3] == ["variance unexplained ↓", f"{values['unexplained']:.1%}"]
    assert [row[0] for row in made.tables[1].rows][1:3] == ["encoder norm", "cosine of encoder and decoder"]
    assert "1 unit is active for none" in made.sentences[0]


def test_the_words_name_what_to_try(model):
    values, _ = sparsity.judge(*model[:2])
    said = sentences(values | {"dead_fraction": 0.5, "l2_ratio": 0.8, "penalty": 0.1})
    assert "Try a smaller --model.penalties.l1.weight, a smaller code" in said[1]
    assert "20.0% shorter than their inputs, as a penalty on activations makes them" in said[2]
    fine = sentences(values | {"dead_fraction": 0.05, "l2_ratio": 0.95})
    assert len(fine) == 1
