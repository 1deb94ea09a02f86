"""Validation of experiments: every field, and the fields that are impossible together."""

import itertools
import math
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeflax.config import (
    KL,
    L0,
    L1,
    BatchTopK,
    Conv,
    Data,
    Dense,
    Deterministic,
    Dictionary,
    Experiment,
    GaussianLikelihood,
    GaussianNoise,
    GaussianPosterior,
    JumpReLU,
    Masking,
    Model,
    Optimizer,
    Penalties,
    Rate,
    SaltPepper,
    Sparse,
    TopK,
    Train,
)
from aeflax.config.schema import Interval, Part, hints, is_ours, options
from aeflax.config.validation import EXACT_PARTS, validate
from aeflax.errors import ConfigError
from aeflax.presets import PRESETS


def messages(experiment: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(experiment)
    return str(caught.value)


def sections() -> Iterator[tuple[str, type, Any]]:
    """(path, class, function from an instance to an experiment that holds it) of every section and kind."""
    for name, hint in hints(Experiment).items():
        yield name, hint, lambda part, name=name: Experiment(**{name: part})
    for name, hint in hints(Model).items():
        if isinstance(hint, type) and issubclass(hint, Part):
            for part in hint.kinds.values():
                if is_ours(part):  # other tests may register kinds of their own
                    yield f"model.{name}", part, lambda part, name=name: Experiment(model=Model(**{name: part}))
    for name, hint in hints(Penalties).items():
        part = next(filter(is_dataclass, options(hint)))
        yield (
            f"model.penalties.{name}",
            part,
            lambda part, name=name: Experiment(model=Model(penalties=Penalties(**{name: part}))),
        )


def bare(hint: Any) -> tuple[Any, list[Interval]]:
    """The type of a hint without None, and its intervals."""
    hint = next(option for option in options(hint) if option is not type(None))
    if typing.get_origin(hint) is Annotated:
        base, *metadata = typing.get_args(hint)
        return base, [mark for mark in metadata if isinstance(mark, Interval)]
    return hint, []


def bad_values() -> Iterator[Any]:
    for path, part, build in sections():
        for field in fields(part):
            base, bounds = bare(hints(part)[field.name])
            wrap = (lambda value: (value,)) if typing.get_origin(base) is tuple else (lambda value: value)
            if typing.get_origin(base) is tuple:
                base, bounds = bare(typing.get_args(base)[0])
            values: list[Any] = []
            if base is float:
                values = [math.nan, math.inf, -math.inf, True, "1", (), 10**400]
            elif base is int:
                values = [True, 1.0, "1", math.nan, math.inf, ()]
            elif base is bool:
                values = [1, "true", 0.0]
            elif base is str:
                values = [None, ()] if field.name == "classes" else [1, None, ()]
            elif typing.get_origin(base) is Literal:
                values = ["no such choice", 3, True, ()]
            step = 1 if base is int else 1e-6
            for bound in bounds:
                if bound.low > -math.inf:
                    values.append(bound.low if bound.open_left else bound.low - step)
                if bound.high < math.inf:
                    values.append(bound.high if bound.open_right else bound.high + step)
            for value in values:
                broken = part(**{field.name: wrap(value)})
                name = f"{path}.{field.name}"
                yield pytest.param(build(broken), name, id=f"{name}-{part.__name__}-{str(value)[:20]}")


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "name"), [*bad_values()])
def test_a_value_that_does_not_fit_its_field_is_refused_by_name(experiment, name):
    assert f"{name}=" in messages(experiment)


def test_labels_are_named_as_they_are_written():
    assert Data(classes=(1, "ok", "01", 0.5, False)).classes == ("1", "ok", "01", "0.5", "False")
    assert "data.classes=((),) holds ()" in messages(Experiment(data=Data(classes=((),))))
    assert "data.classes=3 is not a tuple; write (3,)" in messages(Experiment(data=Data(classes=3)))
    assert "data.drop=['a', 'b'] is not a tuple; write ('a', 'b')" in messages(Experiment(data=Data(drop=["a", "b"])))


def test_labels_that_are_left_out_cannot_be_named():
    table = Data(source="csv:t.csv", drop=("status", "label"))
    validate(Experiment(data=table))
    said = "data.label=status names a column that data.drop leaves out"
    assert said in messages(Experiment(data=replace(table, label="status")))


def test_every_numeric_field_has_bounds():
    unbounded = []
    for path, part, _ in sections():
        for field in fields(part):
            base, bounds = bare(hints(part)[field.name])
            if base in (int, float) and not bounds:
                unbounded.append(f"{path}.{field.name}")
    assert unbounded == []


def test_every_default_is_valid():
    for _, part, build in sections():
        if part not in (KL, Rate, L0, Dictionary):  # they need their bottleneck
            validate(build(part()))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_returned_unchanged(name):
    experiment = PRESETS[name]()
    assert validate(experiment) is experiment


def test_all_problems_are_listed_at_once():
    found = messages(
        Experiment(
            data=Data(batch_size=0, source=3, scale="standard"),
            model=Model(latent_dim=0, corruption=Masking(rate=2.0)),
            optimizer=Optimizer(name="adm", learning_rate=-1.0),
            train=Train(seed=-1, epochs=1, steps=1),
        )
    )
    for part in (
        "data.batch_size=0 lies outside [1, 16777216]",
        "data.source=3 is not of type str",
        "model.latent_dim=0",
        "model.corruption.rate=2.0 lies outside [0, 1)",
        "optimizer.name='adm' is none of adam, adamw, sgd, lamb, lion, muon; did you mean adam?",
        "optimizer.learning_rate=-1.0",
        "train.seed=-1",
        "train.epochs and train.steps are both given",
        "model.likelihood bernoulli needs data in [0, 1]",
    ):
        assert part in found


@pytest.mark.parametrize(
    "experiment",
    [
        Experiment(model="vae"),
        Experiment(data=None),
        Experiment(optimizer=Optimizer(boundaries=None)),
        Experiment(model=Model(corruption=Masking(rate="a", rate_min=0.1))),
        Experiment(model=Model(latent_dim="a", bottleneck=TopK(k=3))),
        "vae",
        Experiment,
        None,
    ],
)
def test_a_wrong_type_is_a_configuration_error_and_nothing_else(experiment):
    assert messages(experiment)


def of(**changes: Any) -> Experiment:
    """The defaults with changes, each given to the section that has the field."""
    experiment = Experiment()
    for name in ("data", "model", "optimizer", "train"):
        section = getattr(experiment, name)
        mine = {key: value for key, value in changes.items() if key in hints(type(section))}
        experiment = replace(experiment, **{name: replace(section, **mine)})
    return experiment


RULES = [
    (
        "model.backbone.tied transposes the one layer that leads to a code",
        {"backbone": Dense(tied=True), "bottleneck": GaussianPosterior()},
        [{"backbone": Dense(tied=True)}, {"bottleneck": GaussianPosterior()}],
    ),
    (
        "model.backbone.tied leaves model.dictionary no directions of its own",
        {"backbone": Dense(tied=True), "bottleneck": TopK(), "dictionary": Dictionary()},
        [{"backbone": Dense(tied=True), "bottleneck": TopK()}, {"bottleneck": TopK(), "dictionary": Dictionary()}],
    ),
    ("train.epochs and train.steps are both given", {"epochs": 1, "steps": 1}, [{"epochs": 1}, {"steps": 1}]),
    (
        "model.dictionary needs a sparse code between single dense layers",
        {"dictionary": Dictionary()},
        [{"dictionary": Dictionary(), "bottleneck": TopK()}, {}],
    ),
    (
        "model.dictionary needs a sparse code between single dense layers",
        {"dictionary": Dictionary(), "bottleneck": TopK(), "backbone": Dense(widths=(9,))},
        [{"dictionary": Dictionary(), "bottleneck": TopK()}, {"bottleneck": TopK(), "backbone": Dense(widths=(9,))}],
    ),
    (
        "a sigmoid unit is never idle",
        {"dictionary": Dictionary(), "bottleneck": Sparse(activation="sigmoid")},
        [{"dictionary": Dictionary(), "bottleneck": Sparse(activation="relu")}, {"bottleneck": Sparse()}],
    ),
    (
        "a sigmoid unit is never idle",
        {"dictionary": Dictionary(), "bottleneck": Sparse(), "penalties": Penalties(rate=Rate())},
        [{"dictionary": Dictionary(), "bottleneck": Sparse()}],
    ),
    (
        "model.dictionary.pre_bias is in units of the input",
        {"dictionary": Dictionary(pre_bias=True), "bottleneck": TopK()},
        [
            {"dictionary": Dictionary(pre_bias=True), "bottleneck": TopK(), "likelihood": GaussianLikelihood()},
            {"dictionary": Dictionary(), "bottleneck": TopK()},
        ],
    ),
    (
        "model.dictionary.pre_bias is in units of the input",
        {
            "dictionary": Dictionary(pre_bias=True),
            "bottleneck": TopK(),
            "likelihood": GaussianLikelihood(bounded=True),
        },
        [{"dictionary": Dictionary(), "bottleneck": TopK(), "likelihood": GaussianLikelihood(bounded=True)}],
    ),
    (
        "model.dictionary.auxk=9 exceeds model.latent_dim=8; lower auxk",
        {"dictionary": Dictionary(auxk=9), "bottleneck": Sparse(), "latent_dim": 8},
        [{"dictionary": Dictionary(auxk=8), "bottleneck": Sparse(), "latent_dim": 8}],
    ),
    (
        "model.penalties.l0 needs thresholds to learn; add --model.bottleneck jump-relu",
        {"penalties": Penalties(l0=L0()), "bottleneck": TopK()},
        [{"penalties": Penalties(l0=L0()), "bottleneck": JumpReLU()}, {"bottleneck": JumpReLU()}],
    ),
    (
        "model.bottleneck.mean_k=8.5 exceeds model.latent_dim=8; lower mean_k",
        {"bottleneck": BatchTopK(mean_k=8.5), "latent_dim": 8},
        [{"bottleneck": BatchTopK(mean_k=8.0), "latent_dim": 8}, {"bottleneck": BatchTopK(mean_k=8.5)}],
    ),
    (
        "model.penalties.kl needs a posterior",
        {"penalties": Penalties(kl=KL())},
        [{"penalties": Penalties(kl=KL()), "bottleneck": GaussianPosterior()}, {"bottleneck": GaussianPosterior()}],
    ),
    (
        "model.penalties.rate needs activations in [0, 1]",
        {"penalties": Penalties(rate=Rate()), "bottleneck": Sparse(activation="relu")},
        [
            {"penalties": Penalties(rate=Rate()), "bottleneck": Sparse()},
            {"penalties": Penalties(rate=Rate()), "bottleneck": Sparse(activation="sigmoid")},
        ],
    ),
    (
        "model.penalties.rate needs activations in [0, 1]",
        {"penalties": Penalties(rate=Rate()), "bottleneck": Deterministic(activation="sigmoid")},
        [{"bottleneck": Deterministic(activation="sigmoid")}],
    ),
    (
        "model.bottleneck.k=9 exceeds model.latent_dim=8",
        {"bottleneck": TopK(k=9), "latent_dim": 8},
        [{"bottleneck": TopK(k=8), "latent_dim": 8}, {"bottleneck": TopK(k=9)}],
    ),
    *[
        (
            f"the lower corruption level 0.3 exceeds the upper one {high}",
            {"corruption": part(**{name: high, f"{name}_min": 0.3})},
            [{"corruption": part(**{name: 0.3, f"{name}_min": 0.3})}, {"corruption": part(**{name: high})}],
        )
        for part, name, high in [(GaussianNoise, "sigma", 0.2), (Masking, "rate", 0.2), (SaltPepper, "rate", 0.0)]
    ],
    (
        "use --model.likelihood gaussian or --data.scale unit",
        {"scale": "standard"},
        [{"scale": "unit"}, {"scale": "standard", "likelihood": GaussianLikelihood()}],
    ),
    (
        "data.binarize needs data in [0, 1]",
        {"binarize": "fixed", "scale": "standard", "likelihood": GaussianLikelihood()},
        [{"binarize": "dynamic", "scale": "unit"}, {"scale": "standard", "likelihood": GaussianLikelihood()}],
    ),
    (
        "optimizer.schedule=piecewise needs optimizer.boundaries",
        {"schedule": "piecewise"},
        [{"schedule": "piecewise", "boundaries": (3,)}, {"schedule": "cosine"}],
    ),
    (
        "optimizer.boundaries have no meaning for the constant schedule; add --optimizer.schedule piecewise",
        {"boundaries": (3,)},
        [{"boundaries": (3,), "schedule": "piecewise"}, {}],
    ),
    (
        "optimizer.schedule=exponential never reaches optimizer.final=0",
        {"schedule": "exponential", "final": 0.0},
        [{"schedule": "exponential", "final": 1e-6}, {"schedule": "cosine", "final": 0.0}],
    ),
    (
        "model.bottleneck.activation='tanh' is none of relu, sigmoid",
        {"bottleneck": Sparse(activation="tanh")},
        [{"bottleneck": Sparse(activation="relu")}, {"bottleneck": Deterministic(activation="tanh")}],
    ),
    (
        "data.source='synthetic:8' has the form synthetic:HxWxC:N, e.g. synthetic:28x28x1:10000",
        {"source": "synthetic:8"},
        [{"source": "synthetic:8x8x1:20"}],
    ),
    *[
        ("optimizer.boundaries must rise", {"boundaries": falling, "schedule": "piecewise"}, [])
        for falling in ((3, 3), (4, 3))
    ],
    (
        "data.batch_size=100 does not divide into train.accumulate=8 pieces; try 96",
        {"batch_size": 100, "accumulate": 8},
        [{"batch_size": 96, "accumulate": 8}, {"batch_size": 100, "accumulate": 4}],
    ),
    (
        "data.batch_size=3 does not divide into train.accumulate=8 pieces; try 8",
        {"batch_size": 3, "accumulate": 8},
        [{"batch_size": 8, "accumulate": 8}],
    ),
    (
        "data.batch_size=100 does not divide into the 8 parts of train.exact; try 96",
        {"batch_size": 100, "exact": True},
        [{"batch_size": 96, "exact": True}, {"batch_size": 100}],
    ),
    (
        "train.exact computes a batch in 8 parts already; leave out train.accumulate=2",
        {"exact": True, "accumulate": 2},
        [{"exact": True}, {"accumulate": 2}],
    ),
    (
        "train.exact adds up in one order on devices that each hold the model; use --train.placement jit or pmap",
        {"exact": True, "placement": "mesh"},
        [{"exact": True, "placement": "pmap"}, {"placement": "mesh"}],
    ),
    *[
        (
            f"train.{name} spreads the model over devices; add --train.placement mesh",
            {name: value, "placement": placement},
            [{name: value, "placement": "mesh"}, {"placement": placement}],
        )
        for name, value in (("fsdp", 2), ("sharding", ("kernel=0",)))
        for placement in ("auto", "jit", "pmap")
    ],
    *[
        (
            f"train.sharding={entry!r} has the form PATTERN=AXIS or PATTERN=none",
            {"sharding": ("bias=none", entry), "placement": "mesh"},
            [{"sharding": ("bias=none", "a=b=1", "=x=none"), "placement": "mesh"}],
        )
        for entry in ("", "kernel", "=1", "kernel=", "kernel=first", "kernel=-1", "kernel=1.0", "kernel=²")
    ],
    (
        "train.sharding='ker(nel=1' begins with no regular expression: missing ), unterminated subpattern",
        {"sharding": ("ker(nel=1",), "placement": "mesh"},
        [{"sharding": ("ker(nel)=1",), "placement": "mesh"}],
    ),
    *[
        (
            f"data.{name} is for images:DIR alone, not for data.source='digits'; leave it out",
            {name: value},
            [{name: value, "source": "images:photos"}, {}],
        )
        for name, value in (("size", 32), ("grey", True))
    ],
    (
        "model.backbone.features is empty",
        {"backbone": Conv(features=())},
        [{"backbone": Conv(features=(1,))}, {}],
    ),
]


@pytest.mark.parametrize(("message", "broken", "kept"), RULES)
def test_impossible_combinations_are_refused_and_their_possible_neighbours_kept(message, broken, kept):
    assert message in messages(of(**broken))
    for changes in kept:
        validate(of(**changes))


def test_contradictions_are_listed_together():
    found = messages(of(epochs=1, steps=1, penalties=Penalties(kl=KL()), boundaries=(2, 1)))
    assert all(word in found for word in ("train.epochs", "model.penalties.kl", "optimizer.boundaries"))


@given(st.integers())
def test_a_seed_is_a_whole_number_of_32_bits(seed):
    if 0 <= seed < 2**32:
        validate(of(seed=seed))
    else:
        assert f"train.seed={seed} lies outside [0, 4294967295]" in messages(of(seed=seed))


@given(st.floats() | st.floats(0, 1))
def test_a_holdout_is_at_most_every_second_example(share):
    if abs(share) < 1 and np.float32(share) > 0 and share <= 0.5:  # every number is a float32 in the end
        validate(of(holdout=share))
    else:
        assert "data.holdout=" in messages(of(holdout=share))


@given(st.floats(min_value=0, max_value=0.99), st.floats(min_value=0, max_value=0.99))
def test_corruption_levels_are_ordered(low, high):
    experiment = of(corruption=Masking(rate=high, rate_min=low))
    if low <= high:
        validate(experiment)
    else:
        assert "swap them" in messages(experiment)


@given(st.lists(st.integers(min_value=0, max_value=20), max_size=5))
def test_boundaries_rise_strictly(boundaries):
    experiment = of(boundaries=tuple(boundaries), schedule="piecewise")
    if boundaries and all(a < b for a, b in itertools.pairwise(boundaries)):
        validate(experiment)
    else:
        assert ("must rise" if boundaries else "needs optimizer.boundaries") in messages(experiment)


def test_a_weight_of_zero_switches_a_penalty_off_and_is_valid():
    validate(of(penalties=Penalties(l1=L1(weight=0.0))))


@pytest.mark.parametrize(("size", "stride", "expected"), [(28, 2, [28, 14, 7]), (7, 2, [7, 4, 2]), (1, 3, [1, 1, 1])])
def test_strided_layers_round_their_sizes_up(size, stride, expected):
    assert Conv(features=(1, 1), stride=stride).sizes(size, 2 * size)[:1] == [(size, 2 * size)]
    assert [height for height, _ in Conv(features=(1, 1), stride=stride).sizes(size, 1)] == expected
    assert [width for _, width in Conv(features=(1, 1), stride=stride).sizes(1, size)] == expected


@pytest.mark.parametrize("entry", ["^decoder=none", "params/decoder=1"])
def test_a_sharding_pattern_that_the_moments_would_not_match_is_refused(entry):
    train = Train(placement="mesh", sharding=(entry,))
    with pytest.raises(ConfigError, match="matches within a parameter's path"):
        validate(Experiment(train=train))


def test_an_exact_batch_has_as_many_parts_everywhere():
    """Known to two rooms, of which one must not import JAX."""
    from aeflax.engine.team import SHARDS

    assert EXACT_PARTS == SHARDS
