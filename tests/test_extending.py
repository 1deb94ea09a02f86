"""Parts of a user's own, in one process: what they may be, what is refused, and in which words."""

import contextlib
from dataclasses import dataclass, field, replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import Harness, experiment, images

import aeflax
from aeflax import config, factories, noise
from aeflax.config import kinds
from aeflax.config.schema import Fraction, problems
from aeflax.errors import AeflaxWarning, ConfigError, DivergedError
from aeflax.objectives import Likelihood
from aeflax.outputs import Latent
from aeflax.own_parts import function

DATA = images(60)


@dataclass(frozen=True, kw_only=True)
class Energy:
    """weight · Σ code²."""

    weight: float = 0.01
    power: int = 2

    def __post_init__(self):
        if not self.weight >= 0:
            raise ValueError("a weight is not negative")


@dataclass(frozen=True, kw_only=True)
class More(config.Penalties, kind="more-for-tests"):
    energy: Energy | None = None


@dataclass(frozen=True, kw_only=True)
class Dimmed(config.Corruption, kind="dimmed-for-tests"):
    share: Fraction = 0.5


def energy(part):
    def cost(outputs, mean, values, step):
        found = jnp.sum(jnp.abs(outputs.latent.code) ** part.power, axis=-1)
        return values["weight"] * found, found

    return cost


def dimmed(part):
    return lambda keys, images, values: images * values["share"]


@pytest.fixture(autouse=True)
def registered():
    """Kinds are there for these tests alone: others list those that there are."""
    before = [dict(part.kinds) for part in OWN]
    for part in OWN:
        part.kinds[part.kind] = part
    factories.penalty.register(Energy, energy)
    factories.corruption.register(Dimmed, dimmed)
    yield
    for part, known in zip(OWN, before, strict=True):
        part.kinds.clear()
        part.kinds.update(known)


def settings(**changes):
    base = experiment("vanilla", steps=3)
    return replace(base, model=replace(base.model, **changes))


def own(**changes):
    return settings(penalties=More(energy=Energy(**changes)))


def digest(found):
    harness = Harness(found)
    return jax.device_get(harness.run(harness.initial(), 3)[0].params)


def differ(a, b):
    return any(np.any(x != y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.slow
def test_a_factory_that_is_registered_anew_makes_another_model():
    """As in a notebook, whose cell was mended and run again."""
    first = digest(own(weight=1.0))
    assert not differ(first, digest(own(weight=1.0)))
    factories.penalty.register(
        Energy, lambda part: lambda outputs, mean, values, step: (outputs.latent.code[:, 0],) * 2
    )
    assert differ(first, digest(own(weight=1.0)))
    noisy = digest(settings(corruption=Dimmed()))
    factories.corruption.register(Dimmed, lambda part: lambda keys, images, values: 0 * images)
    assert differ(noisy, digest(settings(corruption=Dimmed())))


@pytest.mark.slow
def test_what_an_own_penalty_reports_is_evaluated():
    run = aeflax.train(own(power=2), DATA, report=False)
    codes = run.encode(run.split("test").values)
    assert run.evaluate("test")["energy"] == pytest.approx(np.sum(codes.astype(float) ** 2, axis=1).mean(), rel=1e-5)
    assert run.summary["test"]["energy"] == pytest.approx(run.evaluate("test")["energy"])


def test_a_mean_over_an_evaluated_batch_leaves_padding_out():
    """Twelve test examples in a batch of sixteen or more."""

    def shared(part):
        def cost(outputs, mean, values, step):
            code = outputs.latent.code
            return values["weight"] * jnp.zeros(len(code)), jnp.full(len(code), jnp.sum(mean(code)))

        return cost

    factories.penalty.register(Energy, shared)
    run = aeflax.train(own(power=3), DATA, report=False)
    codes = run.encode(run.split("test").values)
    assert run.evaluate("test")["energy"] == pytest.approx(codes.mean(axis=0).sum(), rel=1e-5)


def test_a_record_may_look_at_its_numbers_where_it_is_made():
    assert digest(own(weight=0.5)) is not None
    with pytest.raises(ValueError, match="not negative"):
        Energy(weight=-1.0)


def test_bounds_of_the_schema_hold_for_own_fields():
    assert problems(settings(corruption=Dimmed(share=3))) == ["model.corruption.share=3 lies outside [0, 1]"]


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda part: None, r"the factory of model.penalties.energy must return a function of \(outputs, mean, values"),
        (lambda part: lambda outputs, values: outputs, "missing|too many positional"),
    ],
)
def test_a_factory_that_makes_no_such_function_is_told_what_to_make(factory, message):
    factories.penalty.register(Energy, factory)
    with pytest.raises(ConfigError, match=message):
        aeflax.train(own(), DATA, report=False)
    factories.corruption.register(Dimmed, lambda part: lambda keys, images: images)
    with pytest.raises(ConfigError, match="dimmed-for-tests must return a function of"):
        aeflax.train(settings(corruption=Dimmed()), DATA, report=False)


def test_what_no_configuration_holds_is_no_field():
    @dataclass(frozen=True, kw_only=True)
    class Odd(config.Corruption, kind="odd-for-tests"):
        levels: list[int] = field(default_factory=lambda: [1])
        scale: object = jnp.tanh
        names: dict = field(default_factory=dict)

    found = problems(settings(corruption=Odd()))
    assert [fault.partition("=")[0] for fault in found] == [
        f"model.corruption.{n}" for n in ("levels", "scale", "names")
    ]
    assert all("which no configuration holds; take float" in fault for fault in found)


def test_a_class_that_is_no_dataclass_is_told_so():
    class Plain:
        weight: float = 0.5

    @dataclass(frozen=True, kw_only=True)
    class Odd(config.Penalties, kind="plain-for-tests"):
        plain: Plain | None = None

    said = "is no dataclass; write @dataclass(frozen=True, kw_only=True) above Plain"
    assert any(fault.endswith(said) for fault in problems(settings(penalties=Odd(plain=Plain()))))
    (fault,) = problems(settings(corruption=None))
    assert fault.startswith("model.corruption=None is not of type Corruption; take one of NoCorruption, GaussianNoise")


def test_a_record_of_its_own_is_a_dataclass():
    class Bare(config.Penalties, kind="bare-for-tests"):
        pass

    said = "Bare is no dataclass of its own; write @dataclass(frozen=True, kw_only=True) above it"
    assert problems(settings(penalties=Bare())) == [said]


def test_what_looks_like_a_field_has_an_annotation():
    with pytest.raises(ConfigError, match=r"Odd\.side has no annotation, and so is no field; write side: int = \.\.\."):

        class Odd(config.Corruption, kind="bare-field-for-tests"):
            side = 3

    class Even(config.Bottleneck, kind="even-for-tests"):
        sparse = True  # which is an attribute of every bottleneck

    assert Even.sparse


def test_a_record_that_may_change_is_refused():
    @dataclass
    class Loose(config.Corruption, kind="loose-for-tests"):
        share: float = 0.5

    assert problems(settings(corruption=Loose())) == ["Loose is not frozen; write @dataclass(frozen=True)"]


@pytest.mark.parametrize("kind", ["masking", "dimmed-for-tests"])
def test_a_kind_that_is_taken_is_refused_where_it_is_defined(kind):
    held = config.Corruption.kinds[kind]
    with pytest.raises(ConfigError, match=f"the kind '{kind}' is taken by {held.__name__}"):

        class Masked(config.Corruption, kind=kind):
            pass

    assert config.Corruption.kinds[kind] is held


@pytest.mark.parametrize("name", ["loss", "mse", "step", "restored_psnr"])
def test_a_name_that_records_use_is_no_penaltys(name):
    @dataclass(frozen=True, kw_only=True)
    class Losses(config.Penalties, kind=f"{name}-for-tests"):
        loss: Energy | None = None
        mse: Energy | None = None
        step: Energy | None = None
        restored_psnr: Energy | None = None

    try:
        with pytest.raises(ConfigError, match=f"{name}: records tell something else by that name"):
            aeflax.train(settings(penalties=Losses(**{name: Energy()})), DATA, report=False)
    finally:
        del config.Penalties.kinds[Losses.kind]


def test_a_kind_that_is_chosen_by_its_name_has_defaults():
    @dataclass(frozen=True, kw_only=True)
    class Bare(config.Corruption, kind="bare-for-tests"):
        share: Fraction

    model = experiment("vanilla").model
    try:
        with pytest.raises(ConfigError, match="corruption: Bare has no default for share; give the field one"):
            kinds.choose(model, "corruption", Bare.kind)
        held = replace(model, corruption=Bare(share=0.5))
        assert kinds.choose(held, "corruption", Bare.kind) is held
    finally:
        del config.Corruption.kinds[Bare.kind]


class Halved(nn.Module):
    """Units above a threshold, of a number that is an argument."""

    features: int

    @nn.compact
    def __call__(self, hidden, context):
        units = nn.Dense(self.features)(hidden.reshape(len(hidden), -1))
        return Latent(code=jnp.where(units > context.values["threshold"], units, 0.0))


@dataclass(frozen=True, kw_only=True)
class Threshold(config.Bottleneck, kind="threshold-for-tests"):
    threshold: float = 0.1


def test_a_bottleneck_may_read_its_numbers_also_while_its_weights_are_drawn():
    factories.bottleneck.register(Threshold, lambda part, features, project: Halved(features))
    low, high = (digest(settings(bottleneck=Threshold(threshold=t))) for t in (0.0, 0.4))
    assert differ(low, high)
    assert np.isfinite(jax.tree.leaves(low)[0]).all()


class Plain(Halved):
    @nn.compact
    def __call__(self, hidden, context):
        return nn.Dense(self.features)(hidden.reshape(len(hidden), -1))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            lambda features: Halved(features + 1),
            r"model.bottleneck threshold-for-tests gives .* \(1, 5\) where \(1, 4\)",
        ),
        (Plain, "the bottleneck returns .*; return an aeflax.outputs.Latent"),
    ],
)
def test_a_bottleneck_gives_a_latent_of_the_codes_size(module, message):
    factories.bottleneck.register(Threshold, lambda part, features, project: module(features))
    with pytest.raises(ConfigError, match=message):
        aeflax.train(settings(bottleneck=Threshold()), DATA, report=False)


@dataclass(frozen=True, kw_only=True)
class Flat(config.Backbone, kind="flat-for-tests"):
    pass


@dataclass(frozen=True, kw_only=True)
class Plainly(config.Likelihood, kind="plain-for-tests"):
    pass


OWN = (More, Dimmed, Threshold, Flat, Plainly)
for _part in OWN:
    del _part.kinds[_part.kind]


class Flatten(nn.Module):
    features: int

    @nn.compact
    def __call__(self, images):
        return nn.Dense(self.features)(images.reshape(len(images), -1))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda part, shape: Flatten(8), "must return two Flax modules"),
        (lambda part, shape: (Flatten(8), Flatten(63)), r"the decoder of .* \(1, 63\) where \(1, 9, 7, 1\) is needed"),
    ],
)
def test_a_backbone_is_two_modules_of_which_one_gives_examples(factory, message):
    factories.backbone.register(Flat, factory)
    with pytest.raises(ConfigError, match=message):
        aeflax.train(settings(backbone=Flat()), DATA, report=False)


@pytest.mark.slow
def test_a_part_that_is_not_finite_from_the_first_batch_on_is_what_is_named():
    factories.corruption.register(
        Dimmed, lambda part: lambda keys, images, values: values["share"] * jnp.log(images - 2)
    )
    named = (
        r"no update before them was good; the first that was not finite: the output of model.corruption \S+\); check"
    )
    with pytest.raises(DivergedError, match=f"{named} what test_extending.py computes"):
        aeflax.train(replace(base := settings(corruption=Dimmed()), train=replace(base.train, steps=12)), DATA)


@pytest.mark.slow
def test_what_is_reported_and_not_finite_is_the_parts_own():
    """What only a report makes of a number does not ask for another learning rate."""
    factories.penalty.register(
        Energy,
        lambda part: (
            lambda outputs, mean, values, step: (
                values["weight"] * jnp.sum(outputs.latent.code**2, axis=-1),
                jnp.full(outputs.latent.code.shape[0], jnp.nan),
            )
        ),
    )
    said = r"the train split's energy at step \d+ is not finite; check what test_extending.py computes$"
    with pytest.raises(DivergedError, match=said):
        aeflax.train(own(), DATA, report=False)


def drawn_by_numpy(part):
    def cost(outputs, mean, values, step):
        drawn = np.random.default_rng().uniform(size=len(outputs.latent.code))
        found = values["weight"] * jnp.sum(outputs.latent.code, axis=-1) * drawn.astype(np.float32)
        return found, found

    return cost


def test_noise_of_a_penalty_from_numpy_is_refused():
    factories.penalty.register(Energy, drawn_by_numpy)
    with pytest.raises(ConfigError, match=r"model\.penalties\.energy draws from NumPy or Python"):
        aeflax.train(own(), DATA, report=False)


class Noisy(nn.Module):
    """A code with noise, after a projection that is drawn once and kept."""

    features: int
    numpy: bool

    @nn.compact
    def __call__(self, hidden, context):
        flat = hidden.reshape(hidden.shape[0], -1)
        code = flat @ jax.random.normal(jax.random.key(3), (flat.shape[1], self.features))
        code = nn.Dense(self.features, name="code")(jnp.cos(code))
        if self.numpy:
            code += np.random.default_rng().normal(size=self.features).astype(np.float32)
        elif context.keys is not None:
            code += noise.normal(context.keys, self.features)
        return Latent(code=code if context.mean else jnp.where(code > context.values["threshold"], code, 0.0))


def test_noise_of_a_bottleneck_is_not_from_numpy_and_what_is_drawn_once_may_stay():
    """A number that is read in inference alone counts, too."""
    factories.bottleneck.register(Threshold, lambda part, features, project: Noisy(features, numpy=False))
    aeflax.train(settings(bottleneck=Threshold()), DATA, report=False)
    factories.bottleneck.register(Threshold, lambda part, features, project: Noisy(features, numpy=True))
    with pytest.raises(ConfigError, match=r"model\.bottleneck threshold-for-tests draws from NumPy"):
        aeflax.train(settings(bottleneck=Threshold()), DATA, report=False)


def centred(part):
    def cost(outputs, mean, values, step):
        code = outputs.latent.code
        found = jnp.sum((code - (jnp.mean(code, 0) if part.power == 4 else mean(code))) ** 2, axis=-1)
        return values["weight"] * found, found

    return cost


@pytest.mark.parametrize("reported", [True, False])
def test_a_penalty_that_counts_padding_is_warned_of(reported):
    def told(part):
        def cost(*given):
            charged, found = centred(part)(*given)
            return charged, found if reported else given[0].latent.code[:, 0]

        return cost

    factories.penalty.register(Energy, told)
    aeflax.train(own(power=2), DATA, report=False)
    with pytest.warns(AeflaxWarning, match="energy gives other values where a batch lies on two devices, .* by `mean`"):
        aeflax.train(own(power=4), DATA, report=False)


def pairwise(code, mean):
    """Mean of a kernel over pairs, [B]: those on one device alone."""
    kernel = jnp.exp(-jnp.sum((code[:, None] - code[None]) ** 2, axis=-1))
    return jnp.full(len(code), mean(jnp.mean(kernel, axis=1)))


def by_features(code, mean):
    """The same by random features, of which `mean` is over all devices: each the mean of some that are of a row."""
    features = jnp.cos(code @ jnp.asarray(np.random.default_rng(0).normal(size=(code.shape[1], 16)), code.dtype))
    return jnp.full(len(code), jnp.sum(mean(features) ** 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cost", "right"),
    [
        (pairwise, False),
        (lambda code, mean: jnp.sum(code * np.random.default_rng(0).normal(size=code.shape), axis=-1), False),
        (lambda code, mean: jnp.sum(code * jax.random.normal(jax.random.key(1), code.shape[1:]), axis=-1), True),
        (by_features, True),
        (lambda code, mean: jnp.sum((code - mean(code)) ** 2, axis=-1), True),
    ],
    ids=["pairs", "a draw of the batch's shape", "a draw for all", "random features", "a mean"],
)
def test_a_penalty_that_another_number_of_devices_changes_is_warned_of(cost, right):
    def penalty(outputs, mean, values, step):
        found = cost(outputs.latent.code, mean)
        return values["weight"] * found, found

    factories.penalty.register(Energy, lambda part: penalty)
    said = "energy gives other values where a batch lies on two devices, or has"
    with contextlib.nullcontext() if right else pytest.warns(AeflaxWarning, match=said):
        aeflax.train(own(), DATA, report=False)


@pytest.mark.slow
def test_a_mean_over_a_piece_of_a_batch_is_told_of():
    def penalty(outputs, mean, values, step):
        found = jnp.sum((outputs.latent.code - mean(outputs.latent.code)) ** 2, axis=-1)
        return values["weight"] * found, found

    factories.penalty.register(Energy, lambda part: penalty)
    pieces = replace(base := own(), train=replace(base.train, accumulate=2))
    with pytest.warns(AeflaxWarning, match=r"energy is another one in train\.accumulate=2 pieces of a batch"):
        aeflax.train(pieces, DATA, report=False)


@pytest.mark.slow
def test_a_posterior_of_several_draws_is_parted_behind_them():
    def penalty(outputs, mean, values, step):
        found = jnp.sum(outputs.latent.code**2, axis=-1)
        return values["weight"] * found, found

    factories.penalty.register(Energy, lambda part: penalty)
    several = config.GaussianPosterior(samples=3)
    aeflax.train(settings(bottleneck=several, penalties=More(energy=Energy(), kl=config.KL())), DATA, report=False)


@pytest.mark.slow
def test_a_warm_up_is_judged_when_it_is_over_and_on_large_images_too():
    def penalty(outputs, mean, values, step):
        found = pairwise(outputs.latent.code, mean) * jnp.minimum(1.0, step / 100)
        return values["weight"] * found, found

    factories.penalty.register(Energy, lambda part: penalty)
    large = np.random.RandomState(0).randint(0, 256, (40, 96, 96, 3), np.uint8)
    with pytest.warns(AeflaxWarning, match="energy gives other values where a batch lies on two devices"):
        aeflax.train(own(), large, report=False)


def test_what_looks_like_a_field_or_is_no_penalty_is_refused():

    @dataclass(frozen=True)
    class Plain:
        power = 2

    @dataclass(frozen=True, kw_only=True)
    class Plains(config.Penalties, kind="plains-for-tests"):
        plain: Plain | None = None

    with pytest.raises(ConfigError, match=r"Plain\.power has no annotation, and so is no field; write power: int"):
        aeflax.train(settings(penalties=Plains(plain=Plain())), DATA, report=False)

    @dataclass(frozen=True, kw_only=True)
    class Loose(config.Penalties, kind="loose-for-tests"):
        extra: float = 0.3

    with pytest.raises(ConfigError, match=r"model\.penalties\.extra is no penalty; a record of penalties holds"):
        aeflax.train(settings(penalties=Loose()), DATA, report=False)
    with pytest.raises(ConfigError, match=r"Named\.kind is what a part is called by; give the field another name"):

        @dataclass(frozen=True, kw_only=True)
        class Named(config.Corruption, kind="named-for-tests"):
            kind: str = "x"


def test_a_bottleneck_s_own_memory_is_part_of_it():
    factories.bottleneck.register(Threshold, lambda part, features, project: Noisy(features, numpy=False))
    factories.memory.register(Threshold, lambda part: None)
    aeflax.train(settings(bottleneck=Threshold()), DATA, report=False)


def test_a_penalty_may_ask_for_many_examples():
    factories.penalty.register(
        Energy,
        lambda part: (
            lambda outputs, mean, values, step: (
                values["weight"]
                * jax.lax.top_k(outputs.latent.code.T, 6)[0].sum()
                * jnp.ones(len(outputs.latent.code)),
                outputs.latent.code[:, 0],
            )
        ),
    )
    with pytest.warns(AeflaxWarning, match="padding"):  # of which it may take some
        aeflax.train(own(power=5), DATA, report=False)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            lambda nats, mean: nats,
            r"the factory of model\.likelihood plain-for-tests must return an aeflax",
        ),
        (
            lambda nats, mean: Likelihood(nats, lambda logits: logits.mean(-1)),
            r"the mean of model\.likelihood plain-for-tests gives .* \(1, 9, 7\) where \(1, 9, 7, 1\) is needed",
        ),
    ],
)
def test_a_likelihood_is_one_and_gives_examples(made, said):
    def nats(outputs, targets, values):
        return jnp.sum((outputs.logits - targets) ** 2, axis=(1, 2, 3))

    factories.likelihood.register(Plainly, lambda part: made(nats, lambda logits: logits))
    with pytest.raises(ConfigError, match=said):
        aeflax.train(settings(likelihood=Plainly()), DATA, report=False)


def test_a_number_that_nothing_reads_is_told_of(tmp_path):
    grid = {"model.penalties.energy.weight": [0.1, 0.2]}
    factories.penalty.register(
        Energy, lambda part: lambda outputs, mean, values, step: (jnp.sum(outputs.latent.code**2, axis=-1),) * 2
    )
    for train in (
        lambda: aeflax.train(own(), DATA, report=False),
        lambda: aeflax.sweep(own(), grid, DATA, run_dir=tmp_path, report=False),
    ):
        with pytest.warns(AeflaxWarning) as found:
            train()
        (said,) = {str(one.message) for one in found}
        assert said.startswith("model.penalties.energy.weight changes nothing that is trained: no part reads it there")


@pytest.mark.slow
def test_what_is_not_finite_first_is_named():
    """A root's derivative is infinite at 0, where the root is not; a term that is not finite is named by itself."""
    found = {}
    for power, cost in {2: lambda code: jnp.sqrt(code - code), 3: lambda code: jnp.log(code - code)}.items():
        factories.penalty.register(
            Energy,
            lambda part, cost=cost: (
                lambda outputs, mean, values, step: (
                    values["weight"] * cost(outputs.latent.code[:, 0]),
                    cost(outputs.latent.code[:, 0]),
                )
            ),
        )
        with pytest.raises(DivergedError) as caught:
            aeflax.train(replace(base := own(power=power), train=replace(base.train, steps=12)), DATA, report=False)
        found[power] = str(caught.value)
    assert (
        "the first that was not finite: the gradient of bottleneck/code/bias, though the loss is finite" in found[2]
    ), found[2]
    assert "the first that was not finite: the term energy)" in found[3]


def test_a_callable_without_a_signature_is_taken():
    assert function("a part", dict, "outputs") is dict  # which says nothing of what it takes


@pytest.mark.slow
def test_a_session_without_a_file_is_told_that_its_parts_have_changed(tmp_path):
    def typed(cell, body):
        names = {}
        exec(
            compile(f"def made(part):\n    # {cell}\n    return lambda keys, images, values: {body}", cell, "exec"),
            names,
        )
        factories.corruption.register(Dimmed, names["made"])

    typed("<cell 1>", 'images * values["share"]')
    aeflax.train(settings(corruption=Dimmed()), DATA, run_dir=tmp_path / "run", report=False)
    typed("<cell 2>", 'images * values["share"]')  # the same, typed again
    aeflax.load(tmp_path / "run")
    typed("<cell 3>", 'images * values["share"] ** 2')
    with pytest.warns(AeflaxWarning, match="the session's own code has changed since the run was last trained"):
        aeflax.load(tmp_path / "run")


@pytest.mark.slow
def test_a_sweep_whose_programs_cannot_be_made_does_not_stand_in_the_way(tmp_path):
    grid = {"train.seed": [0, 1]}
    factories.corruption.register(Dimmed, lambda part: lambda keys, images, values: images[:1])
    with pytest.raises(ConfigError, match="gives an array of the shape"):
        aeflax.sweep(settings(corruption=Dimmed()), grid, DATA, run_dir=tmp_path / "sweep", report=False)
    factories.corruption.register(Dimmed, lambda part: lambda keys, images, values: images * values["share"])
    found = aeflax.sweep(settings(corruption=Dimmed()), grid, DATA, run_dir=tmp_path / "sweep", report=False)
    assert [member["status"] for member in found.members] == ["done", "done"]
