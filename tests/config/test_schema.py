"""The generic side of configurations: bounds, kinds, validation, JSON, traced numbers and structure."""

import json
import math
import sys
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, get_args

import jax.numpy as jnp
import pytest

from aeflax.config import (
    KL,
    L1,
    Conv,
    Corruption,
    Data,
    Dense,
    Experiment,
    GaussianNoise,
    Masking,
    Model,
    Optimizer,
    Penalties,
    Sparse,
    Train,
    schema,
)
from aeflax.config.plain import differences, from_dict, to_dict
from aeflax.config.schema import Interval, Part, problems
from aeflax.config.structure import ReadFromValues, structure, traced
from aeflax.errors import ConfigError
from aeflax.presets import PRESETS


def full() -> Experiment:
    """An experiment with every optional part and number set."""
    return Experiment(
        data=Data(source="npy:x.npy", limit=7, classes=(0, 3), resident=False),
        model=Model(
            latent_dim=3,
            backbone=Conv(features=(4, 5)),
            corruption=GaussianNoise(sigma_min=0.1),
            bottleneck=Sparse(activation="sigmoid"),
            penalties=Penalties(l1=L1(weight=0.5), kl=KL(warmup_steps=9, free_bits=0.25)),
        ),
        optimizer=Optimizer(weight_decay=0.1, clip_norm=2.0, ema=0.9, boundaries=(3, 6)),
        train=Train(steps=12, log_every=2),
    )


EXPERIMENTS = {name: preset() for name, preset in PRESETS.items()} | {"full": full()}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_json_round_trip_gives_an_equal_experiment(name):
    experiment = EXPERIMENTS[name]
    restored = from_dict(Experiment, json.loads(json.dumps(to_dict(experiment), allow_nan=False)))
    assert restored == experiment
    assert hash(restored) == hash(experiment)


def test_stored_parts_carry_their_kind_and_records_do_not():
    plain = to_dict(full())
    assert plain["model"]["backbone"] == {
        "kind": "conv",
        "features": [4, 5],
        "kernel": 3,
        "stride": 2,
        "down": "stride",
        "up": "sub-pixel",
        "activation": "relu",
        "bias": True,
        "normalization": "none",
        "spatial": False,
    }
    assert "kind" not in plain["data"]
    assert "kind" not in plain["model"]["penalties"]["l1"]


def test_a_missing_field_takes_its_default():
    assert from_dict(Experiment, {"data": {"batch_size": 5}}) == Experiment(data=Data(batch_size=5))


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"data": {"bach_size": 3}}, "unknown field data.bach_size of Data; did you mean batch_size?"),
        ({"modle": {}}, "unknown field modle of Experiment; did you mean model?"),
        (
            {"model": {"backbone": {"kind": "dense", "widht": []}}},
            "unknown field model.backbone.widht of Dense; did you mean widths?",
        ),
        ({"data": {"zzz": 3}}, "unknown field data.zzz of Data"),
    ],
)
def test_an_unknown_field_is_named_with_its_path_and_the_nearest_name(plain, message):
    with pytest.raises(ConfigError) as caught:
        from_dict(Experiment, plain)
    assert message in str(caught.value)
    assert ("did you mean" in str(caught.value)) == ("zzz" not in plain.get("data", {}))


def test_an_unknown_field_with_a_line_break_in_its_name_keeps_the_message_to_one_line():
    with pytest.raises(ConfigError, match=r"^unknown field data\.'a\\nb' of Data$"):
        from_dict(Experiment, {"data": {"a\nb": 3}})


@pytest.mark.parametrize("kind", ["json.tool:main", "antigravity", "this", None, ["masking"], {"a": 1}])
def test_an_unregistered_kind_is_refused_and_nothing_is_imported(kind):
    before = set(sys.modules)
    with pytest.raises(ConfigError, match=r"model\.corruption has the kind .* which is not registered"):
        from_dict(Experiment, {"model": {"corruption": {"kind": kind}}})
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"data": {"batch_size": {"a": 1}}}, "data.batch_size={'a': 1} is a record where a single value belongs"),
        ({"data": 3}, "data=3 is not of type Data"),
        ({"model": {"corruption": "masking"}}, "model.corruption='masking' is not of type Corruption"),
        ({"data": {"batch_size": "many"}}, "data.batch_size='many' is not a whole number"),
        ({"train": {"seed": -1}, "data": {"limit": 0}}, "data.limit=0 lies outside [1, 2147483647]; train.seed=-1"),
    ],
)
def test_stored_values_that_do_not_fit_are_refused(plain, message):
    with pytest.raises(ConfigError) as caught:
        from_dict(Experiment, plain)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("interval", "inside", "outside", "shown"),
    [
        (Interval(0, 1), [0, 0.5, 1], [-1e-9, 1 + 1e-9], "[0, 1]"),
        (Interval(0, 1, open_left=True), [1e-9, 1], [0], "(0, 1]"),
        (Interval(0, 1, open_right=True), [0, 0.999], [1], "[0, 1)"),
        (Interval(0, 1, open_left=True, open_right=True), [0.5], [0, 1], "(0, 1)"),
        (Interval(1), [1, 1e300], [0.999], "[1, inf)"),
        (Interval(high=2.5), [-1e300, 2.5], [2.6], "(-inf, 2.5]"),
        (Interval(), [0], [], "(-inf, inf)"),
        (Interval(0, 2**32 - 1), [2**32 - 1], [2**32], "[0, 4294967295]"),
    ],
)
def test_interval_holds_its_bounds_and_prints_them(interval, inside, outside, shown):
    assert all(value in interval for value in inside)
    assert not any(value in interval for value in outside)
    assert str(interval) == shown


def test_interval_holds_no_nan():
    assert math.nan not in Interval()


def numbers(config: Any, prefix: str = "") -> dict[str, tuple[Any, bool]]:
    """(value, is traced) of every numeric field that is set, read off the annotations independently."""
    found: dict[str, tuple[Any, bool]] = {}
    for field in fields(config):
        value, hint = getattr(config, field.name), schema.hints(type(config))[field.name]
        if is_dataclass(value):
            found |= numbers(value, f"{prefix}{field.name}.")
        elif isinstance(value, (int, float, ReadFromValues)) and not isinstance(value, bool):
            marked = schema.TRACED in [mark for option in schema.options(hint) for mark in get_args(option)[1:]]
            found[prefix + field.name] = value, isinstance(value, float) or marked
    return found


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, float]:
    pairs: dict[str, float] = {}
    for name, value in tree.items():
        pairs |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return pairs


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_float_and_every_marked_integer_is_traced_and_nothing_else(name):
    experiment = EXPERIMENTS[name]
    expected = {path: float(value) for path, (value, is_traced) in numbers(experiment).items() if is_traced}
    assert flat(traced(experiment)) == expected
    assert all(type(value) is float for value in flat(traced(experiment)).values())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_structure_hides_exactly_the_traced_numbers(name):
    experiment = EXPERIMENTS[name]
    hidden = numbers(structure(experiment))
    for path, (value, is_traced) in numbers(experiment).items():
        assert hidden[path][0] == (ReadFromValues() if is_traced else value), path


def test_a_marked_integer_is_traced_and_an_unmarked_one_is_structural():
    slow = KL(warmup_steps=100)
    assert traced(slow)["warmup_steps"] == 100.0
    assert structure(slow) == structure(KL(warmup_steps=3))
    assert "warmup_steps" not in traced(Optimizer(warmup_steps=100))
    assert structure(Optimizer(warmup_steps=100)) != structure(Optimizer(warmup_steps=3))


def test_experiments_that_differ_in_traced_numbers_alone_share_structure_and_hash():
    one, other = full(), replace(full(), optimizer=replace(full().optimizer, learning_rate=0.7, clip_norm=1.5))
    assert one != other
    assert structure(one) == structure(other)
    assert hash(structure(one)) == hash(structure(other))


def test_whether_a_number_is_given_at_all_is_structural():
    off, on = Optimizer(clip_norm=None), Optimizer(clip_norm=1.0)
    assert structure(off) != structure(on)
    assert "clip_norm" not in traced(off)
    assert structure(off).clip_norm is None


def test_the_kind_of_a_part_is_structural():
    assert structure(Model(corruption=Masking())) != structure(Model(corruption=GaussianNoise()))


def test_differences_lists_every_changed_path_and_nothing_else():
    old = Experiment()
    new = replace(
        old,
        data=replace(old.data, batch_size=4),
        model=Model(corruption=Masking(rate=0.3), backbone=Dense(widths=(8,)), penalties=Penalties(l1=L1(weight=0.5))),
    )
    assert differences(old, new) == [
        "data.batch_size: 128 -> 4",
        "model.backbone.widths: () -> (8,)",
        "model.corruption.kind: 'none' -> 'masking'",
        "model.corruption.rate: None -> 0.3",
        "model.penalties.l1: None -> {'weight': 0.5, 'warmup_steps': 0}",
    ]
    assert differences(new, new) == []


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        (Experiment(data=Model()), "data=Model("),
        (Experiment(data=Data), "is not of type Data"),
        (Experiment(model=Model(corruption=Dense())), "model.corruption=Dense("),
        (Experiment(model=Model(corruption=Masking)), "is not of type Corruption"),
        (Experiment(model=Model(corruption=Corruption())), "is not a dataclass"),
        (Experiment(model=Model(penalties=Penalties(l1=KL()))), "model.penalties.l1=KL("),
        (Experiment(model=Model(corruption=None)), "model.corruption=None is not of type Corruption"),
    ],
)
def test_a_part_in_the_wrong_place_is_a_problem(experiment, message):
    (found,) = problems(experiment)
    assert message in found


def test_the_bounds_of_every_union_member_count():
    @dataclass(frozen=True)
    class Record:
        size: Annotated[int, Interval(1)] | None = None

    assert problems(Record()) == problems(Record(size=1)) == []
    assert problems(Record(size=0)) == ["size=0 lies outside [1, inf)"]
    assert problems(Record(size="1")) == ["size='1' is not a whole number"]


def test_a_number_beyond_every_float_is_reported():
    assert problems(Optimizer(learning_rate=10**400))[0].endswith("is not finite")


def test_a_new_kind_fills_its_slot_alone():
    class Slot(Part):
        pass

    @dataclass(frozen=True)
    class Filled(Slot, kind="filled"):
        x: float = 1.0

    assert Slot.kinds == {"filled": Filled}
    assert from_dict(Slot, {"kind": "filled", "x": 2.0}) == Filled(x=2.0)
    assert "filled" not in Corruption.kinds


def test_a_part_without_a_kind_is_refused_at_its_definition():
    with pytest.raises(TypeError, match="kind='name'"):

        class Nameless(Corruption):
            pass


def test_structures_of_separate_configurations_are_equal_and_hash_equal():
    one, other = (structure(PRESETS["vae"]().model) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert ReadFromValues() == ReadFromValues()
    assert ReadFromValues() not in (None, "word")


def test_whoever_computes_with_a_number_that_is_an_argument_is_told_where_to_read_it():
    part = structure(GaussianNoise(sigma=0.5))
    for compute in (
        lambda: part.sigma * 2,
        lambda: jnp.ones(2) < part.sigma,
        lambda: float(part.sigma),
        lambda: jnp.asarray(part.sigma),
        lambda: part.sigma == 0.0,  # which would quietly be False
        lambda: "on" if part.sigma else "off",
    ):
        with pytest.raises(TypeError, match=r"read values\['sigma'\] inside the function"):
            compute()
