"""Configuration to parts: sharing of programs, and kinds that a user adds."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import Harness, experiment

import aeflax
from aeflax import build, config, factories, presets
from aeflax.config.defaults import resolve
from aeflax.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Penalises the squared code."""

    weight: float = 0.1


@pytest.fixture
def own_parts():
    """A corruption and a record of penalties as a user adds them, for one test."""

    @dataclass(frozen=True, kw_only=True)
    class Invert(config.Corruption, kind="invert"):
        """Mixes an image with its negative."""

        amount: float = 1.0

    @dataclass(frozen=True, kw_only=True)
    class MorePenalties(config.Penalties, kind="more"):
        """Penalties with one of the user's own."""

        energy: Energy | None = None

    @factories.corruption.register
    def _(part: Invert):
        return lambda keys, images, values: values["amount"] * (1 - images) + (1 - values["amount"]) * images

    @factories.penalty.register
    def _(part: Energy):
        def cost(outputs, mean, values, step):
            energy = jnp.sum(outputs.latent.code**2, axis=-1)
            return values["weight"] * energy, energy

        return cost

    yield {"corruption": Invert(amount=0.25), "penalties": MorePenalties(energy=Energy(weight=2.0))}
    del config.Corruption.kinds["invert"], config.Penalties.kinds["more"]


def test_experiments_that_differ_in_numbers_share_their_parts():
    first = experiment("free-bits")
    other = replace(first, optimizer=replace(first.optimizer, learning_rate=0.5, b1=0.1))
    penalties = replace(first.model.penalties, kl=replace(first.model.penalties.kl, beta=9.0, warmup_steps=77))
    other = replace(other, model=replace(first.model, penalties=penalties))
    built = [build.build(resolve(e, (9, 7, 1), 44), (9, 7, 1)) for e in (first, other)]
    assert built[0] is built[1]
    deeper = replace(first, model=replace(first.model, backbone=config.Dense(widths=(3,))))
    assert build.build(resolve(deeper, (9, 7, 1), 44), (9, 7, 1)) is not built[0]


@pytest.mark.slow
def test_training_again_with_other_numbers_compiles_nothing():
    from jax._src import monitoring

    compiled = []

    def count(event, *_, **__):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    array = np.random.RandomState(0).rand(60, 5).astype(np.float32)

    def train(beta, rate):
        base = presets.vae(2)
        penalties = config.Penalties(kl=config.KL(beta=beta))
        settings = replace(
            base,
            model=replace(base.model, penalties=penalties),
            optimizer=config.Optimizer(learning_rate=rate),
            train=config.Train(steps=6),
        )
        return aeflax.train(settings, array)

    first = train(1.0, 1e-3)
    monitoring.register_event_duration_secs_listener(count)
    try:
        second = train(4.0, 1e-2)
        assert compiled == []
    finally:
        monitoring.unregister_event_duration_listener(count)
    assert first.summary["test"] != second.summary["test"]


@pytest.mark.slow
def test_a_users_corruption_and_penalty_train_without_touching_aeflax(own_parts):
    base = experiment("vanilla")
    model = replace(base.model, **own_parts)
    harness = Harness(replace(base, model=model))
    assert harness.hyper["model"]["corruption"]["amount"] == 0.25
    _, sums = harness.run(harness.initial(), 3)
    assert sums["energy"] > 0
    np.testing.assert_allclose(sums["loss"], sums["reconstruction_nats"] + 2.0 * sums["energy"], rtol=1e-5)


@pytest.mark.slow
def test_a_run_with_a_users_parts_loads_again(own_parts, tmp_path):
    base = experiment("vanilla", steps=3)
    model = replace(base.model, **own_parts)
    array = np.random.RandomState(0).rand(60, 5).astype(np.float32)
    run = aeflax.train(replace(base, model=model), array, run_dir=tmp_path / "run")
    loaded = aeflax.load(tmp_path / "run", array)
    assert loaded.experiment.model.penalties == model.penalties
    assert loaded.evaluate("test") == run.summary["test"]


def test_a_kind_without_a_factory_says_where_to_read_on():
    @dataclass(frozen=True, kw_only=True)
    class Orphan(config.Corruption, kind="test-orphan"):
        """Has no factory."""

    try:
        with pytest.raises(
            ConfigError, match=r"no factory is registered for Orphan; write one below @factories.corruption.register"
        ):
            factories.corruption(Orphan())
    finally:
        del config.Corruption.kinds["test-orphan"]


def test_hyper_holds_float32_scalars_alone():
    for leaf in jax.tree.leaves(build.hyper(resolve(experiment("free-bits"), (9, 7, 1), 44))):
        assert leaf.shape == ()
        assert leaf.dtype == jnp.float32


def test_fixed_binarisation_draws_once_and_dynamic_anew():
    array = np.full((50, 40), 0.5, np.float32)
    from aeflax.engine.keys import Keys, Split
    from aeflax.engine.state import Source

    example = jnp.arange(50)
    for mode, equal in (("fixed", True), ("dynamic", False)):
        settings = replace(experiment("vanilla"), data=config.Data(binarize=mode, holdout=0.5))
        prepare = build.build(resolve(settings, (40,), 25), (40,)).parts.prepare
        source = Source(array, np.zeros(1, np.float32), np.ones(1, np.float32))
        first, second = (np.asarray(prepare(source, Keys(jax.random.key(0), step, example))) for step in (0, 1))
        assert set(np.unique(first)) == {0.0, 1.0}
        assert abs(first.mean() - 0.5) < 0.05
        assert np.array_equal(first, second) is equal
        other = np.asarray(prepare(source, Keys(jax.random.key(9), 0, example)))
        assert np.array_equal(first, other) is equal  # a fixed data set does not depend on the seed of training
        if mode == "fixed":  # test example i is not training example i
            test = np.asarray(prepare(source, Keys(jax.random.key(0), 0, example, Split.TEST)))
            assert not np.array_equal(first, test)
