"""Parts of a user's own that compute, and yet train nothing, mix rows or keep their mistakes to themselves."""

import warnings
from dataclasses import dataclass, replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from variants import experiment, images

import aeflax
from aeflax import config, factories, words
from aeflax.config import kinds
from aeflax.errors import AeflaxWarning, ConfigError
from aeflax.objectives import Likelihood
from aeflax.outputs import Latent

DATA = images(60)


@dataclass(frozen=True, kw_only=True)
class Cost:
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Costs(config.Penalties, kind="costs-for-trials"):
    cost: Cost | None = None


@dataclass(frozen=True, kw_only=True)
class Coder(config.Bottleneck, kind="coder-for-trials"):
    pass


@dataclass(frozen=True, kw_only=True)
class Plain(config.Likelihood, kind="plain-for-trials"):
    pass


@dataclass(frozen=True, kw_only=True)
class Raised(config.Corruption, kind="raised-for-trials"):
    by: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Maps(config.Backbone, kind="maps-for-trials"):
    pass


OWN = (Costs, Coder, Plain, Raised, Maps)
for kind in OWN:
    del kind.kinds[kind.kind]


@pytest.fixture(autouse=True)
def registered():
    """Kinds are there for these tests alone."""
    before = [dict(part.kinds) for part in OWN]
    for part in OWN:
        part.kinds[part.kind] = part
    yield
    for part, known in zip(OWN, before, strict=True):
        part.kinds.clear()
        part.kinds.update(known)


def settings(steps=3, **changes):
    base = experiment("vanilla", steps=steps)
    return replace(base, model=replace(base.model, **changes))


def trained(found):
    return aeflax.train(found, DATA, report=False)


def silent(found):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return trained(found)


def costing(function):
    def made(part):
        def cost(outputs, mean, values, step):
            found = function(outputs)
            return values["weight"] * found, found

        return cost

    factories.penalty.register(Cost, made)
    return settings(penalties=Costs(cost=Cost()))


@pytest.mark.parametrize(
    "function",
    [
        lambda outputs: jnp.sum(outputs.latent.code > 0, axis=-1).astype(jnp.float32),
        lambda outputs: jnp.sum(jnp.round(outputs.latent.code), axis=-1),
        lambda outputs: jnp.sum(jax.lax.stop_gradient(outputs.latent.code) ** 2, axis=-1),
    ],
    ids=["a comparison", "a rounding", "a stop"],
)
def test_a_cost_that_trains_nothing_is_warned_of(function):
    with pytest.warns(AeflaxWarning, match=r"the cost of model\.penalties\.cost trains nothing"):
        trained(costing(function))


@pytest.mark.parametrize(
    "function",
    [
        lambda outputs: jnp.sum(jax.nn.sigmoid(20 * outputs.latent.code), axis=-1),
        lambda outputs: jnp.zeros(len(outputs.logits)),  # which is there to be reported alone
        lambda outputs: jnp.sum(outputs.logits, axis=(1, 2, 3)),  # whose gradient by a bias is a constant
    ],
    ids=["smooth", "nothing", "linear"],
)
def test_a_cost_that_trains_or_costs_nothing_is_fine(function):
    silent(costing(function))


def coding(function):
    class Module(nn.Module):
        features: int

        @nn.compact
        def __call__(self, hidden, context):
            flat = hidden.reshape(hidden.shape[0], -1)
            return Latent(code=function(nn.Dense(self.features, name="code")(flat)))

    factories.bottleneck.register(Coder, lambda part, features, project: Module(features))
    return settings(bottleneck=Coder())


def test_parameters_that_no_gradient_reaches_are_named():
    with pytest.warns(AeflaxWarning, match=r"no gradient reaches bottleneck/code/bias, bottleneck/code/kernel"):
        trained(coding(jnp.round))
    silent(coding(lambda z: z + jax.lax.stop_gradient(jnp.round(z) - z)))


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda z: z - z.mean(axis=0), "the others of its batch"),
        (lambda z: z + jax.random.normal(jax.random.key(0), z.shape), "its place in the batch"),
    ],
    ids=["centred", "noise of a batch's shape"],
)
def test_a_bottleneck_that_mixes_rows_is_warned_of(function, why):
    with pytest.warns(AeflaxWarning, match=rf"coder-for-trials makes the code or the output .* depend on {why}"):
        trained(coding(function))


def judging(nats, mean=lambda logits: logits):
    factories.likelihood.register(Plain, lambda part: Likelihood(nats, mean))
    return settings(likelihood=Plain())


def squares(outputs, targets, values):
    return jnp.sum((outputs.logits - targets).reshape(len(targets), -1) ** 2, axis=1)


def test_what_a_latent_holds_beside_its_rows_is_none_of_them():
    """A scale of each channel, of as many as the examples that are tried."""

    class Scaled(Latent):
        scale: jax.Array | None = None

    class Module(nn.Module):
        features: int

        @nn.compact
        def __call__(self, hidden, context):
            flat = hidden.reshape(hidden.shape[0], -1)
            scale = self.param("scale", nn.initializers.ones_init(), (3,))
            return Scaled(code=nn.Dense(self.features, name="code")(flat), scale=scale)

    def nats(outputs, targets, values):
        return squares(outputs, targets, values) * jnp.mean(outputs.latent.scale**2)

    factories.bottleneck.register(Coder, lambda part, features, project: Module(features))
    found = judging(nats)
    silent(replace(found, model=replace(found.model, bottleneck=Coder())))


def test_a_likelihood_of_a_posterior_that_draws_several_codes_is_tried_too():
    posterior = experiment("vae", steps=3).model
    bound = replace(posterior.bottleneck, samples=3)
    found = judging(squares)
    silent(replace(found, model=replace(posterior, bottleneck=bound, likelihood=found.model.likelihood)))


def test_a_likelihood_that_mixes_rows_is_warned_of():
    silent(judging(squares))

    def shared(*given):
        nats = squares(*given)
        return nats / jnp.mean(nats)

    with pytest.warns(AeflaxWarning, match="plain-for-trials makes the nats of an example depend on the others"):
        trained(judging(shared))


def test_what_cannot_be_called_as_it_will_be_is_refused():
    with pytest.raises(ConfigError, match=r"\(its nats\) must return a function of \(outputs, targets, values\)"):
        trained(judging(lambda logits, targets: logits))
    with pytest.raises(ConfigError, match=r"\(its mean\) must return a function of \(logits\)"):
        trained(judging(squares, squares))

    class Careless(nn.Module):
        def __call__(self, hidden):
            return Latent(code=hidden)

    factories.bottleneck.register(Coder, lambda part, features, project: Careless())
    with pytest.raises(ConfigError, match=r"a function of \(hidden, context\), and returned a Careless: too many"):
        trained(settings(bottleneck=Coder()))
    factories.bottleneck.register(Coder, lambda part, features, project: None)
    with pytest.raises(ConfigError, match="must return a Flax module, and returned None"):
        trained(settings(bottleneck=Coder()))
    factories.corruption.register(Raised, lambda part: lambda keys, images, values: (images, values["by"]))
    with pytest.raises(ConfigError, match=r"raised-for-trials returns a tuple where an array of the shape"):
        trained(settings(corruption=Raised()))


def test_a_corruption_in_units_of_bytes_is_warned_of():
    factories.corruption.register(Raised, lambda part: lambda keys, images, values: images + values["by"])
    silent(settings(corruption=Raised()))
    with pytest.warns(AeflaxWarning, match=r"makes 25\d of values in \[0, 1\]"):
        trained(settings(corruption=Raised(by=255.0)))


def test_a_counter_is_not_called_a_draw_alone():
    count = [0]

    def counted(outputs):
        count[0] += 1
        return outputs.latent.code[:, 0] * count[0]

    with pytest.raises(ConfigError, match="or reads what it changes itself: it is another one each time"):
        trained(costing(counted))


def test_an_encoder_may_give_maps():
    class Encoder(nn.Module):
        @nn.compact
        def __call__(self, images):
            return nn.relu(nn.Conv(3, (3, 3), strides=(2, 2))(images))

    class Decoder(nn.Module):
        shape: tuple[int, ...]

        @nn.compact
        def __call__(self, code):
            return nn.Dense(DATA[0].size)(code).reshape(-1, *self.shape)

    factories.backbone.register(Maps, lambda part, shape: (Encoder(), Decoder(shape)))
    for bottleneck in (config.Deterministic(), config.TopK(k=2)):
        found = settings(backbone=Maps(), bottleneck=bottleneck)
        assert silent(found).encode(DATA).shape == (60, found.model.latent_dim)
    posterior = experiment("vae", steps=3)
    found = replace(posterior, model=replace(posterior.model, backbone=Maps()))
    assert silent(found).encode(DATA).shape == (60, found.model.latent_dim)


def test_modules_of_ones_own_keep_the_weights_that_they_draw():
    """`model.initialization` is that of the layers that aeflax has."""

    def kernels(initialization):
        found = coding(lambda z: z)
        run = trained(
            replace(
                found,
                model=replace(found.model, initialization=initialization),
                train=replace(found.train, steps=1),
                optimizer=replace(found.optimizer, learning_rate=0.0),
            )
        )
        return [jnp.std(run.state.params[part][name]["kernel"]) for part, name in (("bottleneck", "code"),)], [
            jnp.std(leaf) for leaf in jax.tree.leaves(run.state.params["decoder"]) if leaf.ndim == 2
        ]

    (own, ours), (other, changed) = kernels("glorot"), kernels("small")
    assert own == other
    assert ours[0] > 5 * changed[0]


def test_part_of_a_batch_is_told_of_in_exact_mode_too():
    def mean_of(part):
        def cost(outputs, mean, values, step):
            centre = jnp.sum(mean(outputs.latent.code) ** 2)
            found = jnp.full(len(outputs.logits), centre)
            return values["weight"] * found, found

        return cost

    factories.penalty.register(Cost, mean_of)
    found = settings(penalties=Costs(cost=Cost()))
    silent(found)
    with pytest.warns(AeflaxWarning, match=r"is another one in the parts of train\.exact"):
        trained(replace(found, train=replace(found.train, exact=True)))


def test_a_mistake_in_a_part_has_its_mend_below_the_traceback():
    with pytest.raises(AttributeError) as caught:
        trained(costing(lambda outputs: outputs.code[:, 0]))
    assert any("outputs.latent.code" in note for note in caught.value.__notes__)


def test_the_parts_of_a_model_are_told_in_a_line():
    assert kinds.told(experiment("vae").model) == "dense, posterior, bernoulli, with kl"
    assert kinds.told(settings(penalties=Costs(cost=Cost())).model) == "dense, deterministic, bernoulli, with cost"


def test_own_parts_are_said_in_words_with_the_file_that_defines_them():
    found = settings(penalties=Costs(cost=Cost(weight=0.5)))
    with pytest.raises(ConfigError, match="not aeflax's own"):
        words.arguments(found, "vanilla")
    told = " ".join(words.arguments(found, "vanilla", "mine.py"))
    assert told.startswith("vanilla --define mine.py ")
    assert "--model.penalties costs-for-trials --model.penalties.cost on --model.penalties.cost.weight 0.5" in told


def test_a_record_of_ones_own_keeps_the_penalties_that_were_there():
    """And the words that give it again do, too: one that was switched off stays off."""
    base = experiment("vae").model
    on = kinds.choose(base, "penalties.cost", "on")
    assert on.penalties == Costs(cost=Cost(), kl=base.penalties.kl)
    assert kinds.choose(base, "penalties", "costs-for-trials").penalties == Costs(kl=base.penalties.kl)
    without = replace(experiment("vae"), model=replace(base, penalties=Costs(cost=Cost(), kl=None)))
    assert "--model.penalties.kl none" in " ".join(words.arguments(without, "vae", "mine.py"))
