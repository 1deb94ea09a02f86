"""Kinds of parts, chosen from the words of the command line."""

import pytest

from aeflax.cli import slots
from aeflax.cli.slots import describe_slots
from aeflax.config import (
    KL,
    L1,
    Conv,
    Dense,
    GaussianNoise,
    GaussianPosterior,
    Masking,
    Model,
    Penalties,
    SaltPepper,
    Sparse,
    TopK,
)
from aeflax.errors import ConfigError
from aeflax.presets import PRESETS


def choose_parts(model: Model, words: list[str]) -> tuple[Model, list[str]]:
    model, left, faults = slots.choose_parts(model, words)
    if faults:
        raise ConfigError("; ".join(faults))
    return model, left


def refused(*words: str, model: Model | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        choose_parts(model or Model(), list(words))
    return str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["--model.corruption", "masking"],
        ["--model.corruption=masking"],
        ["--model.corruption:masking"],
        ["model.corruption:masking"],
    ],
)
def test_a_slot_is_filled_by_kind_in_every_spelling(words):
    assert choose_parts(Model(), words) == (Model(corruption=Masking()), [])


def test_the_last_of_several_kinds_counts():
    words = ["--model.corruption", "masking", "--model.corruption", "salt-pepper"]
    assert choose_parts(Model(), words)[0].corruption == SaltPepper()


def test_naming_the_kind_that_is_there_keeps_its_fields():
    model = Model(corruption=GaussianNoise(sigma=0.1))
    assert choose_parts(model, ["--model.corruption", "gaussian"])[0] == model


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model.corruption.sigma", "0.2"], Model(corruption=GaussianNoise())),
        (["--model.corruption.sigma-min=0.2"], Model(corruption=GaussianNoise())),
        (["--model.corruption.sigma_min=0.2"], Model(corruption=GaussianNoise())),
        (["--model.bottleneck.k", "3"], Model(bottleneck=TopK())),
        (["--model.backbone.features", "8", "16"], Model(backbone=Conv())),
        (["--model.likelihood.scale", "None"], None),
        (["--model.penalties.l1.weight", "1"], Model(penalties=Penalties(l1=L1()))),
        (["--model.penalties.kl.warmup-steps", "1"], Model(penalties=Penalties(kl=KL()))),
    ],
)
def test_a_field_that_only_one_kind_has_names_the_kind_and_is_left_to_be_parsed(words, expected):
    model, left = choose_parts(Model(), words)
    assert left == words
    if expected is None:
        assert model.likelihood.kind == "gaussian"
    else:
        assert model == expected


def test_a_field_of_the_present_kind_changes_nothing():
    model = Model(corruption=SaltPepper(), backbone=Conv(features=(3,)), penalties=Penalties(l1=L1(weight=9.0)))
    words = ["--model.corruption.rate", "0.1", "--model.backbone.kernel", "5", "--model.penalties.l1.weight", "2"]
    assert choose_parts(model, words) == (model, words)


def test_a_field_of_several_kinds_is_refused_with_the_mend_and_the_mend_works():
    words = ["--model.corruption.rate-min", "0.3"]
    assert (
        refused(*words)
        == "--model.corruption.rate-min belongs to masking and salt-pepper; add --model.corruption masking to choose"
    )
    for mended in (["--model.corruption", "masking", *words], [*words, "--model.corruption", "masking"]):
        assert choose_parts(Model(), mended) == (Model(corruption=Masking()), words)


@pytest.mark.parametrize("first", [True, False])
def test_a_named_kind_is_never_replaced_by_a_field_of_another(first):
    kind, field = ["--model.corruption", "masking"], ["--model.corruption.sigma", "0.2"]
    assert "belongs to gaussian, but --model.corruption is masking" in refused(
        *(kind + field if first else field + kind)
    )


@pytest.mark.parametrize(
    ("model", "words", "mend"),
    [
        (PRESETS["conv"]().model, ("--model.backbone.tied", "True"), "--model.backbone dense"),
        (PRESETS["vae"]().model, ("--model.bottleneck.k", "3"), "--model.bottleneck top-k"),
        (Model(corruption=GaussianNoise()), ("--model.corruption.rate", ".3"), "--model.corruption masking"),
    ],
)
def test_a_part_that_a_preset_chose_gives_way_to_no_field_of_another(model, words, mend):
    assert f"add {mend} to change that" in refused(*words, model=model)
    option, kind = mend.split()
    found, left = choose_parts(model, [option, kind, *words])
    assert getattr(found, option.removeprefix("--model.")).kind == kind
    assert left == list(words)


def test_penalties_switch_on_and_off():
    on = ["--model.penalties.l1", "on", "--model.penalties.kl=on"]
    assert choose_parts(Model(), on) == (Model(penalties=Penalties(l1=L1(), kl=KL())), [])
    full = Model(penalties=Penalties(l1=L1(weight=3.0), kl=KL(beta=2.0)))
    assert choose_parts(full, ["--model.penalties.l1", "none"]) == (
        Model(penalties=Penalties(kl=KL(beta=2.0))),
        [],
    )
    assert choose_parts(full, on)[0] == full


def test_a_penalty_takes_on_or_none():
    assert refused("--model.penalties.l1", "yes") == "model.penalties.l1 takes on or none, not 'yes'"


def test_a_penalty_cannot_be_off_and_have_a_weight():
    assert "contradicts --model.penalties.l1 none" in refused(
        "--model.penalties.l1", "none", "--model.penalties.l1.weight", "1"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.bottleneck", "topk"], "model.bottleneck has no kind 'topk'; choose deterministic, sparse, top-k"),
        (["--model.bottleneck", "topk"], "did you mean top-k?"),
        (["--model.corruption", "salt_pepper"], "did you mean salt-pepper?"),
        (["--model.corruption"], "model.corruption has no kind ''"),
        (["--model.corruption", "--train.steps", "3"], "model.corruption has no kind '--train.steps'"),
        (["--model.bottlneck", "sparse"], "unknown option --model.bottlneck; did you mean --model.bottleneck?"),
        (["--model.corruption.sgima", "1"], "did you mean --model.corruption.sigma?"),
        (["--model.penalties.l2.weight", "1"], "did you mean --model.penalties.l1.weight?"),
        (["--model.latnet-dim=3"], "unknown option --model.latnet-dim; did you mean --model.latent-dim?"),
    ],
)
def test_unknown_kinds_and_options_name_the_nearest(words, message):
    assert message in refused(*words)


def test_all_problems_are_listed_at_once():
    found = refused("--model.corruption", "maskin", "--model.penalties.l1", "x", "--model.corruption.rate", "1")
    assert all(word in found for word in ("'maskin'", "not 'x'", "--model.corruption.rate belongs to"))


def test_other_words_are_left_untouched_and_in_order():
    other = [
        "-x",
        "--run-dir",
        "a b",
        "--data.source",
        "npz:x#model",
        "--optimizer.learning-rate=-3e-4",
        "",
        "--",
        "--json",
    ]
    words = [*other[:3], "--model.corruption", "masking", *other[3:], "--model.penalties.l1", "on", "--model.zzz", "1"]
    model, left = choose_parts(Model(), words)
    assert left == [*other, "--model.zzz", "1"]
    assert model == Model(corruption=Masking(), penalties=Penalties(l1=L1()))


@pytest.mark.parametrize(
    "value", ["model.corruption", "model.penalties.l1", "model.penalties.l1.weight", "model.corruption.sigma", "model"]
)
def test_a_value_that_looks_like_an_option_is_left_alone(value):
    words = ["--run-dir", value, "masking"]
    assert choose_parts(Model(), words) == (Model(), words)


@pytest.mark.parametrize("path", ["data.source", "xmodel.corruption", "--xmodel.corruption=masking"])
def test_options_of_other_sections_are_left_alone(path):
    assert choose_parts(Model(), [path, "masking"]) == (Model(), [path, "masking"])


def test_the_given_model_and_words_are_not_changed():
    model, words = PRESETS["vae"]().model, ["--model.bottleneck", "sparse"]
    chosen, _ = choose_parts(model, words)
    assert (chosen.bottleneck, model.bottleneck) == (Sparse(), GaussianPosterior())
    assert words == ["--model.bottleneck", "sparse"]


def test_the_description_names_every_kind_and_what_is_chosen():
    text = describe_slots(Model(backbone=Conv()), "Measures.")
    assert text.startswith("Measures. Parts")
    for kind in (*Dense.kinds, *Masking.kinds, *Sparse.kinds):
        assert kind in text
    assert "--model.backbone {dense,conv} (default: conv)" in text
    assert "--model.penalties.kl {on,none}" in text
