"""A preset is vanilla but for what defines its variant."""

import pytest

from aeflax.config import Experiment
from aeflax.config.plain import differences
from aeflax.presets import PRESETS, vanilla

CHANGES = {
    "vanilla": [],
    "sparse": [
        "model.bottleneck.kind: 'deterministic' -> 'sparse'",
        "model.penalties.l1: None -> {'weight': 0.1, 'warmup_steps': 0}",
    ],
    "denoising": [
        "model.corruption.kind: 'none' -> 'gaussian'",
        "model.corruption.sigma: None -> 0.4",
        "model.corruption.clip: None -> True",
    ],
    "vae": [
        "model.bottleneck.kind: 'deterministic' -> 'posterior'",
        "model.bottleneck.samples: None -> 1",
        "model.penalties.kl: None -> {'beta': 1.0, 'warmup_steps': 0, 'free_bits': None}",
    ],
    "conv": [
        "model.backbone.kind: 'dense' -> 'conv'",
        "model.backbone.widths: () -> None",
        "model.backbone.tied: False -> None",
        "model.backbone.features: None -> (32, 64)",
        "model.backbone.kernel: None -> 3",
        "model.backbone.stride: None -> 2",
        "model.backbone.down: None -> 'stride'",
        "model.backbone.up: None -> 'sub-pixel'",
        "model.backbone.bias: None -> True",
        "model.backbone.normalization: None -> 'none'",
        "model.backbone.spatial: None -> False",
    ],
}


def test_there_are_exactly_the_five_variants():
    assert list(PRESETS) == list(CHANGES)


@pytest.mark.parametrize("name", CHANGES)
def test_a_preset_differs_from_vanilla_in_exactly_what_defines_it(name):
    assert differences(vanilla(), PRESETS[name]()) == CHANGES[name]


def test_vanilla_is_the_default_experiment():
    assert vanilla() == Experiment()


@pytest.mark.parametrize("name", CHANGES)
def test_the_code_size_is_the_only_argument_and_the_only_effect(name):
    assert differences(PRESETS[name](), PRESETS[name](latent_dim=7)) == ["model.latent_dim: None -> 7"]


@pytest.mark.parametrize("name", CHANGES)
def test_the_target_stays_clean_and_the_budget_the_same(name):
    experiment = PRESETS[name]()
    assert (experiment.data, experiment.optimizer, experiment.train) == (
        vanilla().data,
        vanilla().optimizer,
        vanilla().train,
    )
