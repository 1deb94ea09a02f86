"""What an experiment is: frozen dataclasses, the single source of fields, help texts and defaults.

Every float is an argument of the compiled program, so changing one never recompiles; every other field
shapes the program. `None` means "chosen for you" where the comment says how, else "off".
Needs the standard library alone, so that `--help` and configuration errors answer at once.
"""

from aeflax.config.experiment import Data, Experiment, Optimizer, Train
from aeflax.config.model import (
    KL,
    L0,
    L1,
    Backbone,
    BatchTopK,
    Bernoulli,
    Bottleneck,
    Conv,
    Corruption,
    Dense,
    Deterministic,
    Dictionary,
    GaussianLikelihood,
    GaussianNoise,
    GaussianPosterior,
    JumpReLU,
    Lifetime,
    Likelihood,
    Masking,
    Model,
    NoCorruption,
    Penalties,
    Rate,
    SaltPepper,
    Sparse,
    TopK,
)

__all__ = [
    "KL",
    "L0",
    "L1",
    "Backbone",
    "BatchTopK",
    "Bernoulli",
    "Bottleneck",
    "Conv",
    "Corruption",
    "Data",
    "Dense",
    "Deterministic",
    "Dictionary",
    "Experiment",
    "GaussianLikelihood",
    "GaussianNoise",
    "GaussianPosterior",
    "JumpReLU",
    "Lifetime",
    "Likelihood",
    "Masking",
    "Model",
    "NoCorruption",
    "Optimizer",
    "Penalties",
    "Rate",
    "SaltPepper",
    "Sparse",
    "TopK",
    "Train",
]
