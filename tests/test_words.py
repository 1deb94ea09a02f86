"""The command that gives an experiment again: read back by the command line itself, it is the same experiment."""

import shlex
from dataclasses import dataclass, is_dataclass, replace
from typing import Annotated, Any, Literal, get_args, get_origin
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aeflax import words
from aeflax.cli import train
from aeflax.config import (
    KL,
    L1,
    Bernoulli,
    Conv,
    Corruption,
    Data,
    Dense,
    Experiment,
    GaussianLikelihood,
    GaussianNoise,
    Optimizer,
    Penalties,
    Rate,
    Sparse,
    TopK,
    Train,
)
from aeflax.config.schema import FLOAT32_MAX, Interval, Part, hints, is_ours, options, problems
from aeflax.errors import ConfigError
from aeflax.presets import PRESETS

SOURCES = ["digits", "mnist", "npy:a b.npy", "npz:it's.npz#x", "csv:ü/$HOME/*.csv", "synthetic:8x8x1:10", "idx:--dir"]


def parsed(arguments: list[str]) -> Experiment:
    """What `aeflax train` makes of its words, just before it checks them."""

    class Seen(Exception):  # noqa: N818
        pass

    with mock.patch("aeflax.cli.train.validate", side_effect=Seen) as validate, pytest.raises(Seen):
        train.main(list(arguments))
    return validate.call_args.args[0]


def varied(base: Experiment, **changes: Any) -> Experiment:
    """The experiment with fields of its model changed."""
    return replace(base, model=replace(base.model, **changes))


# --- every legal value of every field, drawn from the annotations themselves ---


def configurations(cls: type) -> st.SearchStrategy[Any]:
    return st.builds(cls, **{name: values(name, hint) for name, hint in hints(cls).items()})


def values(name: str, hint: Any) -> st.SearchStrategy[Any]:
    return st.one_of(*(_value(name, option) for option in options(hint)))


def _value(name: str, hint: Any) -> st.SearchStrategy[Any]:
    bounds = [Interval()]
    if get_origin(hint) is Annotated:
        bounds += [part for part in hint.__metadata__ if isinstance(part, Interval)]
        hint = hint.__origin__
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if get_origin(hint) is tuple:
        return st.lists(_value(name, get_args(hint)[0]), max_size=3).map(tuple)
    if isinstance(hint, type) and issubclass(hint, Part):
        own = [kind for kind in hint.kinds.values() if is_ours(kind)]
        return st.one_of(*map(configurations, own))
    if is_dataclass(hint):
        return configurations(hint)
    if len(options(hint)) > 1:
        return values(name, hint)
    limits = max(bound.low for bound in bounds), min(bound.high for bound in bounds)
    low, high = (None if abs(limit) == float("inf") else limit for limit in limits)
    if hint is int:
        return st.integers(low, high)
    if hint is float:
        return st.floats(
            low,
            FLOAT32_MAX if high is None else high,
            exclude_min=any(bound.open_left for bound in bounds),
            exclude_max=any(bound.open_right for bound in bounds),
            allow_nan=False,
            allow_infinity=False,
            width=32,
        )
    return {bool: st.booleans(), str: st.sampled_from(SOURCES), type(None): st.none()}[hint]


NAMES = st.sampled_from([*PRESETS, "custom"])


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(experiment=configurations(Experiment), preset=NAMES)
@example(experiment=varied(Experiment(), backbone=Conv(features=())), preset="conv")
@example(experiment=Experiment(data=Data(classes=(-1, 3), resident=False)), preset="vae")
@example(experiment=varied(Experiment(), likelihood=GaussianLikelihood(scale=None)), preset="vanilla")
@example(experiment=varied(Experiment(), penalties=Penalties(l1=L1(weight=5e-324), kl=KL())), preset="sparse")
def test_the_command_line_reads_the_words_as_the_same_experiment(experiment, preset):
    assert problems(experiment) == []  # only what a user can have
    assert parsed(words.arguments(experiment, preset)) == experiment


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("other", PRESETS)
def test_every_preset_can_be_said_from_every_other(preset, other):
    assert parsed(words.arguments(PRESETS[other](), preset)) == PRESETS[other]()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_its_name(preset):
    assert words.arguments(PRESETS[preset](), preset) == [preset]


@pytest.mark.parametrize("preset", ["custom", "", "my-file", "VAE"])
def test_without_a_preset_the_words_start_from_vanilla(preset):
    assert words.arguments(Experiment(), preset) == ["vanilla"]


@pytest.mark.parametrize(
    ("preset", "changes", "expected"),
    [
        ("vanilla", {"latent_dim": 7}, "--model.latent-dim 7"),
        ("vanilla", {"backbone": Dense(widths=(400, 20))}, "--model.backbone.widths 400 20"),
        ("conv", {"backbone": Conv(bias=False)}, "--model.backbone.bias False"),
        ("vanilla", {"corruption": GaussianNoise()}, "--model.corruption gaussian"),
        ("vanilla", {"corruption": GaussianNoise(sigma=1e-5)}, "--model.corruption gaussian"
         " --model.corruption.sigma 1e-05"),
        ("denoising", {"corruption": GaussianNoise(sigma=0.3)}, "--model.corruption.sigma 0.3"),
        ("vanilla", {"bottleneck": TopK()}, "--model.bottleneck top-k"),
        ("vanilla", {"likelihood": GaussianLikelihood(scale=None)}, "--model.likelihood gaussian"
         " --model.likelihood.scale None"),
        ("vanilla", {"penalties": Penalties(l1=L1())}, "--model.penalties.l1 on"),
        ("sparse", {"penalties": Penalties(l1=L1(weight=0.5))}, "--model.penalties.l1.weight 0.5"),
        ("sparse", {"penalties": Penalties(rate=Rate(target=0.1))}, "--model.penalties.l1 none"
         " --model.penalties.rate on --model.penalties.rate.target 0.1"),
        ("sparse", {"bottleneck": Sparse(activation="relu")}, "--model.bottleneck.activation relu"),
    ],
)  # fmt: skip
def test_only_what_differs_from_the_preset_is_said(preset, changes, expected):
    assert words.arguments(varied(PRESETS[preset](), **changes), preset) == [preset, *expected.split()]


def test_fields_are_said_in_the_order_of_the_configuration():
    experiment = Experiment(
        data=Data(source="mnist", classes=(1, 7)), optimizer=Optimizer(clip_norm=1.0), train=Train(steps=3)
    )
    assert words.arguments(experiment, "vanilla")[1:] == (
        ["--data.source", "mnist", "--data.classes", "1", "7", "--optimizer.clip-norm", "1.0", "--train.steps", "3"]
    )


def test_numbers_of_numpy_are_said_as_plain_ones():
    experiment = Experiment(optimizer=Optimizer(learning_rate=np.float64(0.1)))
    assert words.arguments(experiment, "vanilla")[1:] == ["--optimizer.learning-rate", "0.1"]


@pytest.mark.parametrize("source", SOURCES)
def test_the_command_survives_the_shell(source):
    experiment = Experiment(data=Data(source=source))
    line = words.command(experiment, "vae")
    assert line.startswith("aeflax train vae ")
    assert shlex.split(line) == ["aeflax", "train", *words.arguments(experiment, "vae")]


def test_examples_from_python_cannot_be_said_in_words():
    with pytest.raises(ConfigError, match=r"passed from Python.*train it from Python again"):
        words.arguments(Experiment(data=Data(source="array")), "vanilla")


@pytest.mark.parametrize("slot", ["corruption", "penalties"])
def test_a_part_of_the_users_own_cannot_be_said_in_words(slot, monkeypatch):
    base = {"corruption": Corruption, "penalties": Penalties}[slot]
    monkeypatch.setattr(base, "kinds", dict(base.kinds))

    @dataclass(frozen=True, kw_only=True)
    class Mine(base, kind="mine"):
        """Made by a user."""

    with pytest.raises(ConfigError, match=rf"model\.{slot} is of the kind 'mine'.*the experiment file that defines it"):
        words.command(varied(Experiment(), **{slot: Mine()}), "vanilla")


def test_a_part_that_the_preset_has_too_is_left_out():
    assert words.arguments(varied(Experiment(), likelihood=Bernoulli()), "vanilla") == ["vanilla"]
