"""Grids: what they say, and what is wrong with them, in a sentence each."""

import subprocess
import sys

import pytest

from aeflax import config, presets
from aeflax.errors import ConfigError
from aeflax.population.grid import Axis, axes, axis, described, members

VAE = presets.vae()


def test_numbers_are_listed_or_counted():
    assert axis("optimizer.learning-rate=1e-4,1e-3", VAE) == Axis("optimizer.learning_rate", (1e-4, 1e-3))
    assert axis("train.seed=2..4", VAE) == Axis("train.seed", (2, 3, 4))
    assert axis("model.penalties.kl.beta=.5,1.,+2.5e-1", VAE) == Axis("model.penalties.kl.beta", (0.5, 1.0, 0.25))


def test_a_whole_number_is_a_float_where_the_field_is_one():
    (found,) = axis("model.penalties.kl.beta=1", VAE).values
    assert found == 1.0
    assert isinstance(found, float)


def test_words_of_one_value_are_parted_by_spaces():
    assert axis("model.backbone.widths=400 200,100", VAE).values == ((400, 200), (100,))


def test_names_stay_words():
    assert axis("optimizer.schedule=constant,cosine", VAE).values == ("constant", "cosine")
    assert axis("optimizer.clip_norm=None,1", VAE).values == (None, 1.0)


def test_a_part_takes_the_names_of_its_kinds():
    (found,) = (axis("model.corruption=none,masking", VAE),)
    assert found == Axis("model.corruption", ("none", "masking"))
    kinds = [member.experiment.model.corruption.kind for member in members(VAE, [found])]
    assert kinds == ["none", "masking"]
    switch = axis("model.penalties.l1=none,on", VAE)
    assert [member.experiment.model.penalties.l1 for member in members(VAE, [switch])] == [None, config.L1()]


def test_a_part_and_a_number_of_it_do_not_vary_together():
    noisy = presets.denoising()
    both = axes({"model.corruption": ["none", "masking"], "model.corruption.sigma": [0.1, 0.2]}, noisy)
    with pytest.raises(ConfigError, match=r"varies either model.corruption or model.corruption.sig"):
        members(noisy, both)


def test_all_combinations_the_last_axis_fastest():
    grid = axes({"model.penalties.kl.beta": [0.5, 2], "train.seed": range(2)}, VAE)
    found = members(VAE, grid)
    assert [tuple(member.settings.values()) for member in found] == [(0.5, 0), (0.5, 1), (2.0, 0), (2.0, 1)]
    assert [member.index for member in found] == [0, 1, 2, 3]
    assert found[3].experiment.model.penalties.kl.beta == 2.0
    assert found[3].experiment.train.seed == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train.seed", "has the form FIELD=V1,V2"),
        ("train.seed=", "has the form FIELD=V1,V2"),
        ("train.seeed=1,2", "no field of this experiment; did you mean train.seed?"),
        ("model.penalties.l1.weight=1,2", "model.penalties.l1 is off; switch it on with --model.penalties.l1 on"),
        ("data.batch_size=16,32", "all models of a sweep see the same data"),
        ("train.seed=4..2", "counts up: write train.seed=2..4"),
        ("train.seed=0..100000", "names 100,001 values; at most 4,096"),
        ("model.likelihood=gaussian,gausian", "model.likelihood has no kind 'gausian'; choose"),
        ("model.penalties.l1=on,yes", "model.penalties.l1 takes on or none, not 'yes'"),
        (
            "model.likelihood.scale=1,2",
            "model.likelihood.scale, which this experiment's model.likelihood does not have",
        ),
        ("train=1,2", "which is no single value; vary a field of it, such as train.epochs"),
        ("train.seed=1,1", "names a value of train.seed twice: 1, 1"),
    ],
)
def test_a_faulty_axis_is_a_sentence(text, said):
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as error:
        members(VAE, [axis(text, VAE)])
    assert said in str(error.value)


def test_values_that_do_not_fit_are_named_with_their_member():
    with pytest.raises(ConfigError, match=r"--grid with optimizer.learning_rate=fast: .*is not a number"):
        members(VAE, [axis("optimizer.learning_rate=fast", VAE)])


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ("train.seed", "the grid is 'train.seed'; name fields and their values"),
        (
            {"model.corruption": [config.Masking(rate=0.2)]},
            "the grid's model.corruption takes the words 'none', 'gaussian', .*, not Masking",
        ),
    ],
)
def test_a_grid_from_python_is_checked_too(grid, said):
    with pytest.raises(ConfigError, match=said):
        axes(grid, presets.denoising())


def test_an_axis_stands_once():
    twice = axis("train.seed=0,1", VAE)
    with pytest.raises(ConfigError, match=r"train.seed stands in the grid twice"):
        members(VAE, [twice, twice])


def test_too_many_combinations():
    grid = axes({"train.seed": range(100), "model.penalties.kl.beta": [i / 8 for i in range(100)]}, VAE)
    with pytest.raises(ConfigError, match=r"10,000 combinations; at most 4,096"):
        members(VAE, grid)


def test_settings_in_words():
    assert described({"train.seed": 3, "model.backbone.widths": (4, 2)}) == "train.seed=3 model.backbone.widths=4×2"
    assert described({}) == "seeds alone"


def test_a_faulty_grid_is_found_without_jax():
    code = (
        "import sys; from aeflax.cli import main; code = main(['sweep', 'vae', '--grid', 'train.seeed=1,2']); "
        "assert 'jax' not in sys.modules; sys.exit(code)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stderr.count("\n")) == (2, 1), found.stderr
