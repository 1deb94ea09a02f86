"""What is filled in once the data are known."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeflax.config import (
    Conv,
    Data,
    Dense,
    Deterministic,
    Experiment,
    GaussianPosterior,
    Model,
    Optimizer,
    Penalties,
    Rate,
    Sparse,
    TopK,
    Train,
)
from aeflax.config.defaults import resolve
from aeflax.config.validation import validate
from aeflax.errors import ConfigError
from aeflax.presets import PRESETS, conv, denoising, sparse, vae, vanilla

IMAGE = (28, 28, 1)


def steps(train: Train, examples: int, batch_size: int = 100) -> int | None:
    return resolve(Experiment(data=Data(batch_size=batch_size), train=train), IMAGE, examples).train.steps


@pytest.mark.parametrize(
    ("train", "examples", "expected"),
    [
        (Train(), 1_000, 4_000),  # 20 epochs of 10 steps are fewer
        (Train(), 20_000, 4_000),  # 20 epochs of 200 steps are just as many
        (Train(), 20_001, 4_020),  # the last, partial batch is a step
        (Train(), 60_000, 12_000),
        (Train(epochs=3), 1_000, 30),
        (Train(epochs=3), 1_001, 33),
        (Train(epochs=1), 1, 1),
        (Train(steps=7), 60_000, 7),
    ],
)
def test_the_budget_is_twenty_epochs_but_at_least_4000_steps_unless_given(train, examples, expected):
    assert steps(train, examples) == expected


def test_a_budget_beyond_the_step_counter_is_refused():
    with pytest.raises(ConfigError, match=r"train\.steps=\d+ lies outside \[0, 2147483647\]"):
        steps(Train(epochs=2**31 - 1), 1_000)


@pytest.mark.parametrize(
    ("examples", "total", "log", "evaluate", "checkpoint"),
    [
        (1_000, 40_000, 100, 2_000, 4_000),  # epochs of 10 steps: bounded by number
        (60_000, 12_000, 600, 600, 1_200),  # epochs of 600 steps: evaluated each epoch
        (60_000, 1_000, 600, 600, 600),
        (1_000, 45, 100, 10, 10),
    ],
)
def test_intervals_follow_the_epoch_and_are_bounded(examples, total, log, evaluate, checkpoint):
    train = resolve(Experiment(data=Data(batch_size=100), train=Train(steps=total)), IMAGE, examples).train
    assert (train.log_every, train.eval_every, train.checkpoint_every) == (log, evaluate, checkpoint)


def test_given_intervals_are_kept():
    given_ones = Train(steps=9, log_every=1, eval_every=2, checkpoint_every=3)
    assert resolve(Experiment(train=given_ones), IMAGE, 50).train == given_ones


@pytest.mark.parametrize(
    ("preset", "shape", "expected"),
    [
        (vanilla, IMAGE, 64),
        (vanilla, (8, 8, 1), 16),
        (vanilla, (255,), 63),
        (vanilla, (256,), 64),
        (vanilla, (3,), 1),
        (vanilla, (1,), 1),
        (vae, (8, 8, 1), 16),
        (denoising, (8, 8, 1), 16),
        (conv, (8, 8, 1), 16),
        (sparse, IMAGE, 256),
        (sparse, (8, 8, 1), 256),
        (sparse, (63,), 252),
        (sparse, (1,), 4),
    ],
)
def test_the_code_size_follows_the_features_and_is_overcomplete_for_sparse(preset, shape, expected):
    assert resolve(preset(), shape, 100).model.latent_dim == expected


@pytest.mark.parametrize("preset", PRESETS.values())
def test_a_given_code_size_is_kept(preset):
    assert resolve(preset(5), IMAGE, 100).model.latent_dim == 5


def bottleneck(model: Model) -> object:
    return resolve(Experiment(model=model), IMAGE, 100).model.bottleneck


def test_the_code_is_rectified_only_where_the_encoder_is_a_single_dense_layer():
    assert bottleneck(Model()) == Deterministic(activation="relu")
    assert bottleneck(Model(backbone=Dense(widths=(9,)))) == Deterministic(activation="linear")
    assert bottleneck(Model(backbone=Conv())) == Deterministic(activation="linear")


def test_a_sparse_code_is_rectified_or_a_sigmoid_with_the_rate_penalty():
    assert bottleneck(Model(bottleneck=Sparse())) == Sparse(activation="relu")
    assert bottleneck(Model(bottleneck=Sparse(), penalties=Penalties(rate=Rate()))) == Sparse(activation="sigmoid")


@pytest.mark.parametrize("part", [Deterministic(activation="tanh"), Sparse(activation="sigmoid"), GaussianPosterior()])
def test_a_given_bottleneck_is_kept(part):
    assert bottleneck(Model(bottleneck=part)) == part


def test_convolutions_on_vectors_are_refused_with_the_mend():
    with pytest.raises(ConfigError, match=r"conv needs images .* vectors of 30 features; use --model.backbone dense"):
        resolve(conv(), (30,), 100)


def test_top_k_above_the_chosen_code_size_is_refused():
    topk = Experiment(model=Model(bottleneck=TopK(k=9)))
    with pytest.raises(ConfigError, match=r"model\.bottleneck\.k=9 exceeds model\.latent_dim=8"):
        resolve(topk, (2,), 100)
    assert resolve(topk, (3,), 100).model.latent_dim == 12


@pytest.mark.parametrize(
    ("shape", "features", "stride", "code"),
    [(IMAGE, (32, 64), 2, 7 * 7 * 64), ((7, 5, 3), (4,), 2, 4 * 3 * 4), ((1, 1, 1), (2, 2, 2), 3, 2)],
)
def test_a_spatial_code_is_the_last_feature_map(shape, features, stride, code):
    backbone = Conv(features=features, stride=stride, spatial=True)
    assert resolve(Experiment(model=Model(backbone=backbone)), shape, 100).model.latent_dim == code
    assert resolve(Experiment(model=Model(backbone=backbone, latent_dim=code)), shape, 100).model.latent_dim == code
    with pytest.raises(ConfigError, match=f"whose code has {code} units; leave it unset"):
        resolve(Experiment(model=Model(backbone=backbone, latent_dim=code + 1)), shape, 100)


@pytest.mark.parametrize(
    ("name", "expected"),
    # Optax 0.2.8: adamw(weight_decay=1e-4), lion(weight_decay=1e-3)
    [("adamw", 1e-4), ("lion", 1e-3), ("adam", None), ("sgd", None), ("lamb", None), ("muon", None)],
)
def test_weight_decay_is_on_where_the_optimizer_is_named_for_it(name, expected):
    assert resolve(Experiment(optimizer=Optimizer(name=name)), IMAGE, 100).optimizer.weight_decay == expected
    off = Optimizer(name=name, weight_decay=0.0, b1=0.8, b2=0.7)
    assert resolve(Experiment(optimizer=off), IMAGE, 100).optimizer == off


@pytest.mark.parametrize(
    ("name", "b1", "b2"),
    # Optax 0.2.8: lion(b2=.99), muon(beta=.95); the others have .9 and .999
    [("adam", 0.9, 0.999), ("sgd", 0.9, 0.999), ("lamb", 0.9, 0.999), ("lion", 0.9, 0.99), ("muon", 0.95, 0.999)],
)
def test_decays_of_the_moments_are_those_of_the_named_optimizer(name, b1, b2):
    found = resolve(Experiment(optimizer=Optimizer(name=name)), IMAGE, 100).optimizer
    assert (found.b1, found.b2) == (b1, b2)


def test_a_warm_up_that_fills_the_run_is_refused_where_a_schedule_follows():
    def run(schedule, warmup):
        return resolve(
            Experiment(optimizer=Optimizer(schedule=schedule, warmup_steps=warmup), train=Train(steps=10)), IMAGE, 100
        )

    with pytest.raises(ConfigError, match=r"warmup_steps=10 leaves nothing of the run's 10 steps"):
        run("cosine", 10)
    run("cosine", 9)
    run("constant", 10)


def test_contradictions_are_found_before_and_after_filling_in():
    with pytest.raises(ConfigError, match="both given"):
        resolve(Experiment(train=Train(epochs=1, steps=1)), IMAGE, 100)


@given(
    st.sampled_from(list(PRESETS)),
    st.one_of(st.tuples(*[st.integers(1, 40)] * 3), st.tuples(st.integers(1, 5000))),
    st.integers(1, 10**6),
    st.integers(1, 5000),
    st.one_of(st.none(), st.integers(1, 100)),
)
def test_resolving_leaves_nothing_open_and_twice_is_once(name, shape, examples, batch_size, epochs):
    if name == "conv" and len(shape) == 1:
        name = "vanilla"
    experiment = replace(PRESETS[name](), data=Data(batch_size=batch_size), train=Train(epochs=epochs))
    resolved = validate(resolve(experiment, shape, examples))
    assert resolve(resolved, shape, examples) == resolved
    train = resolved.train
    assert None not in (train.steps, train.log_every, train.eval_every, train.checkpoint_every)
    assert resolved.model.latent_dim is not None
    assert getattr(resolved.model.bottleneck, "activation", "none to choose") is not None
